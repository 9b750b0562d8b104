package dataflowotel

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/activedataflow/dataflow"
)

// scope names this package's spans and metrics.
const scope = "github.com/activedataflow/dataflow/dataflowotel"

// The defaults of [Options].
const (
	DefaultBatchSpans = 100
	DefaultGaugeAge   = 10 * time.Second
	DefaultGaugeLease = 90 * time.Second
)

// Options are the settings of a [Telemetry]. The zero value is ready to use.
type Options struct {
	// TracerProvider makes the spans. Nil: the global one.
	TracerProvider trace.TracerProvider
	// MeterProvider makes the metrics. Nil: the global one.
	MeterProvider metric.MeterProvider

	// BatchSpans is how many batches of an attempt get spans, the first ones: a run of a million
	// batches would make five million spans. 0: 100. -1: none.
	BatchSpans int

	// GaugeAge is how old what the gauges say may be. Within it, a second collection does not
	// ask the database. 0: 10 s. -1: each collection asks.
	GaugeAge time.Duration
	// GaugeLease is for how long a process reports the gauges after each collection, before
	// another process may. It must be longer than the time between two collections, or several
	// processes report. 0: 90 s.
	GaugeLease time.Duration
}

// Telemetry is a [dataflow.Observer] for OpenTelemetry. Make one with [New], for any number of
// clients. It is safe for concurrent use.
type Telemetry struct {
	options Options
	tracer  trace.Tracer
	meter   metric.Meter
	in      *instruments
	flows   sync.Map // by name: *flowAttributes
}

var _ dataflow.Observer = (*Telemetry)(nil)

// New returns a Telemetry for [dataflow.Config].Observer. options may be nil. It returns an error
// if the meter refuses an instrument.
func New(options *Options) (*Telemetry, error) {
	t := &Telemetry{}
	if options != nil {
		t.options = *options
	}
	if t.options.TracerProvider == nil {
		t.options.TracerProvider = otel.GetTracerProvider()
	}
	if t.options.MeterProvider == nil {
		t.options.MeterProvider = otel.GetMeterProvider()
	}
	t.options.BatchSpans = cmp.Or(t.options.BatchSpans, DefaultBatchSpans)
	t.options.GaugeAge = cmp.Or(t.options.GaugeAge, DefaultGaugeAge)
	t.options.GaugeLease = cmp.Or(t.options.GaugeLease, DefaultGaugeLease)
	t.tracer = t.options.TracerProvider.Tracer(scope)
	t.meter = t.options.MeterProvider.Meter(scope)
	var err error
	t.in, err = newInstruments(t.meter)
	return t, err
}

// flowAttributes are what the metrics of one flow are reported with, made once, because making
// them takes longer than counting.
type flowAttributes struct {
	flow     metric.MeasurementOption
	outcomes [5]metric.MeasurementOption // of recordOutcomes
	stages   [3]metric.MeasurementOption // of stages
}

func recordOutcomes() [5]string {
	return [5]string{"written", "redundant", "filtered", "dropped", "dead_lettered"}
}

// firstBad is where the outcomes of bad records begin.
const firstBad = 3

func stages() [3]string { return [3]string{"read", "transform", "write"} }

// of returns the attributes of a flow. The first time, it begins the counters that are alerted on: a
// counter that a collection first sees as 1 has not increased, and so what happened first would be
// missed in each process.
func (t *Telemetry) of(ctx context.Context, flow string) *flowAttributes {
	if known, ok := t.flows.Load(flow); ok {
		return known.(*flowAttributes) //nolint:forcetypeassert // there are no others
	}
	a := &flowAttributes{flow: with(keyFlow.String(flow))}
	for i, outcome := range recordOutcomes() {
		a.outcomes[i] = with(keyFlow.String(flow), keyOutcome.String(outcome))
	}
	for i, stage := range stages() {
		a.stages[i] = with(keyFlow.String(flow), keyStage.String(stage))
	}
	t.in.leaseLost.Add(ctx, 0, a.flow)
	t.in.takenOver.Add(ctx, 0, a.flow)
	for _, outcome := range a.outcomes[firstBad:] {
		t.in.records.Add(ctx, 0, outcome)
	}
	t.flows.Store(flow, a)
	return a
}

func with(attributes ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attributes...))
}

