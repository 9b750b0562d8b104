package dataflow

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// The keys of the attributes in our log lines.
const (
	logFlow     = "flow"
	logRun      = "run"
	logJob      = "job"
	logAttempt  = "attempt"
	logWorker   = "worker"
	logDuration = "duration"
	logRecords  = "records"
	logError    = "error"
	logKey      = "key"
	logStage    = "stage"
	logReason   = "reason"
)

// EventKind tells events apart.
type EventKind string

// The kinds of events.
const (
	// EventRunStarted: an attempt at a run has begun.
	EventRunStarted EventKind = "run_started"
	// EventRunProgress: a batch and its checkpoint are committed.
	EventRunProgress EventKind = "run_progress"
	// EventRunSucceeded: the run is done.
	EventRunSucceeded EventKind = "run_succeeded"
	// EventRunRetrying: an attempt failed; the run is pending again.
	EventRunRetrying EventKind = "run_retrying"
	// EventRunFailed: the last attempt failed.
	EventRunFailed EventKind = "run_failed"
	// EventRunCancelled: the run was cancelled.
	EventRunCancelled EventKind = "run_cancelled"
	// EventRunReleased: the run was handed back unfinished, because its process
	// is stopping or its slice is over. It is pending again.
	EventRunReleased EventKind = "run_released"
	// EventRunRescued: the run's worker has died. The run is pending again.
	EventRunRescued EventKind = "run_rescued"
	// EventFlowTripped: as many runs of the flow have failed in a row as
	// Schedule.PauseAfter says; ticks do not start it any more. Run is the last of
	// them.
	EventFlowTripped EventKind = "flow_tripped"
)

// Event is something that this process's client did with a run.
type Event struct {
	Kind EventKind
	// At is when it happened, by this process's clock.
	At time.Time
	// Run is the run as it was then. It must not be changed.
	Run *Run
	// Err is the error of EventRunRetrying, EventRunFailed, EventRunCancelled and
	// EventFlowTripped.
	Err error
}

// subscriptionBuffer is how many events wait for a subscriber that is slow.
const subscriptionBuffer = 1000

// subscriptions hands events to whoever asked for them.
type subscriptions struct {
	mu   sync.Mutex // guards next and subs
	next int
	subs map[int]subscription
}

type subscription struct {
	ch    chan *Event
	kinds map[EventKind]bool // empty: all
}

func (h *subscriptions) publish(e *Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.subs {
		if len(s.kinds) > 0 && !s.kinds[e.Kind] {
			continue
		}
		select {
		case s.ch <- e:
		default: // the subscriber is behind; it was told that events are lost then
		}
	}
}

// runAttrs are the attributes that every log line about a run has.
func runAttrs(r *Run) []any {
	return []any{
		slog.String(logFlow, r.FlowName),
		slog.Int64(logRun, r.ID),
		slog.Int(logAttempt, r.Attempt),
		slog.String(logWorker, r.Worker),
	}
}

func (c *Client) publish(kind EventKind, run *Run, err error) {
	own := *run // the caller of Execute gets the other one
	c.events.publish(&Event{Kind: kind, At: c.now(), Run: &own, Err: err})
}

// tripped says that a flow has failed so often that ticks do not start it any more.
func (c *Client) tripped(ctx context.Context, run *Run, err error) {
	if !run.Tripped {
		return
	}
	c.log.ErrorContext(ctx, "dataflow: flow paused, because its runs fail time after time; client.Resume lets ticks start it again", runAttrs(run)...)
	c.publish(EventFlowTripped, run, err)
}

// gaveUp tells the user's hook about a run that has failed for good.
func (c *Client) gaveUp(ctx context.Context, run *Run, err error) {
	if c.config.OnRunFailed == nil {
		return
	}
	c.callHook(ctx, "OnRunFailed", func() { c.config.OnRunFailed(ctx, run, err) })
}

// callHook calls a function of the Config, which may panic.
func (c *Client) callHook(ctx context.Context, name string, hook func()) {
	err := guard(func() error { hook(); return nil })
	var pe *PanicError
	if errors.As(err, &pe) {
		c.log.ErrorContext(ctx, "dataflow: Config."+name+" panicked", slog.String(logError, pe.Error()), slog.String("stack", pe.Stack))
	}
}
