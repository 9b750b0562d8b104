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
	// EventRunProgress: a batch and its checkpoint were committed.
	EventRunProgress EventKind = "run_progress"
	// EventRunSucceeded: the run is done.
	EventRunSucceeded EventKind = "run_succeeded"
	// EventRunRetrying: an attempt failed, and the run is pending again.
	EventRunRetrying EventKind = "run_retrying"
	// EventRunFailed: the run failed for good.
	EventRunFailed EventKind = "run_failed"
	// EventRunCancelled: the run was cancelled.
	EventRunCancelled EventKind = "run_cancelled"
	// EventRunReleased: the run was handed back unfinished, because its process stops
	// or its slice is over. It is pending again.
	EventRunReleased EventKind = "run_released"
	// EventRunRescued: the run's worker died. The run is pending again.
	EventRunRescued EventKind = "run_rescued"
	// EventFlowTripped: Schedule.PauseAfter runs of the flow failed in a row, so that
	// ticks no longer start it. Run is the last of them.
	EventFlowTripped EventKind = "flow_tripped"
)

// Event is something that this process's client did with a run. It may be read by
// several goroutines, and must not be changed.
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

// subscriptionBuffer is how many events wait for a slow subscriber.
const subscriptionBuffer = 1000

// subscriptions hands events to the subscribers.
type subscriptions struct {
	mu   sync.Mutex // guards next and subs
	next int
	subs map[int]subscription
}

type subscription struct {
	ch    chan *Event
	kinds map[EventKind]bool // empty: all
}

// subscribe returns a channel of the events of some kinds, or of all, and ends that.
func (h *subscriptions) subscribe(kinds ...EventKind) (<-chan *Event, func()) {
	s := subscription{ch: make(chan *Event, subscriptionBuffer), kinds: make(map[EventKind]bool)}
	for _, k := range kinds {
		s.kinds[k] = true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs == nil {
		h.subs = make(map[int]subscription)
	}
	id := h.next
	h.next++
	h.subs[id] = s
	return s.ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ok := h.subs[id]; ok {
			delete(h.subs, id)
			close(s.ch)
		}
	}
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
		default: // the subscriber is slow: Subscribe says that it then loses events
		}
	}
}

// runAttrs are the attributes of every log line about a run.
func runAttrs(r *Run) []any {
	return []any{
		slog.String(logFlow, r.FlowName),
		slog.Int64(logRun, r.ID),
		slog.Int(logAttempt, r.Attempt),
		slog.String(logWorker, r.Worker),
	}
}

func (b base) publish(kind EventKind, run *Run, err error) {
	own := *run // the caller of Execute gets, and may change, the other one
	b.events.publish(&Event{Kind: kind, At: b.now(), Run: &own, Err: err})
}

// tripped reports that a flow failed so often that ticks no longer start it.
func (b base) tripped(ctx context.Context, run *Run, err error) {
	if !run.Tripped {
		return
	}
	b.log.ErrorContext(ctx, "dataflow: ticks no longer start the flow, because its runs keep failing: client.Resume ends that", runAttrs(run)...)
	b.publish(EventFlowTripped, run, err)
}

// gaveUp calls the user's hook for a run that failed for good.
func (b base) gaveUp(ctx context.Context, run *Run, err error) {
	if b.config.OnRunFailed == nil {
		return
	}
	b.callHook(ctx, "OnRunFailed", func() { b.config.OnRunFailed(ctx, run, err) })
}

// callHook calls a function of the Config, which may panic.
func (b base) callHook(ctx context.Context, name string, hook func()) {
	err := guard(func() error { hook(); return nil })
	var pe *PanicError
	if errors.As(err, &pe) {
		b.log.ErrorContext(ctx, "dataflow: Config."+name+" panicked", slog.String(logError, pe.Error()), slog.String("stack", pe.Stack))
	}
}