// AttemptStarted implements [dataflow.Observer].
func (t *Telemetry) AttemptStarted(ctx context.Context, run *dataflow.Run) context.Context {
	of := t.of(ctx, run.FlowName)
	ctx = t.startRun(ctx, run)
	if run.LeaseNumber != 1 || run.StartedAt == nil { // it was claimed before
		return ctx
	}
	due := run.RunAfter
	if run.CreatedAt.After(due) {
		due = run.CreatedAt
	}
	t.in.runWait.Record(ctx, max(run.StartedAt.Sub(due), 0).Seconds(), of.flow)
	if run.Trigger == dataflow.TriggerSchedule {
		t.in.tickLateness.Record(ctx, max(run.CreatedAt.Sub(run.ScheduledFor), 0).Seconds(), of.flow)
	}
	return ctx
}

// BatchCommitted implements [dataflow.Observer].
func (t *Telemetry) BatchCommitted(ctx context.Context, b *dataflow.BatchReport) {
	t.addBatch(ctx, b)
	of := t.of(ctx, b.Run.FlowName)
	c := &b.Counters
	for i, n := range [5]int64{c.Written, c.Redundant, c.Filtered, c.Dropped, c.DeadLettered} {
		if n > 0 {
			t.in.records.Add(ctx, n, of.outcomes[i])
		}
	}
	t.in.batchSize.Record(ctx, c.Read, of.flow)
	for i, p := range [3]dataflow.Period{b.Read, b.Transform, b.Write} {
		if !p.Began.IsZero() {
			t.in.batchDuration.Record(ctx, p.Took().Seconds(), of.stages[i])
		}
	}
	t.in.checkpoint.Record(ctx, b.Checkpoint.Took().Seconds(), of.flow)
}

// AttemptEnded implements [dataflow.Observer].
func (t *Telemetry) AttemptEnded(ctx context.Context, run *dataflow.Run, err error) {
	end := endOf(run, err)
	t.endRun(ctx, run, end, err)
	if run == nil {
		return
	}
	t.in.attemptEnded.Add(ctx, 1, with(keyFlow.String(run.FlowName), keyEnd.String(end)))
	if end == endLost {
		t.in.leaseLost.Add(ctx, 1, t.of(ctx, run.FlowName).flow)
	}
}

// How an attempt ended.
const (
	endSuccess   = "success"
	endFailed    = "failed"
	endCancelled = "cancelled"
	endRetry     = "retry"    // the run waits for its next attempt
	endReleased  = "released" // the run goes on in another job or process
	endLost      = "lost"     // another worker has the run
	endUnknown   = "unknown"  // the end could not be stored
)

func endOf(run *dataflow.Run, err error) string {
	var failed *dataflow.RunError
	switch {
	case run == nil:
		return endUnknown
	case errors.As(err, &failed) && run.State == dataflow.RunPending:
		return endRetry
	case err == nil || errors.As(err, &failed):
		switch run.State {
		case dataflow.RunSuccess:
			return endSuccess
		case dataflow.RunFailed:
			return endFailed
		case dataflow.RunCancelled:
			return endCancelled
		default:
			return endReleased
		}
	case errors.Is(err, dataflow.ErrFenced):
		return endLost
	case errors.Is(err, dataflow.ErrStopped):
		return endReleased
	default:
		return endUnknown
	}
}

// Event implements [dataflow.Observer].
func (t *Telemetry) Event(ctx context.Context, e *dataflow.Event) {
	switch e.Kind {
	case dataflow.EventRunSucceeded, dataflow.EventRunFailed, dataflow.EventRunCancelled:
		if !e.Run.State.Finished() {
			return // somebody asked to cancel it, and its worker will say when it has ended
		}
		of := with(keyFlow.String(e.Run.FlowName), keyState.String(string(e.Run.State)), keyTrigger.String(string(e.Run.Trigger)))
		t.in.runEnded.Add(ctx, 1, of)
		if e.Run.StartedAt != nil {
			t.in.runDuration.Record(ctx, e.Run.Duration().Seconds(), with(keyFlow.String(e.Run.FlowName), keyState.String(string(e.Run.State))))
		}
	case dataflow.EventRunRescued:
		t.in.takenOver.Add(ctx, 1, t.of(ctx, e.Run.FlowName).flow)
	default: // the attempts and the gauges say the rest
	}
}
