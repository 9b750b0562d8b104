package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

func (a *app) enqueueCommand() *cobra.Command {
	var by byWhom
	var at, params string
	var w waiting
	cmd := &cobra.Command{
		Use: "enqueue NAME", Short: "Start a run of a flow", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeFlows,
		Long: `Start a run of a flow.

For a flow on job_queue, the run gets a River job. Any process that has the flow's code and
works the queue takes it up. For a flow on heartbeat, the run waits for a started client that
has the code, or for run-due. With --wait, this program works it at once if it has the code.

With --wait, a run with a River job waits for such a process, and the command with it. It says
what the run waits for. --timeout ends the wait, and not the run.`,
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			if err := w.check("wait"); err != nil {
				return err
			}
			opts := &dataflow.TriggerOptions{Actor: by.actorOr(s.Env), Reason: by.reason, Params: orNone(params)}
			var err error
			if opts.At, err = parseTime(at); err != nil {
				return err
			}
			run, err := s.client.Enqueue(ctx, args[0], opts)
			if err != nil {
				return err
			}
			if w.wait {
				ctx, cancel := w.limit(ctx)
				defer cancel()
				return s.waitFor(ctx, run)
			}
			return s.enqueued(ctx, run)
		}),
	}
	by.flags(cmd)
	cmd.Flags().Var(filled{&params}, "params", "parameters for the source, as JSON")
	cmd.Flags().Var(filled{&at}, "at", "when to start, such as 2027-01-31T09:30:00Z (default: now)")
	w.flags(cmd, "wait", "w")
	return a.example(cmd, "enqueue orders --wait --timeout 10m", "enqueue orders --at 2027-01-31T09:30:00Z")
}

func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, usage("%q is not a time: write it as 2027-01-31T09:30:00Z", clip(text, 40))
	}
	return t, nil
}

// enqueued says who will work a run.
func (s *session) enqueued(ctx context.Context, run *dataflow.Run) error {
	flow, err := s.client.Flow(ctx, run.FlowName)
	if err != nil {
		return err
	}
	obstacles, err := s.obstacles(ctx, run)
	if err != nil {
		return err
	}
	return s.show(jsonview.OfRun(run), func(p *page) {
		switch {
		case run.Coalesced && run.State == dataflow.RunInProgress:
			p.line("Run %d of flow %q is at work already, and no new one was made.", run.ID, run.FlowName)
		case run.Coalesced:
			p.line("Run %d of flow %q was waiting already, and no new one was made.", run.ID, run.FlowName)
		default:
			p.line("Run %d of flow %q is %s.", run.ID, run.FlowName, run.State)
		}
		switch {
		case run.RiverJobID != 0:
			p.line("Its River job %d is in the queue %q, for a process that has the flow's code.", run.RiverJobID, run.Queue)
		case !flow.Registered():
			p.line("This program does not have the flow's code: a started client that has it works the run, or run-due of such a program.")
		default:
			p.line("A started client works it, or %s run-due.", s.program.Name)
		}
		for _, text := range obstacles {
			p.line("%s", text)
		}
		p.line("%s run show %d --follow shows its progress.", s.program.Name, run.ID)
	})
}

type enqueuedView struct {
	Flow  string        `json:"flow"`
	Run   *jsonview.Run `json:"run"`
	Error string        `json:"error,omitempty"`
}

func (a *app) enqueueAllCommand() *cobra.Command {
	var by byWhom
	cmd := &cobra.Command{
		Use: "enqueue-all", Short: "Start a run of each flow that is neither paused nor disabled", Args: cobra.NoArgs,
		RunE: a.on(func(ctx context.Context, s *session, _ []string) error {
			work, end := s.longWork(ctx, 0)
			all, err := s.client.EnqueueAll(work, by.actorOr(s.Env), by.reason)
			end()
			if err != nil {
				return fmt.Errorf("%w, after %s", err, plural(len(all), "flow", "flows"))
			}
			var failed []error
			list := jsonview.All(all, func(e dataflow.Enqueued) enqueuedView {
				view := enqueuedView{Flow: e.Flow}
				if e.Err != nil {
					view.Error = message(e.Err)
					if !is(dataflow.ErrDisabled)(e.Err) {
						failed = append(failed, e.Err)
					}
				} else {
					run := jsonview.OfRun(e.Run)
					view.Run = &run
				}
				return view
			})
			if err := s.show(list, func(p *page) { s.enqueuedPage(p, list) }); err != nil {
				return err
			}
			return errors.Join(failed...)
		}),
	}
	by.flags(cmd)
	return a.example(cmd, `enqueue-all --reason "the backup is restored"`)
}

