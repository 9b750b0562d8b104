package dataflow

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Explanation says why a flow is not running, as it was at a moment.
type Explanation struct {
	Flow string
	At   time.Time
	// Running is true if a run of the flow was in progress: the first cause says which.
	Running bool
	// Causes are what keeps the flow from running, what is in its way first, and what
	// would explain the past last. There is always one.
	Causes []Cause
}

// Cause is one reason why a flow is not running.
type Cause struct {
	Code CauseCode
	// Text says it in a sentence.
	Text string
	// RunID is the run that it is about, 0 if it is about none.
	RunID int64
	// Until is when it ends by itself, nil if it does not, or nobody knows.
	Until *time.Time
}

// CauseCode tells causes apart.
type CauseCode string

// The causes.
const (
	CauseRunning       CauseCode = "running"           // a run is in progress
	CauseLost          CauseCode = "lease_lapsed"      // a run's worker has not been heard of
	CausePaused        CauseCode = "paused"            // somebody has paused the flow
	CauseUnregistered  CauseCode = "unregistered"      // this process could not register it
	CauseDisabled      CauseCode = "disabled"          // its Runtime is disabled
	CauseUnreadable    CauseCode = "unreadable"        // this process cannot read its Runtime
	CauseTripped       CauseCode = "tripped"           // too many runs have failed in a row
	CauseNoProcess     CauseCode = "no_process"        // no started client is alive
	CauseNotRegistered CauseCode = "not_registered"    // none that is alive has the flow's code
	CauseBlocked       CauseCode = "blocked"           // a run waits for another one
	CauseBackingOff    CauseCode = "backing_off"       // a run waits for its next attempt
	CauseNotDue        CauseCode = "not_due"           // a run waits for its time
	CauseQueuePaused   CauseCode = "queue_paused"      // a run waits in a queue that is paused
	CauseNoWorker      CauseCode = "no_worker"         // a run waits in a queue that no process works
	CauseStarting      CauseCode = "starting"          // a run is due, and nothing is in its way
	CauseNoSchedule    CauseCode = "no_schedule"       // it runs only when it is called
	CauseScheduleOver  CauseCode = "schedule_over"     // there are no more ticks
	CauseNextTick      CauseCode = "next_tick"         // it waits for its next tick
	CauseOverdue       CauseCode = "overdue"           // a tick has come, and nobody has seen it
	CauseFailed        CauseCode = "attempts_used_up"  // the last run has failed
	CauseSkipped       CauseCode = "last_tick_skipped" // the last tick did not become a run
)

// String returns the sentences, one a line.
func (e *Explanation) String() string {
	lines := make([]string, len(e.Causes))
	for i, c := range e.Causes {
		lines[i] = c.Text
	}
	return strings.Join(lines, "\n")
}

// waitingTold is how many of the waiting runs are explained.
const waitingTold = 3

// Why explains why a flow is not running now, or which run of it is. It asks the
// database, and so knows of all processes; only why this process could not register
// the flow, if it could not, it knows by itself. A flow that is not there is
// ErrNotFound.
func (c *Client) Why(ctx context.Context, name string) (*Explanation, error) {
	w, err := c.lookInto(ctx, name)
	if failed := c.RegistrationErrors()[name]; failed != nil && errors.Is(err, ErrNotFound) {
		return c.neverRegistered(ctx, name, failed)
	}
	if err != nil {
		return nil, public(fmt.Errorf("explain flow %q: %w", name, err))
	}
	w.state()
	for i, run := range w.waiting {
		if i == waitingTold {
			w.add(CauseBlocked, 0, nil, "%d more of its runs wait behind these.", len(w.waiting)-i)
			break
		}
		if err := w.wait(ctx, run); err != nil {
			return nil, public(fmt.Errorf("explain flow %q: %w", name, err))
		}
	}
	w.schedule()
	w.past()
	return &Explanation{Flow: name, At: w.now, Running: len(w.running) > 0, Causes: w.causes}, nil
}

// neverRegistered explains a flow that is not in the database because it could not be
// registered.
func (c *Client) neverRegistered(ctx context.Context, name string, failed error) (*Explanation, error) {
	now, err := c.store.Now(ctx)
	if err != nil {
		return nil, public(fmt.Errorf("explain flow %q: %w", name, err))
	}
	w := &why{client: c, now: now}
	w.unregistered(failed)
	return &Explanation{Flow: name, At: now, Causes: w.causes}, nil
}
