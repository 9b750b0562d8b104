package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
)

type statusView struct {
	Database  string        `json:"database"`
	Processes []processView `json:"processes"`
	Flows     []statusFlow  `json:"flows"`
}

type processView struct {
	ID          string    `json:"id"`
	CodeVersion string    `json:"code_version,omitempty"`
	Flows       []string  `json:"flows"`
	Queues      []string  `json:"queues"`
	StartedAt   time.Time `json:"started_at"`
	SeenAt      time.Time `json:"seen_at"`
}

type statusFlow struct {
	Name      string     `json:"name"`
	State     string     `json:"state"`
	Running   int        `json:"running"`
	Waiting   int        `json:"waiting"`
	Overdue   bool       `json:"overdue"`
	NextRunAt *time.Time `json:"next_run_at"`
	LastRunAt *time.Time `json:"last_run_at"`
	Failures  int        `json:"failures"`
	LastError string     `json:"last_error,omitempty"`
}

func (a *app) statusCommand() *cobra.Command {
	return a.example(&cobra.Command{
		Use: "status", Short: "Show the processes and what each flow is doing", Args: cobra.NoArgs,
		RunE: a.on(func(ctx context.Context, s *session, _ []string) error {
			view, err := s.status(ctx)
			if err != nil {
				return err
			}
			return s.show(view, view.page)
		}),
	}, "status")
}

func (s *session) status(ctx context.Context) (*statusView, error) {
	view := &statusView{Database: s.name}
	processes, err := s.client.Processes(ctx)
	if err != nil {
		return nil, err
	}
	view.Processes = views(processes, func(p *dataflow.Process) processView {
		return processView{ID: p.ID, CodeVersion: p.CodeVersion, Flows: p.Flows, Queues: p.Queues, StartedAt: p.StartedAt.UTC(), SeenAt: p.SeenAt.UTC()}
	})
	now, err := s.store.Now(ctx)
	if err != nil {
		return nil, err
	}
	flows, err := s.flows(ctx, "")
	if err != nil {
		return nil, err
	}
	view.Flows = make([]statusFlow, len(flows))
	ids := make([]int64, len(flows))
	for i, f := range flows {
		ids[i] = f.ID
	}
	activities, err := s.store.RunActivity(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("look at the runs of the flows: %w", err)
	}
	for i, f := range flows {
		activity := activities[f.ID]
		if activity == nil {
			activity = &dataflow.Activity{}
		}
		view.Flows[i] = statusFlow{
			Name: f.Name, State: flowState(f), Running: activity.InProgress, Waiting: activity.Waiting,
			Overdue:   f.IsActive() && f.NextRunAt != nil && f.NextRunAt.Before(now),
			NextRunAt: utc(f.NextRunAt), LastRunAt: utc(f.LastRunAt), Failures: f.Failures, LastError: f.LastError,
		}
	}
	return view, nil
}

func (v *statusView) page(p *page) {
	p.line("%s", v.Database)
	if len(v.Processes) == 0 {
		p.line("No started client is alive.")
	}
	for _, process := range v.Processes {
		p.line("Process %s: %s, queues %s", process.ID, plural(len(process.Flows), "flow", "flows"), orDash(strings.Join(process.Queues, ", ")))
	}
	if len(v.Flows) == 0 {
		p.line("There are no flows.")
		return
	}
	p.line("")
	rows := make([][]string, len(v.Flows))
	for i, f := range v.Flows {
		next := moment(f.NextRunAt)
		if f.State == "paused" {
			next = "-"
		}
		if f.Overdue {
			next += " overdue"
		}
		rows[i] = []string{f.Name, f.State, fmt.Sprint(f.Running), fmt.Sprint(f.Waiting), next, moment(f.LastRunAt), fmt.Sprint(f.Failures), orDash(clip(f.LastError, 60))}
	}
	p.table([]string{"FLOW", "STATE", "RUNNING", "WAITING", "NEXT TICK", "LAST RUN", "FAILURES", "LAST ERROR"}, rows)
}
