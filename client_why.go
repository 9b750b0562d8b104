package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river/rivertype"

	"github.com/activedataflow/dataflow/internal/schedule"
	"github.com/activedataflow/dataflow/internal/stored"
)

// Explanation is why a flow is not running, at a moment.
type Explanation struct {
	Flow string
	At   time.Time
	// Running is true if a run of the flow is in progress. The first cause says which.
	Running bool
	// Causes are what keeps the flow from running. The first is what stops it now, the last
	// explains the past. There is at least one.
	Causes []Cause
}

// Cause is one reason why a flow is not running.
type Cause struct {
	Code CauseCode
	// Text is the cause in a sentence.
	Text string
	// RunID is the run that the cause is about. 0: none.
	RunID int64
	// Until is when the cause ends by itself. Nil: it does not, or the time is not known.
	Until *time.Time
}

// CauseCode tells causes apart.
type CauseCode string

// The causes.
const (
	CauseRunning       CauseCode = "running"           // a run is in progress
	CauseFollows       CauseCode = "follows_log"       // a run in progress follows a log
	CauseSilent        CauseCode = "source_silent"     // a run in progress gets nothing from its source
	CauseBusy          CauseCode = "part_busy"         // a run's transform or sink works on one batch for long
	CauseFirstLoad     CauseCode = "first_load"        // a run in progress waits for the ranges of the first load
	CauseLost          CauseCode = "lease_lapsed"      // a run's worker is silent
	CausePaused        CauseCode = "paused"            // somebody paused the flow
	CauseUnregistered  CauseCode = "unregistered"      // this process could not register it
	CauseDisabled      CauseCode = "disabled"          // its Runtime is disabled
	CauseUnreadable    CauseCode = "unreadable"        // this process cannot read its Runtime
	CauseTripped       CauseCode = "tripped"           // too many runs failed in a row
	CauseNoProcess     CauseCode = "no_process"        // no started client is alive
	CauseNotRegistered CauseCode = "not_registered"    // no live process has the flow's code
	CauseBlocked       CauseCode = "blocked"           // a run waits for another run
	CauseGroup         CauseCode = "group_full"        // a run waits for a place in its group
	CauseNoConnection  CauseCode = "no_connection"     // a run waits for connections of a pool
	CauseBackingOff    CauseCode = "backing_off"       // a run waits for its next attempt
	CauseNotDue        CauseCode = "not_due"           // a run waits for its time
	CauseQueuePaused   CauseCode = "queue_paused"      // a run waits in a queue that is paused
	CauseNoWorker      CauseCode = "no_worker"         // a run waits in a queue that no process works
	CauseStarting      CauseCode = "starting"          // a run is due, and nothing is in its way
	CauseAfter         CauseCode = "after"             // the flow runs after another one
	CauseNoSchedule    CauseCode = "no_schedule"       // the flow runs only when called
	CauseScheduleOver  CauseCode = "schedule_over"     // there are no more ticks
	CauseNextTick      CauseCode = "next_tick"         // the flow waits for its next tick
	CauseOverdue       CauseCode = "overdue"           // a tick came, and no process saw it
	CauseNoted         CauseCode = "noted"             // the source holds records back or may miss some, or a pooler is not known yet
	CauseFailed        CauseCode = "attempts_used_up"  // the last run failed
	CauseSkipped       CauseCode = "last_tick_skipped" // the last tick did not become a run
	CauseRetrying      CauseCode = "dead_letters_held" // dead letters wait to be tried again
	CauseClock         CauseCode = "clock_went_back"   // the database's clock went back
	CauseUntold        CauseCode = "run_end_untold"    // Config.OnRunEnded failed, or nobody called it
	CauseZoneData      CauseCode = "zone_data"         // processes have different rules for its time zone
)

// String returns the sentences, each on a line of its own.
func (e *Explanation) String() string {
	lines := make([]string, len(e.Causes))
	for i, c := range e.Causes {
		lines[i] = c.Text
	}
	return strings.Join(lines, "\n")
}

