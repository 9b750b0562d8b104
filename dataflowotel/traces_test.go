package dataflowotel_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/riverqueue/rivercontrib/otelriver"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowotel"
)

// named returns the ended spans of a name, in the order of their beginning.
func (s *scene) named(name string) (spans []trace.ReadOnlySpan) {
	for _, span := range s.spans.Ended() {
		if span.Name() == name {
			spans = append(spans, span)
		}
	}
	slices.SortStableFunc(spans, func(a, b trace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
	return spans
}

func attributeOf(span trace.ReadOnlySpan, key attribute.Key) any {
	for _, a := range span.Attributes() {
		if a.Key == key {
			return a.Value.AsInterface()
		}
	}
	return nil
}

func requireChild(t *testing.T, parent, child trace.ReadOnlySpan) {
	t.Helper()
	require.Equal(t, parent.SpanContext().SpanID(), child.Parent().SpanID())
	require.Equal(t, parent.SpanContext().TraceID(), child.SpanContext().TraceID())
}

// A run is a span with its batches, and these with their stages, one after the other.
func TestTraces(t *testing.T) {
	t.Parallel()
	var s *scene
	own := dataflow.Map(func(ctx context.Context, row string) (string, error) {
		_, span := s.tracer.Tracer("test").Start(ctx, "look up "+row)
		defer span.End()
		return row, nil
	})
	s = newScene(t, nil, nil, dataflow.NewFlow("orders", rows("a", "b", "c"), own, nowhere(), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 2}}))
	ctx, asking := s.tracer.Tracer("test").Start(t.Context(), "POST /orders")
	run, err := s.Client().Enqueue(ctx, "orders", nil)
	require.NoError(t, err)
	asking.End()
	s.Advance(time.Second)

	roots := s.named("run orders")
	require.Len(t, roots, 1)
	root := roots[0]
	require.False(t, root.Parent().IsValid(), "it is worked later, elsewhere")
	require.Len(t, root.Links(), 1)
	require.Equal(t, asking.SpanContext().SpanID(), root.Links()[0].SpanContext.SpanID())
	require.Equal(t, asking.SpanContext().TraceID(), root.Links()[0].SpanContext.TraceID())
	require.Equal(t, codes.Unset, root.Status().Code)
	for key, want := range map[attribute.Key]any{
		"dataflow.flow.name": "orders", "dataflow.run.id": run.ID, "dataflow.run.attempt": int64(1), "dataflow.run.trigger": "manual",
		"dataflow.run.state": "success", "dataflow.attempt.end": "success", "dataflow.run.batches": int64(2), "dataflow.run.read": int64(3), "dataflow.run.written": int64(3),
	} {
		require.Equal(t, want, attributeOf(root, key), key)
	}
	batches := s.named("batch")
	require.Len(t, batches, 2)
	require.EqualValues(t, 2, attributeOf(batches[0], "dataflow.batch.read"))
	require.EqualValues(t, 1, attributeOf(batches[1], "dataflow.batch.read"))
	for i, b := range batches {
		requireChild(t, root, b)
		last := b.StartTime()
		for _, name := range []string{"read", "transform", "write", "checkpoint"} {
			stage := s.named(name)[i]
			requireChild(t, b, stage)
			require.False(t, stage.StartTime().Before(last), name)
			last = stage.EndTime()
		}
		require.Equal(t, last, b.EndTime())
	}
	for _, row := range []string{"a", "b", "c"} {
		requireChild(t, root, s.named("look up " + row)[0])
	}
}

// A run that is worked at once is a child of who asked for it, and not linked to it too.
func TestTraces_AtOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil, nil, dataflow.NewFlow("orders", rows("a"), dataflow.Identity[string](), nowhere(), nil))
	ctx, asking := s.tracer.Tracer("test").Start(t.Context(), "POST /orders")
	_, err := s.execute(ctx, "orders")
	require.NoError(t, err)
	root := s.named("run orders")[0]
	require.Equal(t, asking.SpanContext().SpanID(), root.Parent().SpanID())
	require.Empty(t, root.Links())
}

// An attempt that fails says so, and where.
func TestTraces_Failed(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil, nil, dataflow.NewFlow("orders", rows("a"), broken(), nowhere(), &dataflow.FlowOptions{MaxAttempts: 2}))
	s.Work("orders")
	roots := s.named("run orders")
	require.Len(t, roots, 2)
	for i, end := range []string{"retry", "failed"} {
		require.Equal(t, codes.Error, roots[i].Status().Code)
		require.Contains(t, roots[i].Status().Description, errBroken.Error())
		require.Equal(t, end, attributeOf(roots[i], "dataflow.attempt.end"))
		require.Equal(t, "transform", attributeOf(roots[i], "dataflow.batch.stage"))
		require.Equal(t, "*errors.errorString", attributeOf(roots[i], "error.type"))
		require.Len(t, roots[i].Events(), 1)
		require.Equal(t, "exception", roots[i].Events()[0].Name)
		require.EqualValues(t, i+1, attributeOf(roots[i], "dataflow.run.attempt"))
	}
}

