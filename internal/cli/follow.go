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

// waiting are the flags of a command that can wait for a run.
type waiting struct {
	wait    bool
	timeout time.Duration
}

// flags adds the flags. name and short are those of the flag that waits.
func (w *waiting) flags(cmd *cobra.Command, name, short string) {
	cmd.Flags().BoolVarP(&w.wait, name, short, false, "show the progress until the run has ended")
	cmd.Flags().DurationVar(&w.timeout, "timeout", 0, "with --"+name+", how long to wait, such as 90s or 10m (default: without a limit)")
}

// check returns an error for a timeout without a wait, and for one that is negative.
func (w *waiting) check(name string) error {
	switch {
	case w.timeout < 0:
		return usage("--timeout %s is negative: use a duration such as 90s", w.timeout)
	case w.timeout > 0 && !w.wait:
		return usage("--timeout needs --%s", name)
	}
	return nil
}

// limit returns a context that ends when the command has waited for long enough.
func (w *waiting) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if w.timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, w.timeout, &timeoutError{w.timeout})
}

// timeoutError is the end of a wait.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string { return fmt.Sprintf("not ended within --timeout %s", e.after) }

// followInterval is how often the state of a run is read.
const followInterval = 200 * time.Millisecond

// whyAfter is after how many of these a run that has not begun makes the command say why.
const whyAfter = int(5 * time.Second / followInterval)

// followPatience is for how long the state of a run may be unreadable, as while a database restarts.
const followPatience = time.Minute

// follow shows a run's progress until it has ended, wherever it is worked. It returns the
// run's error if the run failed or was cancelled.
func (s *session) follow(ctx context.Context, run *dataflow.Run) error {
	return s.followWorked(ctx, run, &work{})
}

// work is this process's own attempt at a run that it follows. The zero value is no attempt.
type work struct {
	outcome <-chan error // receives the error of the attempt, once
	err     error
	said    []string // why the run may wait, as the command has said it already
}

// end waits until the attempt is over. After an interrupt, that is when the batch was rolled
// back and the run handed back.
func (w *work) end() {
	if w.outcome != nil {
		w.err, w.outcome = <-w.outcome, nil
	}
}

// handedBack reports whether the attempt ended before the run did.
func (w *work) handedBack() bool { return errors.Is(w.err, dataflow.ErrStopped) }

// failed reports whether there was an attempt and it failed.
func (w *work) failed() bool { return w.err != nil && !w.handedBack() && !wait(w.err) }

// followWorked is follow for a run that this process also works.
func (s *session) followWorked(ctx context.Context, run *dataflow.Run, w *work) error {
	f := &follower{session: s}
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	id := run.ID
	seen, told := time.Now(), false //nolint:forbidigo // how long it takes, not what time it is
	for looks := 0; ; looks++ {
		var err error
		// That its own attempt has failed is what the command ends with.
		if run.State != dataflow.RunPending || run.Attempt == 0 || w.outcome == nil && !w.failed() {
			err = f.look(run)
		}
		switch {
		case run.State.Finished():
			return run.Err()
		case err != nil: // the output can no longer be written, so ctx is done
			return s.interrupted(ctx, id, w)
		case w.failed() && ctx.Err() == nil:
			return s.triedAgain(run, w.err)
		case looks == whyAfter && run.State == dataflow.RunPending:
			f.sayWhy(ctx, run, w.said)
		case run.State == dataflow.RunInProgress && run.WaitsFor != "":
			f.sayWaits(run)
		}
		select {
		case <-ctx.Done():
			return s.interrupted(ctx, id, w)
		case w.err = <-w.outcome:
			w.outcome = nil
		case <-tick.C:
		}
		now, err := s.client.Run(ctx, id)
		switch {
		case err == nil:
			run, seen, told = now, time.Now(), false //nolint:forbidigo // as above
		case ctx.Err() != nil: // interrupted during the query
			return s.interrupted(ctx, id, w)
		case errors.Is(err, dataflow.ErrNotFound) || time.Since(seen) > followPatience:
			return err
		case !told:
			told = true
			s.note(fmt.Sprintf("Cannot look at run %d, and tries again for %s: %v", id, followPatience, err))
		}
	}
}

// triedAgain adds to the error of an attempt what becomes of the run.
func (s *session) triedAgain(run *dataflow.Run, err error) error {
	switch {
	case run.State != dataflow.RunPending:
		return err
	case errors.Is(err, dataflow.ErrNotDue) && run.Error != "": // another process was quicker
		return fmt.Errorf("%w: attempt %d of %d failed: %s", err, run.Attempt, run.MaxAttempts, run.Error)
	}
	return fmt.Errorf("%w: that was attempt %d of %d; the next is due at %s, in a process such as %s work", err, run.Attempt, run.MaxAttempts, moment(&run.RunAfter), s.program.Name)
}

// wait reports whether to wait for a run that this process cannot work.
func wait(err error) bool {
	return is(dataflow.ErrAlreadyRunning, dataflow.ErrRunFinished, dataflow.ErrFenced)(err)
}