// waitingTold is how many of the waiting runs are explained.
const waitingTold = 3

// Why explains why a flow is not running now, or says which run of it is. It asks the
// database, and so knows about all processes. Only registration errors are those of this
// process, and only a process with the flow's code asks its source ([Noter]). If there is no such flow, the error is ErrNotFound.
func (c *Client) Why(ctx context.Context, name string) (*Explanation, error) {
	w, err := lookInto(ctx, c, name)
	if failed := c.RegistrationErrors()[name]; failed != nil && errors.Is(err, ErrNotFound) {
		return neverRegistered(ctx, c, name, failed)
	}
	if err != nil {
		return nil, public(fmt.Errorf("explain flow %q: %w", name, c.flows.unstored(name, err)))
	}
	w.state()
	for i, run := range w.waiting {
		if i == waitingTold {
			w.add(CauseBlocked, 0, nil, "%d more of its runs wait after these.", len(w.waiting)-i)
			break
		}
		if err := w.wait(ctx, run); err != nil {
			return nil, public(fmt.Errorf("explain flow %q: %w", name, err))
		}
	}
	if err := w.queue(ctx); err != nil {
		return nil, public(fmt.Errorf("explain flow %q: %w", name, err))
	}
	w.clock()
	follows, err := w.after(ctx)
	if err != nil {
		return nil, public(fmt.Errorf("explain flow %q: %w", name, err))
	}
	w.schedule(follows)
	if err := w.noted(ctx); err != nil {
		return nil, public(fmt.Errorf("explain flow %q: %w", name, err))
	}
	if err := w.zone(ctx); err != nil {
		return nil, public(fmt.Errorf("explain flow %q: %w", name, err))
	}
	w.past()
	if err := w.letters(ctx); err != nil {
		return nil, public(fmt.Errorf("explain flow %q: %w", name, err))
	}
	if err := w.untold(ctx); err != nil {
		return nil, public(fmt.Errorf("explain flow %q: %w", name, err))
	}
	return &Explanation{Flow: name, At: w.now, Running: len(w.running) > 0, Causes: w.causes}, nil
}

// neverRegistered explains a flow that is not in the database because this process could not
// register it.
func neverRegistered(ctx context.Context, c *Client, name string, failed error) (*Explanation, error) {
	now, err := c.store.Now(ctx)
	if err != nil {
		return nil, public(fmt.Errorf("explain flow %q: %w", name, err))
	}
	w := &why{client: c, now: now}
	w.unregistered(failed)
	return &Explanation{Flow: name, At: now, Causes: w.causes}, nil
}

// why is what Why knows about a flow, and the causes that it has found.
type why struct {
	client           *Client
	now              time.Time
	flow             *Flow
	plan             *schedule.Plan // nil: it cannot be read here
	running, waiting []*Run
	lost             []*Run        // in progress, with a lease that has lapsed
	last             *Run          // the last ended run, nil if there is none
	skipped          *SkippedTicks // the last ones, nil if there are none
	processes        []*Process    // the live ones
	causes           []Cause
}

// lookAtLast finds the last run that has ended. The ranges of a first load, which are newer than the
// run that waits for them, are left out.
func (w *why) lookAtLast(ctx context.Context) error {
	for _, limit := range []int{1, 2 * MaxRanges} {
		ended, err := w.client.store.RunList(ctx, &RunListParams{Flow: w.flow.Name, States: []RunState{RunSuccess, RunFailed, RunCancelled}, Limit: limit})
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(ended, func(r *Run) bool { return r.Trigger != TriggerFirstLoad }); i >= 0 {
			w.last = ended[i]
		}
		if w.last != nil || len(ended) < limit {
			return nil
		}
	}
	return nil
}