func (s *session) enqueuedPage(p *page, list []enqueuedView) {
	if len(list) == 0 {
		p.line("There are no flows.")
		return
	}
	p.table([]string{"FLOW", "RUN", ""}, jsonview.All(list, func(v enqueuedView) []string {
		switch {
		case v.Run == nil:
			return []string{v.Flow, "-", v.Error}
		case v.Run.Coalesced:
			return []string{v.Flow, fmt.Sprint(v.Run.ID), "was waiting already"}
		default:
			return []string{v.Flow, fmt.Sprint(v.Run.ID), v.Run.State}
		}
	}))
	p.line("%s status shows how they go on.", s.program.Name)
}

// obstacles says what keeps a run from being worked soon.
func (s *session) obstacles(ctx context.Context, run *dataflow.Run) (texts []string, err error) {
	name := run.FlowName
	e, err := s.client.Why(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, c := range e.Causes {
		switch c.Code {
		case dataflow.CauseNoProcess, dataflow.CauseNotRegistered, dataflow.CauseNoWorker, dataflow.CauseQueuePaused, dataflow.CauseBlocked:
			texts = append(texts, s.inCommands(c.Text, name))
		case dataflow.CauseNotDue:
			if c.RunID == run.ID {
				texts = slices.Insert(texts, 0, c.Text)
			}
		default: // this cause does not delay a run that has been started
		}
	}
	return texts, nil
}

// waitFor follows a run to its end. Then it says what the source notes, if the run read nothing.
func (s *session) waitFor(ctx context.Context, run *dataflow.Run) error {
	if err := s.waitForEnd(ctx, run); err != nil {
		return err
	}
	ended, err := s.client.Run(ctx, run.ID)
	if err != nil || ended.Counters.Read > 0 {
		return err
	}
	return s.tellNotes(ctx, run.FlowName)
}

// tellNotes says what the source of a flow notes: some of the records that somebody waits for may
// be held back.
func (s *session) tellNotes(ctx context.Context, name string) error {
	why, err := s.client.Why(ctx, name)
	if err != nil {
		return err
	}
	for _, c := range why.Causes {
		if c.Code == dataflow.CauseNoted {
			s.note(s.inCommands(c.Text, name))
		}
	}
	return nil
}

// waitForEnd follows a run. It also works the run if that needs no River job, the run is due and
// this program has the flow's code.
func (s *session) waitForEnd(ctx context.Context, run *dataflow.Run) error {
	flow, err := s.client.Flow(ctx, run.FlowName)
	if err != nil {
		return s.unlessOver(ctx, run, err)
	}
	if run.Queue == "" && run.RiverJobID == 0 && flow.Registered() && !run.RunAfter.After(s.Now()) {
		outcome := make(chan error, 1)
		go func() {
			_, err := dataflow.NewFlowExecutor(s.client).Execute(ctx, run.ID)
			outcome <- err
		}()
		return s.followWorked(ctx, run, &work{outcome: outcome})
	}
	obstacles, err := s.obstacles(ctx, run)
	if err != nil {
		return s.unlessOver(ctx, run, err)
	}
	for _, text := range obstacles {
		s.note(text)
	}
	return s.followWorked(ctx, run, &work{said: obstacles})
}

// unlessOver returns an error of a wait. If the wait was over, it says that instead.
func (s *session) unlessOver(ctx context.Context, run *dataflow.Run, err error) error {
	if ctx.Err() != nil {
		return s.interrupted(ctx, run.ID, &work{})
	}
	return err
}
