package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

type statusView struct {
	Database  string             `json:"database"`
	Processes []jsonview.Process `json:"processes"`
	Flows     []statusFlow       `json:"flows"`
}

type statusFlow struct {
	Name      string     `json:"name"`
	State     string     `json:"state"`
	Running   int        `json:"running"`
	Waiting   int        `json:"waiting"`
	Overdue   bool       `json:"overdue"`
	NextRunAt *time.Time `json:"next_run_at"`
	After     string     `json:"after,omitempty"`
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
	view.Processes = jsonview.All(processes, jsonview.OfProcess)
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
		after, err := s.after(ctx, f)
		if err != nil {
			return nil, err
		}
		view.Flows[i] = statusFlow{
			Name: f.Name, State: flowState(f), Running: activity.InProgress, Waiting: activity.Waiting,
			Overdue:   f.IsActive() && f.NextRunAt != nil && f.NextRunAt.Before(now),
			NextRunAt: jsonview.UTC(f.NextRunAt), After: after, LastRunAt: jsonview.UTC(f.LastRunAt), Failures: f.Failures, LastError: f.LastError,
		}
	}
	return view, nil
}

// after returns the name of the flow that a flow follows, if it has no ticks.
func (s *session) after(ctx context.Context, f *dataflow.Flow) (string, error) {
	if f.NextRunAt != nil {
		return "", nil
	}
	state, err := s.store.AfterGet(ctx, f.ID)
	if errors.Is(err, dataflow.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look which flow %q follows: %w", f.Name, err)
	}
	return state.Flow, nil
}

func (v *statusView) page(p *page) {
	p.line("%s", v.Database)
	if len(v.Processes) == 0 {
		p.line("No started client is alive.")
	}
	for _, process := range v.Processes {
		code := ""
		if process.CodeVersion != "" {
			code = ", code version " + process.CodeVersion
		}
		queues := "queues " + orDash(strings.Join(process.Queues, ", "))
		if process.Joined() {
			queues = "the queues of its service's River client"
		}
		p.line("Process %s: %s, %s%s", process.ID, plural(len(process.Flows), "flow", "flows"), queues, code)
	}
	if len(v.Flows) == 0 {
		p.line("There are no flows.")
		return
	}
	p.line("")
	rows := make([][]string, len(v.Flows))
	for i, f := range v.Flows {
		next := moment(f.NextRunAt)
		if f.After != "" {
			next = "after " + f.After
		}
		if f.State == "paused" || f.State == "disabled" {
			next = "-"
		}
		if f.Overdue {
			next += " overdue"
		}
		rows[i] = []string{f.Name, f.State, fmt.Sprint(f.Running), fmt.Sprint(f.Waiting), next, moment(f.LastRunAt), fmt.Sprint(f.Failures), orDash(clip(f.LastError, 60))}
	}
	p.table([]string{"FLOW", "STATE", "RUNNING", "WAITING", "NEXT TICK", "LAST RUN", "FAILURES", "LAST ERROR"}, rows)
}
