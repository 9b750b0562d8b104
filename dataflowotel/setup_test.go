package dataflowotel_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	_ "modernc.org/sqlite"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowotel"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/dataflowtest"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

var errBroken = errors.New("the disk is full")

// lagging rows are as old as the test says.
type lagging struct {
	*dataflowtest.Source[string]
	oldest time.Duration
}

func (s lagging) Lag(_ context.Context, r dataflow.Request[int]) (time.Duration, bool, error) {
	if r.From >= len(s.Rows()) {
		return 0, true, nil
	}
	return s.oldest, true, nil
}

// LagBytes is a thousand bytes for each row that is left.
func (s lagging) LagBytes(_ context.Context, r dataflow.Request[int]) (int64, bool, error) {
	return int64(len(s.Rows())-r.From) * 1000, true, nil
}

// scene is a client with a Telemetry, on a database of its own with a clock of its own.
type scene struct {
	*testing.T
	*dataflowtest.Kit
	spans  *tracetest.SpanRecorder
	tracer *trace.TracerProvider
	meters *sdkmetric.MeterProvider
	of     *dataflowotel.Telemetry
	driver dataflow.Driver
	exec   func(sql string) error
}

func newScene(t *testing.T, options *dataflowotel.Options, readers []sdkmetric.Reader, flows ...*dataflow.Flow) *scene {
	t.Helper()
	db := dbtest.SQLite(t)
	s := &scene{T: t, spans: tracetest.NewSpanRecorder(), driver: dataflowsqlite.New(db), exec: func(sql string) error {
		_, err := db.ExecContext(t.Context(), sql)
		return err
	}}
	s.tracer = trace.NewTracerProvider(trace.WithSpanProcessor(s.spans))
	with := make([]sdkmetric.Option, len(readers))
	for i, r := range readers {
		with[i] = sdkmetric.WithReader(r)
	}
	s.meters = sdkmetric.NewMeterProvider(with...)
	if options == nil {
		options = &dataflowotel.Options{GaugeAge: -1}
	}
	options.TracerProvider, options.MeterProvider = s.tracer, s.meters
	var err error
	s.of, err = dataflowotel.New(options)
	require.NoError(t, err)
	s.Kit = dataflowtest.NewOn(t, s.driver, &dataflow.Config{Flows: flows, Observer: s.of})
	return s
}

// execute works a run of a flow in the given context.
func (s *scene) execute(ctx context.Context, name string) (*dataflow.Run, error) {
	s.Helper()
	f, err := s.Client().Flow(ctx, name)
	require.NoError(s, err)
	return f.Runtime.Execute(ctx, f)
}

// nowhere takes all rows.
func nowhere() dataflow.Target[string] {
	return dataflow.ToTx(dataflow.TxSinkFunc[string](func(context.Context, []string) error { return nil }))
}

func rows(rows ...string) *dataflowtest.Source[string] { return dataflowtest.NewSource(rows...) }

// broken fails.
func broken() dataflow.Transform[string, string] {
	return dataflow.Map(func(context.Context, string) (string, error) { return "", errBroken })
}

// picky filters "no", and refuses "bad".
func picky() dataflow.Transform[string, string] {
	return dataflow.Pipe(dataflow.Filter(func(s string) bool { return s != "no" }), dataflow.Map(func(_ context.Context, s string) (string, error) {
		if s == "bad" {
			return "", errBroken
		}
		return s, nil
	}))
}

// troubled makes each thing happen that is measured: runs that succeed, fail, are tried again,
// cancelled, put back and lost, and flows that are paused and tripped.
func troubled(t *testing.T, readers ...sdkmetric.Reader) *scene {
	t.Helper()
	var s *scene
	lose := dataflow.Map(func(_ context.Context, row string) (string, error) {
		return row, s.exec("update dataflow_run set lease_no = lease_no + 1 where flow_id = (select id from dataflow_flow where name = 'lost')")
	})
	every := dataflow.Heartbeat{Interval: time.Minute}
	tripping := dataflow.Heartbeat{Interval: 24 * time.Hour, Schedule: dataflow.Schedule{PauseAfter: 1, ProbeAfter: -1}}
	s = newScene(t, nil, readers,
		dataflow.NewFlow("orders", lagging{rows("a", "no", "b", "bad"), time.Hour}, picky(), nowhere(), &dataflow.FlowOptions{Runtime: every, OnBadRecord: dataflow.DeadLetterUpTo(10)}),
		dataflow.NewFlow("skips", rows("a", "bad"), picky(), nowhere(), &dataflow.FlowOptions{OnBadRecord: dataflow.SkipUpTo(10)}),
		dataflow.NewFlow("broken", rows("a"), broken(), nowhere(), &dataflow.FlowOptions{MaxAttempts: 2}),
		dataflow.NewFlow("tripped", rows("a"), broken(), nowhere(), &dataflow.FlowOptions{Runtime: tripping, MaxAttempts: 1}),
		dataflow.NewFlow("lost", rows("a"), lose, nowhere(), nil),
		dataflow.NewFlow("stopped", rows("a"), dataflow.Identity[string](), nowhere(), nil),
		dataflow.NewFlow("paused", rows("a"), dataflow.Identity[string](), nowhere(), nil),
		dataflow.NewFlow("behind", lagging{rows("a"), 5 * time.Hour}, dataflow.Identity[string](), nowhere(), nil),
		dataflow.NewFlow("slow", rows("a"), broken(), nowhere(), &dataflow.FlowOptions{MaxAttempts: 2, Backoff: func(int) time.Duration { return 10 * time.Minute }}),
		dataflow.NewFlow("late", rows("a"), dataflow.Identity[string](), nowhere(), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Hour}}),
		dataflow.NewFlow("waits", rows("a"), dataflow.Identity[string](), nowhere(), nil),
		dataflow.NewFlow("killed", rows("a"), dataflow.Identity[string](), nowhere(), nil),
	)
	return s
}

// happen works the flows of troubled.
func (s *scene) happen() {
	s.Helper()
	ctx := s.Context()
	s.CrashAt(dataflowtest.AfterWrite, 1)
	s.Work("killed")
	s.Work("skips")
	s.Work("broken")
	s.Work("tripped")
	run, err := s.Client().Enqueue(ctx, "stopped", &dataflow.TriggerOptions{At: s.Now().Add(24 * time.Hour)})
	require.NoError(s, err)
	_, err = s.Client().Cancel(ctx, run.ID, "ann", "not today")
	require.NoError(s, err)
	s.Advance(2 * time.Minute)
	_, err = s.Client().Pause(ctx, "paused", "ann", "a test")
	require.NoError(s, err)
	_, err = s.execute(ctx, "lost")
	require.ErrorIs(s, err, dataflow.ErrFenced)
}
