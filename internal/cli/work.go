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

func (a *app) runDueCommand() *cobra.Command {
	return a.example(&cobra.Command{
		Use: "run-due", Short: "Start the runs of due ticks, and work the runs that are due, once", Args: cobra.NoArgs,
		Long: `Do one round of what a started client does all the time: put back the runs of dead workers,
start runs for due ticks, and work the due runs of flows on heartbeat. Only flows whose code
this program has are started and worked. Cron can call it, even beside started clients.`,
		RunE: a.on(func(ctx context.Context, s *session, _ []string) error {
			if err := s.client.Register(ctx); err != nil {
				return err
			}
			r, err := s.client.BeginTick(ctx)
			if err != nil {
				return err
			}
			worked, err := r.Wait(ctx)
			if err != nil {
				return s.handBack(ctx, r)
			}
			if err := s.show(viewTick(r, worked), func(p *page) { s.tickPage(p, r, worked) }); err != nil {
				return err
			}
			return failedOf(worked)
		}),
	}, "run-due")
}

type tickView struct {
	Fired   []jsonview.Run `json:"fired"`
	Skipped int64          `json:"skipped"`
	Rescued int            `json:"rescued"`
	Worked  []jsonview.Run `json:"worked"`
}

func viewTick(r *dataflow.TickReport, worked []*dataflow.Run) tickView {
	return tickView{Fired: jsonview.All(r.Fired, jsonview.OfRun), Skipped: r.Skipped, Rescued: r.Rescued, Worked: jsonview.All(worked, jsonview.OfRun)}
}

func (s *session) tickPage(p *page, r *dataflow.TickReport, worked []*dataflow.Run) {
	if len(s.config.Flows) == 0 {
		p.line("This program has no flows, so it can only put back the runs of dead workers.")
	}
	p.line("%s started by schedule, %d ticks skipped, %d rescued, %d worked here.", plural(len(r.Fired), "run", "runs"), r.Skipped, r.Rescued, len(worked))
	for _, run := range worked {
		p.line("Run %d of flow %q is %s: %s.", run.ID, run.FlowName, run.State, records(run.Counters))
	}
}

// failedOf joins the errors of the runs that did not succeed.
func failedOf(runs []*dataflow.Run) error {
	var errs []error
	for _, run := range runs {
		switch {
		case run.Err() != nil:
			errs = append(errs, run.Err())
		case run.State == dataflow.RunPending && run.Error != "":
			errs = append(errs, &dataflow.RunError{RunID: run.ID, Flow: run.FlowName, Err: errors.New(run.Error)})
		}
	}
	return errors.Join(errs...)
}

// stopTimeout is how long an interrupted program may take to end its batches.
const stopTimeout = 20 * time.Second

// handBack ends the runs of an interrupted run-due, and says what happens to them.
func (s *session) handBack(ctx context.Context, r *dataflow.TickReport) error {
	cause := errInterrupted
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := s.client.Stop(ctx); err != nil {
		return fmt.Errorf("%w: %w", cause, err)
	}
	worked, err := r.Wait(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", cause, err)
	}
	var said []string
	for _, run := range worked {
		what := "is " + string(run.State)
		if !run.State.Finished() {
			what = "was handed back, and continues when a process with its code takes it up"
		}
		said = append(said, fmt.Sprintf("run %d %s", run.ID, what))
	}
	if len(said) == 0 {
		said = []string{"no run was begun"}
	}
	return fmt.Errorf("%w: %s", cause, strings.Join(said, "; "))
}

func (a *app) workCommand() *cobra.Command {
	return a.example(&cobra.Command{
		Use: "work", Short: "Work the flows of this program until it is interrupted", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			s, err := a.connect(cmd, true)
			if err != nil {
				return err
			}
			defer s.db.close()
			if err := s.checkSchema(ctx); err != nil {
				return err
			}
			if err := s.client.Start(ctx); err != nil {
				return err
			}
			<-ctx.Done()
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			return s.client.Stop(ctx)
		},
	}, "work")
}