// lookInto reads what Why needs to know about a flow.
func lookInto(ctx context.Context, c *Client, name string) (*why, error) {
	rec, err := c.store.FlowByName(ctx, name)
	if err != nil {
		return nil, err
	}
	w := &why{client: c, flow: c.flows.bind(rec)}
	if w.now, err = c.store.Now(ctx); err != nil {
		return nil, err
	}
	if w.plan, err = planOf(rec); err != nil {
		w.plan = nil
	}
	live, err := c.store.RunLive(ctx, rec.ID)
	if err != nil {
		return nil, err
	}
	for _, run := range live {
		switch {
		case run.State == RunPending:
			w.waiting = append(w.waiting, run)
		case run.LeaseUntil.Before(w.now):
			w.lost = append(w.lost, run)
		default:
			w.running = append(w.running, run)
		}
	}
	slices.SortStableFunc(w.waiting, func(a, b *Run) int { return a.RunAfter.Compare(b.RunAfter) })
	if err := w.lookAtLast(ctx); err != nil {
		return nil, err
	}
	skipped, err := c.store.TickList(ctx, &TickListParams{Flow: name, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(skipped) > 0 {
		w.skipped = skipped[0]
	}
	w.processes, err = c.store.ProcessList(ctx)
	return w, err
}

// strange reports whether a job has met a River client that does not know our jobs. River fails the job there
// each time, and waits longer after each.
func strange(job *rivertype.JobRow) bool {
	unknown := (&rivertype.UnknownJobKindError{Kind: job.Kind}).Error()
	return len(job.Errors) > 0 && job.Errors[len(job.Errors)-1].Error == unknown
}

// putOff says how often workers have put a job off, as for trouble with its claim, which they log, or while its place was
// taken, which they do not. Empty: never. River counts that.
func putOff(job *rivertype.JobRow) string {
	var metadata struct {
		Snoozes int64 `json:"snoozes"`
	}
	if err := json.Unmarshal(job.Metadata, &metadata); err != nil || metadata.Snoozes == 0 {
		return "" // what others keep in the metadata is no trouble of ours
	}
	times := "once"
	if n := metadata.Snoozes; n > 1 {
		times = fmt.Sprintf("%d times", n)
	}
	return fmt.Sprintf(" Its workers have put it off %s, as while another run has its place, or the database delays or refuses a claim: their logs tell of such trouble.", times)
}

// worksQueue reports whether a live process works a queue. Of one that joined its service's River client, only
// River knows: it lists the queues that were worked in the last day. seen says when it heard of a worker last.
func (w *why) worksQueue(ctx context.Context, rc River, queue string) (worked bool, seen string, err error) {
	if slices.ContainsFunc(w.processes, func(p *Process) bool { return slices.Contains(p.Queues, queue) }) {
		return true, "", nil
	}
	if !slices.ContainsFunc(w.processes, (*Process).joined) {
		return false, "", nil
	}
	queues, err := rc.ListQueues(ctx)
	i := slices.IndexFunc(queues, func(q *RiverQueue) bool { return q.Name == queue })
	if i < 0 {
		return false, "", err
	}
	return true, ", if the service's River client still works that queue: River heard of a worker last at " + queues[i].SeenAt.UTC().Format(time.RFC3339), nil
}

// strangers says which processes work a queue without the flow's code. Each time that one of them takes a job of the
// flow, it puts the job off.
func (w *why) strangers(queue string) string {
	var ids []string
	for _, p := range w.processes {
		if slices.Contains(p.Queues, queue) && !slices.Contains(p.Flows, w.flow.Name) {
			ids = append(ids, p.ID)
		}
	}
	if len(ids) == 0 {
		return ""
	}
	return fmt.Sprintf(" Of the processes that work this queue, %s do not have the flow's code: whoever of them takes the job puts it off for %s, again and again. Give the flow a queue of its own.", stored.Clip(strings.Join(ids, ", ")), snoozeNotRegistered)
}

// addQueue says what is to be done about a queue that nobody works, if a service has its own River client.
func (w *why) addQueue() string {
	if !slices.ContainsFunc(w.processes, (*Process).joined) {
		return ""
	}
	return ": add it to the Queues of the service's River client, and start that client"
}