// The first batches of an attempt get spans, or none.
func TestTraces_BatchSpans(t *testing.T) {
	t.Parallel()
	for set, want := range map[int]int{0: 3, 2: 2, -1: 0} {
		s := newScene(t, &dataflowotel.Options{BatchSpans: set}, nil,
			dataflow.NewFlow("orders", rows("a", "b", "c"), dataflow.Identity[string](), nowhere(), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 1}}))
		s.Work("orders")
		require.Len(t, s.named("batch"), want)
		require.EqualValues(t, 3, attributeOf(s.named("run orders")[0], "dataflow.run.batches"))
	}
}

// A trace that is not sampled gets no spans of batches, and is counted all the same.
func TestTraces_NotSampled(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	s := newScene(t, nil, []sdkmetric.Reader{reader}, dataflow.NewFlow("orders", rows("a"), dataflow.Identity[string](), nowhere(), nil))
	remote := oteltrace.NewSpanContext(oteltrace.SpanContextConfig{TraceID: oteltrace.TraceID{1}, SpanID: oteltrace.SpanID{2}, Remote: true})
	_, err := s.execute(oteltrace.ContextWithSpanContext(t.Context(), remote), "orders")
	require.NoError(t, err)
	require.Empty(t, s.spans.Ended())
	require.Contains(t, collect(t, reader), "dataflow.run.ended")
}

// The attempt of a River job is a child of River's own span, which otelriver links to the request.
func TestTraces_RiverJob(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil, nil)
	middleware := otelriver.NewMiddleware(&otelriver.MiddlewareConfig{TracerProvider: s.tracer, MeterProvider: s.meters, EnableTracePropagation: true})
	client, err := dataflow.NewClient(s.driver, &dataflow.Config{
		Observer: s.of, River: &river.Config{Middleware: []rivertype.Middleware{middleware}, FetchPollInterval: 50 * time.Millisecond, FetchCooldown: 5 * time.Millisecond},
		Flows: []*dataflow.Flow{dataflow.NewFlow("queued", rows("a"), dataflow.Identity[string](), nowhere(), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}})},
	})
	require.NoError(t, err)
	require.NoError(t, client.Start(t.Context()))
	ctx, asking := s.tracer.Tracer("test").Start(t.Context(), "POST /orders")
	run, err := client.Trigger(ctx, "queued", nil)
	require.NoError(t, err)
	asking.End()
	_, err = client.Wait(t.Context(), run.ID)
	require.NoError(t, err)
	require.NoError(t, client.Stop(t.Context()))

	root, job := s.named("run queued")[0], s.named("river.work")[0]
	requireChild(t, job, root)
	require.EqualValues(t, run.RiverJobID, attributeOf(root, "dataflow.run.river_job"))
	require.Equal(t, asking.SpanContext().SpanID(), root.Links()[0].SpanContext.SpanID())
	insert := s.named("river.insert_many")[0]
	require.Equal(t, insert.SpanContext().SpanID(), job.Links()[0].SpanContext.SpanID())
	require.Equal(t, asking.SpanContext().TraceID(), insert.SpanContext().TraceID())
}

// A trace context that cannot be read is none.
func TestTraces_OddParent(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil, nil, dataflow.NewFlow("orders", rows("a"), dataflow.Identity[string](), nowhere(), nil))
	_, err := s.Client().Enqueue(t.Context(), "orders", nil)
	require.NoError(t, err)
	require.NoError(t, s.exec("update dataflow_run set trace_parent = '00-zz'"))
	s.Advance(time.Second)
	require.Empty(t, s.named("run orders")[0].Links())
}

func TestReportFlows_OneProcess(t *testing.T) {
	t.Parallel()
	flow := func(name string) *dataflow.Flow {
		return dataflow.NewFlow(name, rows("a"), dataflow.Identity[string](), nowhere(), nil)
	}
	// process is another process on the same database.
	first := newScene(t, nil, nil, flow("orders"))
	process := func(flows ...*dataflow.Flow) (*sdkmetric.ManualReader, func(context.Context) error) {
		reader := sdkmetric.NewManualReader()
		of, err := dataflowotel.New(&dataflowotel.Options{TracerProvider: first.tracer, MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), GaugeAge: -1})
		require.NoError(t, err)
		client, err := dataflow.NewClient(first.driver, &dataflow.Config{Flows: flows, Observer: of})
		require.NoError(t, err)
		stop, err := of.ReportFlows(client)
		require.NoError(t, err)
		require.Empty(t, collect(t, reader), "it has no flows yet")
		require.NoError(t, client.Register(t.Context()))
		return reader, stop
	}
	a, stopA := process(flow("orders"))
	b, stopB := process(flow("orders"))
	other, stopOther := process(flow("orders"), flow("bills"))
	for range 2 {
		require.Contains(t, collect(t, a), "dataflow.flow.failures")
		require.NotContains(t, collect(t, b), "dataflow.flow.failures")
		require.Len(t, values(t, collect(t, other)["dataflow.flow.failures"]), 2, "it has other flows")
	}
	require.NoError(t, stopA(t.Context()))
	require.Contains(t, collect(t, b), "dataflow.flow.failures", "at once")
	require.NotContains(t, collect(t, a), "dataflow.flow.failures")
	require.NoError(t, stopB(t.Context()))
	require.NoError(t, stopOther(t.Context()))
}
