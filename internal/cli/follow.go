package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
)

// followInterval is how often a run is looked at.
const followInterval = 200 * time.Millisecond

// follow shows a run's progress until it has ended, wherever it is worked. The error of a
// run that failed, or was cancelled, is its own.
func (s *session) follow(ctx context.Context, run *dataflow.Run) error {
	return s.followWorked(ctx, run, nil)
}

// followWorked is follow for a run that this process works too: worked gives the outcome.
func (s *session) followWorked(ctx context.Context, run *dataflow.Run, worked <-chan error) error {
	f := &follower{session: s}
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	id := run.ID
	var failed error // of this process's attempt
	for {
		if err := f.look(run); err != nil { // nobody reads it, and ctx is done
			awaitEnd(worked)
			return err
		}
		if run.State.Finished() {
			return run.Err()
		}
		if failed != nil {
			return failed
		}
		select {
		case <-ctx.Done():
			return s.interrupted(ctx, id, worked)
		case err := <-worked:
			if ctx.Err() == nil && !wait(err) {
				failed = err
			}
			worked = nil
		case <-tick.C:
		}
		var err error
		if run, err = s.client.Run(ctx, id); err != nil && ctx.Err() == nil {
			return err
		}
		if run == nil { // interrupted while it was asked for
			return s.interrupted(ctx, id, worked)
		}
	}
}

// awaitEnd waits until this process has rolled its batch back and handed the run back.
func awaitEnd(worked <-chan error) {
	if worked == nil {
		return
	}
	for range worked { // what it says is stored with the run
	}
}

// wait reports whether the run is to be waited for, although this process cannot work it.
func wait(err error) bool {
	return is(dataflow.ErrAlreadyRunning, dataflow.ErrRunFinished, dataflow.ErrFenced)(err)
}

// interrupted says what becomes of a run that is not waited for any more.
func (s *session) interrupted(ctx context.Context, id int64, worked <-chan error) error {
	cause := errInterrupted
	awaitEnd(worked)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	run, err := s.client.Run(ctx, id)
	if err != nil {
		return fmt.Errorf("%w: run %d is left to others, and what has become of it is not known: %w", cause, id, err)
	}
	see := fmt.Sprintf("%s run show %d --follow", s.program.Name, id)
	switch {
	case run.State.Finished():
		return fmt.Errorf("%w: run %d is %s", cause, id, run.State)
	case run.State == dataflow.RunInProgress:
		return fmt.Errorf("%w: run %d goes on, on worker %s: %s", cause, id, run.Worker, see)
	case worked != nil:
		return fmt.Errorf("%w: run %d was handed back, and goes on when a process that has its code takes it up: %s", cause, id, see)
	default:
		return fmt.Errorf("%w: run %d goes on when a process that has its code takes it up: %s", cause, id, see)
	}
}

// follower writes what has changed of a run.
type follower struct {
	*session
	last string
	wide int // what the terminal's line holds
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
	data, err := json.Marshal(viewRun(run))
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
		}
		text += fmt.Sprintf("  %d%s read, %d written", r.Counters.Read, of, r.Counters.Written)
	}
	switch {
	case r.State == dataflow.RunPending && r.Attempt > 0 && r.Error != "":
		text += fmt.Sprintf("  attempt %d of %d failed, the next is at %s: %s", r.Attempt, r.MaxAttempts, moment(&r.RunAfter), clean(clip(r.Error, 100)))
	case r.State.Finished() && r.StartedAt != nil:
		text += "  in " + roughly(r.Duration())
	}
	return text
}
