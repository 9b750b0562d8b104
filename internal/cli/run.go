package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

func (a *app) runCommand() *cobra.Command {
	return a.example(a.group("run", "List, follow, cancel and retry runs",
		a.runListCommand(), a.runShowCommand(), a.runCancelCommand(), a.runRetryCommand(),
	), "run list")
}

func (a *app) runListCommand() *cobra.Command {
	var p dataflow.RunListParams
	var states []string
	var trigger string
	triggers := jsonview.All(dataflow.Triggers(), func(t dataflow.Trigger) string { return string(t) })
	cmd := &cobra.Command{Use: "list [NAME]", Short: "List runs, newest first, of one flow or of all", Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeFlows}
	cmd.RunE = a.on(func(ctx context.Context, s *session, args []string) error {
		named := cmd.Flags().Changed("flow")
		if len(args) == 1 {
			if named && p.Flow != args[0] {
				return usage("two flows are named, %q and %q: name one", clip(args[0], nameMost), clip(p.Flow, nameMost))
			}
			p.Flow, named = args[0], true
		}
		if cmd.Flags().Changed("state") && len(states) == 0 {
			return usage("--state: %v", errEmptyFlag)
		}
		for _, state := range states {
			p.States = append(p.States, dataflow.RunState(state))
		}
		if !slices.Contains(triggers, trigger) && trigger != "" {
			return usage("%q is not a trigger: use one of %s", clip(trigger, nameMost), strings.Join(triggers, ", "))
		}
		p.Trigger = dataflow.Trigger(trigger)
		if named { // an unknown flow is an error, not an empty list
			if _, err := s.client.Flow(ctx, p.Flow); err != nil {
				return err
			}
		}
		runs, err := s.client.Runs(ctx, &p)
		if err != nil {
			return err
		}
		return showList(s, runs, p.Limit, func(r *dataflow.Run) int64 { return r.ID }, jsonview.OfRun, func(page *page) {
			if len(runs) == 0 {
				page.line("There are no such runs.")
				return
			}
			page.table([]string{"RUN", "FLOW", "STATE", "TRIGGER", "DUE", "STARTED", "TOOK", "READ", "WRITTEN", "ATTEMPT", "ERROR"}, jsonview.All(runs, s.runRow))
		})
	})
	flags := cmd.Flags()
	flags.StringVar(&p.Flow, "flow", "", "only runs of this flow")
	flags.StringSliceVar(&states, "state", nil, "only runs in these states: pending, in_progress, success, failed, cancelled")
	flags.Var(filled{&trigger}, "trigger", "only runs with this trigger: "+strings.Join(triggers, ", "))
	idFlag(cmd, &p.Before, "before", "only runs older than this one, such as the last of the previous page")
	limitFlag(cmd, &p.Limit, 20, "how many")
	return a.example(cmd, "run list orders --state failed,cancelled --limit 5")
}

func (s *session) runRow(r *dataflow.Run) []string {
	took := "-"
	switch {
	case r.EndedAt != nil && r.StartedAt != nil:
		took = roughly(r.Duration())
	case r.State == dataflow.RunInProgress:
		took = roughly(s.Now().Sub(*r.StartedAt)) + " so far"
	}
	return []string{
		fmt.Sprint(r.ID), r.FlowName, string(r.State), string(r.Trigger), moment(&r.RunAfter), moment(r.StartedAt), took,
		fmt.Sprint(r.Counters.Read), fmt.Sprint(r.Counters.Written), fmt.Sprintf("%d/%d", r.Attempt, r.MaxAttempts), orDash(clip(r.Error, 60)),
	}
}

// roughly formats a duration without needless digits.
func roughly(d time.Duration) string {
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return max(d, 0).Round(time.Millisecond).String()
}

// runID reads the id of a run.
func runID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id <= 0 {
		return 0, usage("%q is not the id of a run: use a number from run list", clip(text, 40))
	}
	return id, nil
}

func (a *app) runShowCommand() *cobra.Command {
	var w waiting
	cmd := &cobra.Command{
		Use: "show RUN", Short: "Show all that is stored of a run, or follow it to its end", Args: cobra.ExactArgs(1),
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			if err := w.check("follow"); err != nil {
				return err
			}
			id, err := runID(args[0])
			if err != nil {
				return err
			}
			run, err := s.client.Run(ctx, id)
			if err != nil {
				return err
			}
			if w.wait {
				ctx, cancel := w.limit(ctx)
				defer cancel()
				return s.follow(ctx, run)
			}
			progress, err := s.client.Progress(ctx, id)
			if err != nil {
				return err
			}
			return s.show(jsonview.OfRun(run), func(p *page) {
				if p.table(nil, s.runFields(run, progress)); run.State == dataflow.RunFailed {
					p.line("%s run retry %d --wait tries it again; %[1]s flow why %[3]s says what the flow does next.", s.program.Name, run.ID, quoted(run.FlowName))
				}
			})
		}),
	}
	w.flags(cmd, "follow", "f")
	return a.example(cmd, "run show 7 --follow")
}

