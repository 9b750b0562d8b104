package dataflowotel

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/activedataflow/dataflow"
)

// header is the one of W3C Trace Context, and where otelriver keeps it in the metadata of a job.
const header = "traceparent"

// TraceParent implements [dataflow.Observer].
func (t *Telemetry) TraceParent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[header]
}

// askedBy returns the span of whoever asked for a run. It is not valid if there is none.
func askedBy(run *dataflow.Run) trace.SpanContext {
	if run.TraceParent == "" {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{header: run.TraceParent})
	return trace.SpanContextFromContext(ctx)
}

// attemptKey is the key of an attempt's *attempt in its context.
type attemptKey struct{}

// attempt counts the batches of an attempt.
type attempt struct {
	span    trace.Span
	batches atomic.Int64
}

func (t *Telemetry) startRun(ctx context.Context, run *dataflow.Run) context.Context {
	attributes := []attribute.KeyValue{
		keyFlow.String(run.FlowName), keyRun.Int64(run.ID), keyAttempt.Int(run.Attempt),
		keyTrigger.String(string(run.Trigger)), keyWorker.String(run.Worker),
	}
	if run.IsBackfill() {
		attributes = append(attributes, keyBackfill.String(run.Scope))
	}
	if run.RiverJobID != 0 {
		attributes = append(attributes, keyJob.Int64(run.RiverJobID))
	}
	options := []trace.SpanStartOption{trace.WithAttributes(attributes...)}
	parent := trace.SpanContextFromContext(ctx)
	if by := askedBy(run); by.IsValid() && by.SpanID() != parent.SpanID() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: by}))
	}
	ctx, span := t.tracer.Start(ctx, "run "+run.FlowName, options...)
	return context.WithValue(ctx, attemptKey{}, &attempt{span: span})
}

func (t *Telemetry) addBatch(ctx context.Context, b *dataflow.BatchReport) {
	a, ok := ctx.Value(attemptKey{}).(*attempt)
	if !ok || a.batches.Add(1) > int64(t.options.BatchSpans) || !a.span.IsRecording() {
		return
	}
	c := &b.Counters
	// The context may have a later span, of the user's.
	ctx, span := t.tracer.Start(trace.ContextWithSpan(ctx, a.span), "batch", trace.WithTimestamp(b.Read.Began), trace.WithAttributes(countersOf("dataflow.batch.", c)...))
	period := func(name string, p dataflow.Period) {
		if p.Began.IsZero() {
			return
		}
		_, stage := t.tracer.Start(ctx, name, trace.WithTimestamp(p.Began))
		stage.End(trace.WithTimestamp(p.Ended))
	}
	for i, p := range [3]dataflow.Period{b.Read, b.Transform, b.Write} {
		period(stages()[i], p)
	}
	period("checkpoint", b.Checkpoint)
	span.End(trace.WithTimestamp(b.Checkpoint.Ended))
}

func (t *Telemetry) endRun(ctx context.Context, run *dataflow.Run, end string, err error) {
	a, ok := ctx.Value(attemptKey{}).(*attempt)
	if !ok {
		return
	}
	defer a.span.End()
	if !a.span.IsRecording() {
		return
	}
	a.span.SetAttributes(keyEnd.String(end), keyBatches.Int64(a.batches.Load()))
	if run != nil {
		a.span.SetAttributes(keyState.String(string(run.State)))
		a.span.SetAttributes(countersOf("dataflow.run.", &run.Counters)...)
	}
	if err == nil || end == endReleased || end == endCancelled {
		return
	}
	var bad *dataflow.RecordError
	if errors.As(err, &bad) {
		a.span.SetAttributes(keyStage.String(string(bad.Stage)))
	}
	a.span.RecordError(err)
	a.span.SetAttributes(errorType(err))
	a.span.SetStatus(codes.Error, err.Error())
}

// errorType is the attribute error.type: the type of the first error of a chain that is not a wrapper of the
// library's or of [fmt.Errorf], which would say nothing of what failed.
func errorType(err error) attribute.KeyValue {
	library := reflect.TypeFor[dataflow.RunError]().PkgPath() + "/"
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		t := reflect.TypeOf(err)
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if path := t.PkgPath(); path != "fmt" && !strings.HasPrefix(path+"/", library) {
			break
		}
		err = inner
	}
	return semconv.ErrorType(err)
}

// countersOf are counters as attributes, without those that are zero.
func countersOf(prefix string, c *dataflow.Counters) []attribute.KeyValue {
	attributes := make([]attribute.KeyValue, 0, 6)
	if c.Read > 0 {
		attributes = append(attributes, attribute.Int64(prefix+"read", c.Read))
	}
	if c.ReadAgain > 0 {
		attributes = append(attributes, attribute.Int64(prefix+"read_again", c.ReadAgain))
	}
	outcomes := recordOutcomes()
	for i, n := range [5]int64{c.Written, c.Redundant, c.Filtered, c.Dropped, c.DeadLettered} {
		if n > 0 {
			attributes = append(attributes, attribute.Int64(prefix+outcomes[i], n))
		}
	}
	return attributes
}
