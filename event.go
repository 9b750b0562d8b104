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
	logFlow      = "flow"
	logRun       = "run"
	logJob       = "job"
	logAttempt   = "attempt"
	logWorker    = "worker"
	logDuration  = "duration"
	logRecords   = "records"
	logReadAgain = "read_again"
	logError     = "error"
	logKey       = "key"
	logStage     = "stage"
	logReason    = "reason"
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

// Observer is told what a client does with runs, as it does it: for traces and metrics. Package
// dataflowotel has one for OpenTelemetry. Its methods are called by several goroutines at once.
// They must be quick, because the client waits for them. A panic is logged.
type Observer interface {
	// TraceParent returns the W3C trace context of ctx, as a "traceparent" header has it. It
	// is stored with each run that somebody asks for with ctx, as [Run].TraceParent. Empty:
	// there is none.
	TraceParent(ctx context.Context) string
	// AttemptStarted is called once a run is claimed. The source, the transform and the sink
	// get the context that it returns: ctx, or one made of it.
	AttemptStarted(ctx context.Context, run *Run) context.Context
	// BatchCommitted is called after a batch and its checkpoint were committed, in the order
	// of the batches. ctx is that of AttemptStarted, or one made of it. b must not be kept.
	BatchCommitted(ctx context.Context, b *BatchReport)
	// AttemptEnded is called at the end of each attempt, with the context that AttemptStarted
	// returned. run is the run as it is then, and err what [FlowExecutor.Execute] returns. It
	// is ErrFenced if the attempt has lost its lease.
	AttemptEnded(ctx context.Context, run *Run, err error)
	// Event is called for each event that a subscription to all kinds would get. ctx is that of
	// the attempt, if there is one.
	Event(ctx context.Context, e *Event)
}

// BatchReport says what became of the records of a batch, and when it was worked. The stages of
// a batch overlap those of the batches before and after it.
type BatchReport struct {
	// Run is the run with the counters of this batch added. It must not be changed.
	Run *Run
	// Counters are of this batch alone.
	Counters Counters
	// Read, Transform and Write are the stages of the record loop. Transform is zero for a batch
	// without records.
	Read, Transform, Write Period
	// Checkpoint is from the request to commit to its answer.
	Checkpoint Period
}

// Period is a time from Began to Ended, by this process's clock. The zero value is none.
type Period struct{ Began, Ended time.Time }

// Took is how long the period is. 0: there is none.
func (p Period) Took() time.Duration { return p.Ended.Sub(p.Began) }

// traceParent returns what the Observer says of ctx.
func (b base) traceParent(ctx context.Context) (parent string) {
	b.observe(ctx, "TraceParent", func(o Observer) { parent = o.TraceParent(ctx) })
	return parent
}

// attemptStarted returns the context for an attempt.
func (b base) attemptStarted(ctx context.Context, run *Run) context.Context {
	own := ctx
	b.observe(ctx, "AttemptStarted", func(o Observer) {
		own = o.AttemptStarted(ctx, run) //nolint:fatcontext // it is called once
	})
	if own == nil {
		return ctx
	}
	return own
}

func (b base) observe(ctx context.Context, method string, call func(o Observer)) {
	if o := b.config.Observer; o != nil {
		b.callHook(ctx, "Observer."+method, func() { call(o) })
	}
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

func (b base) publish(ctx context.Context, kind EventKind, run *Run, err error) {
	own := *run // the caller of Execute gets, and may change, the other one
	e := &Event{Kind: kind, At: b.now(), Run: &own, Err: err}
	b.events.publish(e)
	b.observe(ctx, "Event", func(o Observer) { o.Event(ctx, e) })
}

// tripped reports that a flow failed so often that ticks no longer start it.
func (b base) tripped(ctx context.Context, run *Run, err error) {
	if !run.Tripped {
		return
	}
	b.log.ErrorContext(ctx, "dataflow: ticks no longer start the flow, because its runs keep failing: client.Resume ends that", runAttrs(run)...)
	b.publish(ctx, EventFlowTripped, run, err)
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