func (s *session) runFields(r *dataflow.Run, progress *dataflow.Progress) [][]string {
	took := "-"
	if r.EndedAt != nil && r.StartedAt != nil {
		took = roughly(r.Duration())
	} else if r.State == dataflow.RunInProgress && r.StartedAt != nil {
		took = roughly(s.Now().Sub(*r.StartedAt)) + " so far"
	}
	fields := [][]string{
		{"id", fmt.Sprint(r.ID)},
		{"flow", r.FlowName},
		{"state", string(r.State)},
		{"trigger", string(r.Trigger)},
		{"actor", orDash(r.Actor)},
		{"reason", orDash(r.Reason)},
		{"due", moment(&r.RunAfter)},
		{"started", moment(r.StartedAt)},
		{"ended", moment(r.EndedAt)},
		{"took", took},
		{"attempt", fmt.Sprintf("%d of %d", r.Attempt, r.MaxAttempts)},
		{"worker", orDash(r.Worker)},
		{"queue", orDash(r.Queue)},
		{"records", records(r.Counters)},
		{"from cursor", begins(r.FromCursor)},
		{"to cursor", orDash(string(jsonview.Canonical(r.ToCursor)))},
	}
	if r.CodeVersion != "" {
		fields = append(fields, []string{"code version", r.CodeVersion})
	}
	if r.IsBackfill() {
		until := "the end"
		if r.UntilCursor != nil {
			until = "cursor " + string(jsonview.Canonical(r.UntilCursor))
		}
		fields = append(fields, []string{"backfill", fmt.Sprintf("%s, until %s", r.Scope, until)})
	}
	if r.Params != nil {
		fields = append(fields, []string{"params", string(jsonview.Canonical(r.Params))})
	}
	if text := progressText(progress); text != "" && !r.State.Finished() {
		fields = append(fields, []string{"progress", text})
	}
	if r.WaitsFor != "" {
		fields = append(fields, []string{"waits for", fmt.Sprintf("%s, since %s", r.WaitsFor, moment(r.WaitsSince))})
	}
	if r.CancelRequestedAt != nil {
		fields = append(fields, []string{"cancelled", strings.TrimSpace(fmt.Sprintf("by %s at %s: %s", orDash(r.CancelledBy), moment(r.CancelRequestedAt), orDash(r.CancelReason)))})
	}
	for _, e := range r.Errors {
		fields = append(fields, []string{"error", fmt.Sprintf("attempt %d at %s: %s", e.Attempt, moment(&e.At), e.Error)})
	}
	return fields
}

// begins says where a run began to read.
func begins(from json.RawMessage) string {
	text := string(jsonview.Canonical(from))
	if text == "null" { // it is stored so
		return "the beginning"
	}
	return orDash(text)
}

// progressText says how far a run is, if that is known.
func progressText(p *dataflow.Progress) string {
	if p.Total == nil || *p.Total == 0 {
		return ""
	}
	text := fmt.Sprintf("%d of %d (%d %%)", p.Counters.Read, *p.Total, min(100, 100*p.Counters.Read / *p.Total))
	if p.Left != nil {
		text += ", about " + p.Left.Round(time.Second).String() + " left"
	}
	return text
}

func (a *app) runCancelCommand() *cobra.Command {
	var by byWhom
	var w waiting
	cmd := &cobra.Command{
		Use: "cancel RUN", Short: "End a run, whichever process works it", Args: cobra.ExactArgs(1),
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			if err := w.check("wait"); err != nil {
				return err
			}
			id, err := runID(args[0])
			if err != nil {
				return err
			}
			run, err := s.client.Cancel(ctx, id, by.actorOr(s.Env), by.reason)
			if err != nil {
				return err
			}
			if w.wait && !run.State.Finished() {
				ctx, cancel := w.limit(ctx)
				defer cancel()
				ended, err := s.client.Wait(ctx, id)
				if ctx.Err() != nil {
					cause := errInterrupted
					var timeout *timeoutError
					if errors.As(context.Cause(ctx), &timeout) {
						cause = timeout
					}
					return fmt.Errorf("%w: run %d was asked to end, and will end wherever it is worked", cause, id)
				}
				if ended == nil {
					return err
				}
				run = ended
			}
			return s.show(jsonview.OfRun(run), func(p *page) {
				if run.State == dataflow.RunInProgress {
					p.line("Run %d of flow %q was asked to end. Worker %s ends it within seconds.", run.ID, run.FlowName, run.Worker)
				} else {
					p.line("Run %d of flow %q is %s.", run.ID, run.FlowName, run.State)
				}
				switch {
				case !run.IsBackfill():
					p.line("The flow's next run goes on from the last checkpoint: %s flow pause %s keeps it from that.", a.program.Name, quoted(run.FlowName))
				case run.Trigger != dataflow.TriggerFirstLoad: // no later run of the flow reads what it has left
					p.line("%s run retry %d goes on with the backfill from its last checkpoint.", a.program.Name, run.ID)
				}
			})
		}),
	}
	by.flags(cmd)
	w.flags(cmd, "wait", "")
	return a.example(cmd, `run cancel 7 --reason "the wrong file"`)
}

func (a *app) runRetryCommand() *cobra.Command {
	var by byWhom
	var w waiting
	cmd := &cobra.Command{
		Use: "retry RUN", Short: "Start a new run in place of one that failed or was cancelled", Args: cobra.ExactArgs(1),
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			if err := w.check("wait"); err != nil {
				return err
			}
			id, err := runID(args[0])
			if err != nil {
				return err
			}
			run, err := s.client.Retry(ctx, id, by.actorOr(s.Env))
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
	cmd.Flags().StringVar(&by.actor, "actor", "", actorHelp)
	w.flags(cmd, "wait", "w")
	return a.example(cmd, "run retry 7 --wait")
}