// interrupted says what happens to a run that the command no longer waits for.
func (s *session) interrupted(ctx context.Context, id int64, w *work) error {
	w.end()
	cause := errInterrupted
	var timeout *timeoutError
	switch {
	case errors.Is(context.Cause(ctx), errUnwritten):
		cause = errUnwritten
	case errors.As(context.Cause(ctx), &timeout):
		cause = timeout
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	run, err := s.client.Run(ctx, id)
	if err != nil {
		return fmt.Errorf("%w: the state of run %d is unknown: %w", cause, id, err)
	}
	see := fmt.Sprintf("%s run show %d --follow", s.program.Name, id)
	switch {
	case run.State.Finished():
		return fmt.Errorf("%w: run %d is %s", cause, id, run.State)
	case run.State == dataflow.RunInProgress:
		return fmt.Errorf("%w: run %d continues on worker %s: %s", cause, id, run.Worker, see)
	case w.handedBack():
		return fmt.Errorf("%w: run %d was handed back, and continues when a process with its code takes it up: %s", cause, id, see)
	case timeout != nil:
		return fmt.Errorf("%w: run %d is %s, and stays so until a process works it or run cancel ends it: %s: %s", cause, id, run.State, see, s.whyWaits(ctx, run))
	default:
		return fmt.Errorf("%w: run %d continues when a process with its code takes it up: %s", cause, id, see)
	}
}

// whyWaits says in a sentence why no run of a flow starts.
func (s *session) whyWaits(ctx context.Context, run *dataflow.Run) string {
	name := run.FlowName
	e, err := s.client.Why(ctx, name)
	if err != nil || len(e.Causes) == 0 {
		return s.program.Name + " flow why " + quoted(name)
	}
	first := max(0, slices.IndexFunc(e.Causes, func(c dataflow.Cause) bool { return c.Code == dataflow.CauseNotDue && c.RunID == run.ID }))
	return s.inCommands(e.Causes[first].Text, name)
}

// sayWhy says why a run has not begun, unless that was said already.
func (f *follower) sayWhy(ctx context.Context, run *dataflow.Run, said []string) {
	why := f.whyWaits(ctx, run)
	if ctx.Err() != nil || slices.Contains(said, why) {
		return
	}
	f.say("Run " + strconv.FormatInt(run.ID, 10) + " has not begun yet: " + why)
}

// sayWaits says what a run in progress waits for, once for each thing.
func (f *follower) sayWaits(run *dataflow.Run) {
	if run.WaitsFor == f.waits {
		return
	}
	f.waits = run.WaitsFor
	f.say(fmt.Sprintf("Run %d waits for %s, since %s.", run.ID, clip(run.WaitsFor, 500), moment(run.WaitsSince)))
}

// say writes a note below the line of the terminal, which stays as it is.
func (f *follower) say(text string) {
	if f.wide > 0 {
		_, _ = fmt.Fprintln(f.Out)
		f.wide = 0
	}
	f.note(text)
}

// follower writes each change of a run.
type follower struct {
	*session
	last  string
	state dataflow.RunState // of the last line that was written
	at    time.Time         // when that was
	wide  int               // how many runes are in the terminal's current line
	waits string            // what the command has last said that the run waits for
}

func (f *follower) look(run *dataflow.Run) error {
	if f.format == "json" {
		return f.lookJSON(run)
	}
	text := f.line(run)
	if text == f.last {
		return nil
	}
	f.last = text
	if !run.State.Finished() && (f.quiet || !f.Live && run.State == f.state && f.Now().Sub(f.at) < linesProgress) {
		return nil
	}
	f.state, f.at = run.State, f.Now()
	end := "\n"
	if f.Live && !run.State.Finished() {
		end = ""
	}
	start := ""
	if f.wide > 0 {
		start = "\r" + strings.Repeat(" ", f.wide) + "\r"
	}
	f.wide = 0
	if end == "" {
		f.wide = len([]rune(text))
	}
	_, err := fmt.Fprint(f.Out, start+text+end)
	return err
}

// lookJSON writes a line for each change.
func (f *follower) lookJSON(run *dataflow.Run) error {
	data, err := json.Marshal(jsonview.OfRun(run))
	if err != nil {
		return err
	}
	key := f.line(run)
	if key == f.last {
		return nil
	}
	f.last = key
	_, err = fmt.Fprintf(f.Out, "%s\n", data)
	return err
}

func (f *follower) line(r *dataflow.Run) string {
	text := fmt.Sprintf("run %d  %s  %s", r.ID, clean(r.FlowName), r.State)
	if r.StartedAt != nil {
		of := ""
		if r.Total != nil && *r.Total > 0 {
			of = fmt.Sprintf(" of %d (%d %%)", *r.Total, min(100, 100*r.Counters.Read / *r.Total))
			if f.Live && !r.State.Finished() {
				of = fmt.Sprintf(" of %d", *r.Total)
				text += "  " + share(r.Counters.Read, *r.Total, true)
			}
		}
		text += fmt.Sprintf("  %d%s read, %d written", r.Counters.Read, of, r.Counters.Written)
		if n := r.Counters.Dropped; n > 0 {
			text += fmt.Sprintf(", %d dropped", n)
		}
		if n := r.Counters.DeadLettered; n > 0 {
			text += fmt.Sprintf(", %d dead-lettered", n)
		}
	}
	switch {
	case r.State == dataflow.RunPending && r.Attempt > 0 && r.Error != "":
		text += fmt.Sprintf("  attempt %d of %d failed, the next is at %s: %s", r.Attempt, r.MaxAttempts, moment(&r.RunAfter), clean(clip(r.Error, 100)))
	case r.State.Finished() && r.StartedAt != nil:
		text += "  in " + roughly(r.Duration())
	}
	return text
}
