package enginetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
)

// parentKey is the context key of what the observer says of a context.
type parentKey struct{}

// attemptKey marks the context of an attempt.
type attemptKey struct{}

// observer keeps what it is told.
type observer struct {
	mu      sync.Mutex // guards what follows
	started []*dataflow.Run
	batches []dataflow.BatchReport
	ended   []*dataflow.Run
	errs    []error
	kinds   []dataflow.EventKind
	broken  string // the method that panics
}

func (o *observer) told(method string, tell func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken == method {
		panic("broken")
	}
	tell()
}

func (o *observer) TraceParent(ctx context.Context) (parent string) {
	o.told("TraceParent", func() { parent, _ = ctx.Value(parentKey{}).(string) })
	return parent
}

func (o *observer) AttemptStarted(ctx context.Context, run *dataflow.Run) context.Context {
	o.told("AttemptStarted", func() { o.started = append(o.started, run) })
	return context.WithValue(ctx, attemptKey{}, run.ID)
}

func (o *observer) BatchCommitted(ctx context.Context, b *dataflow.BatchReport) {
	o.told("BatchCommitted", func() {
		if ctx.Value(attemptKey{}) != b.Run.ID {
			panic("the context is not the attempt's")
		}
		o.batches = append(o.batches, *b)
	})
}

func (o *observer) AttemptEnded(ctx context.Context, run *dataflow.Run, err error) {
	o.told("AttemptEnded", func() {
		if ctx.Value(attemptKey{}) != run.ID {
			panic("the context is not the attempt's")
		}
		o.ended, o.errs = append(o.ended, run), append(o.errs, err)
	})
}

func (o *observer) Event(_ context.Context, e *dataflow.Event) {
	o.told("Event", func() { o.kinds = append(o.kinds, e.Kind) })
}

// requireOrder requires that the stages of a batch follow one another.
func requireOrder(t *dbT, b *dataflow.BatchReport) {
	t.Helper()
	stages := []dataflow.Period{b.Read, b.Transform, b.Write, b.Checkpoint}
	for i, p := range stages {
		require.False(t, p.Began.IsZero(), "stage %d", i)
		require.False(t, p.Ended.Before(p.Began), "stage %d", i)
		require.Equal(t, p.Ended.Sub(p.Began), p.Took())
		if i > 0 {
			require.False(t, p.Began.Before(stages[i-1].Ended), "stage %d", i)
		}
	}
}

func TestObserver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("good", "bad")
		o := &observer{}
		var inTransform any
		look := dataflow.Map(func(ctx context.Context, in int) (int, error) {
			inTransform = ctx.Value(attemptKey{})
			return in, nil
		})
		client := t.client(&dataflow.Config{Observer: o, Flows: []*dataflow.Flow{
			flowTo("good", 3, look, &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 2}}),
			flowTo("bad", 3, broken(), &dataflow.FlowOptions{MaxAttempts: 1}),
		}})
		require.NoError(t, client.Register(t.Context()))
		good, err := t.execute(client, "good")
		require.NoError(t, err)
		_, err = t.execute(client, "bad")
		require.ErrorIs(t, err, errBroken)

		require.Equal(t, good.ID, inTransform)
		require.Len(t, o.started, 2)
		require.Len(t, o.ended, 2)
		require.Equal(t, []dataflow.RunState{dataflow.RunInProgress, dataflow.RunInProgress}, []dataflow.RunState{o.started[0].State, o.started[1].State})
		require.Equal(t, good, o.ended[0])
		require.NoError(t, o.errs[0])
		require.Equal(t, dataflow.RunFailed, o.ended[1].State)
		require.ErrorIs(t, o.errs[1], errBroken)
		require.Len(t, o.batches, 2)
		require.Equal(t, dataflow.Counters{Read: 2, Written: 2}, o.batches[0].Counters)
		require.Equal(t, dataflow.Counters{Read: 1, Written: 1}, o.batches[1].Counters)
		require.Equal(t, good.Counters, o.batches[1].Run.Counters)
		for i := range o.batches {
			requireOrder(t, &o.batches[i])
		}
		require.Equal(t, []dataflow.EventKind{
			dataflow.EventRunStarted, dataflow.EventRunProgress, dataflow.EventRunProgress, dataflow.EventRunSucceeded,
			dataflow.EventRunStarted, dataflow.EventRunFailed,
		}, o.kinds)
	})
}

// Each way to write and commit is reported: outside the database, fenced, in parts, and with the
// commit on its way while the next batch is written.
func TestObserver_EachTarget(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("parts")
		refuseTwo := dataflow.TxSinkFunc[int](func(_ context.Context, rows []int) error {
			if len(rows) > 1 || rows[0] == 2 {
				return &dataflow.RecordError{Err: errBroken}
			}
			return nil
		})
		o := &observer{}
		client := t.client(&dataflow.Config{Observer: o, Flows: []*dataflow.Flow{
			dataflow.NewFlow("to", numbers{n: 4}, dataflow.Identity[int](), memory.NewSink[int]().Target(), nil),
			dataflow.NewFlow("parts", numbers{n: 4}, dataflow.Identity[int](), dataflow.ToTx(refuseTwo), &dataflow.FlowOptions{OnBadRecord: dataflow.SkipUpTo(1)}),
		}})
		require.NoError(t, client.Register(t.Context()))
		for _, name := range []string{"to", "parts"} {
			_, err := t.execute(client, name)
			require.NoError(t, err)
		}
		require.Len(t, o.batches, 2)
		require.Equal(t, dataflow.Counters{Read: 4, Written: 4}, o.batches[0].Counters)
		require.Equal(t, dataflow.Counters{Read: 4, Written: 3, Dropped: 1}, o.batches[1].Counters)
		for i := range o.batches {
			requireOrder(t, &o.batches[i])
		}
	})
}

// The trace of whoever asks for a run is stored with it, and a tick's run has none.
func TestObserver_TraceParent(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f", "g", "q", "ticked")
		const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		ctx := context.WithValue(t.Context(), parentKey{}, parent)
		c := newClock()
		client := t.client(&dataflow.Config{Observer: &observer{}, Clock: c.Now, Flows: []*dataflow.Flow{
			flowTo("f", 1, dataflow.Identity[int](), nil), flowTo("g", 1, dataflow.Identity[int](), nil),
			flowTo("q", 1, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}}),
			flowTo("ticked", 1, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Minute}}),
		}})
		require.NoError(t, client.Register(t.Context()))
		for _, name := range []string{"f", "q"} {
			run, err := client.Trigger(ctx, name, nil)
			require.NoError(t, err)
			require.Equal(t, parent, run.TraceParent)
			run, err = client.Run(t.Context(), run.ID)
			require.NoError(t, err)
			require.Equal(t, parent, run.TraceParent)
		}
		many, err := client.TriggerMany(ctx, []dataflow.TriggerManyParams{{Flow: "g"}})
		require.NoError(t, err)
		run, err := client.Run(t.Context(), many[0].Run.ID)
		require.NoError(t, err)
		require.Equal(t, parent, run.TraceParent)

		c.advance(2 * time.Minute)
		_, err = client.Tick(t.Context())
		require.NoError(t, err)
		runs, err := client.Runs(t.Context(), &dataflow.RunListParams{Flow: "ticked"})
		require.NoError(t, err)
		require.Len(t, runs, 1)
		require.Empty(t, runs[0].TraceParent)
	})
}

// An attempt that loses its lease says so.
func TestObserver_Fenced(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f")
		o := &observer{}
		lose := dataflow.Map(func(_ context.Context, in int) (int, error) {
			return in, t.exec("update dataflow_run set lease_no = lease_no + 1")
		})
		client := t.client(&dataflow.Config{Observer: o, Flows: []*dataflow.Flow{flowTo("f", 3, lose, nil)}})
		require.NoError(t, client.Register(t.Context()))
		_, err := t.execute(client, "f")
		require.ErrorIs(t, err, dataflow.ErrFenced)
		require.Len(t, o.errs, 1)
		require.ErrorIs(t, o.errs[0], dataflow.ErrFenced)
		require.Empty(t, o.batches)
	})
}

// An observer that panics does not stop a run.
func TestObserver_Panics(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for _, method := range []string{"TraceParent", "AttemptStarted", "BatchCommitted", "AttemptEnded", "Event"} {
			name := "f" + method
			t.table(name)
			l := newLogs()
			client := t.client(&dataflow.Config{Observer: &observer{broken: method}, Logger: l.logger(), Flows: []*dataflow.Flow{flowTo(name, 3, dataflow.Identity[int](), nil)}})
			require.NoError(t, client.Register(t.Context()))
			_, err := t.execute(client, name)
			require.NoError(t, err)
			t.requireExactly(name, 3)
			require.NotEmpty(t, l.lines("Config.Observer."+method+" panicked"))
		}
	})
}

// lagging are numbers whose oldest is as old as its cursor says.
type lagging struct{ numbers }

func (s lagging) Lag(_ context.Context, r dataflow.Request[int]) (time.Duration, bool, error) {
	switch {
	case !r.Resumed:
		return time.Hour, true, nil
	case r.From == s.n:
		return 0, true, nil
	default:
		return 0, false, errBroken
	}
}

// deaf are numbers that cannot tell their lag.
type deaf struct{ numbers }

func (deaf) Lag(context.Context, dataflow.Request[int]) (time.Duration, bool, error) {
	return time.Hour, false, nil
}

func TestClient_FlowStats(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("a", "b", "c", "d", "e")
		l := newLogs()
		parametric := dataflow.Parametric(func(struct{}) (dataflow.Source[int, int], error) { return lagging{numbers{n: 3}}, nil })
		needsParams := dataflow.Parametric(func(p struct{ Day string }) (dataflow.Source[int, int], error) {
			if p.Day == "" {
				return nil, errors.New("no day")
			}
			return lagging{numbers{n: 3}}, nil
		})
		client := t.client(&dataflow.Config{Logger: l.logger(), Flows: []*dataflow.Flow{
			dataflow.NewFlow("a", lagging{numbers{n: 3}}, dataflow.Identity[int](), appendTo("a"), nil),
			dataflow.NewFlow("b", deaf{numbers{n: 3}}, dataflow.Identity[int](), appendTo("b"), nil),
			flowTo("c", 3, dataflow.Identity[int](), nil),
			dataflow.NewFlow("d", parametric, dataflow.Identity[int](), appendTo("d"), nil),
			dataflow.NewFlow("e", needsParams, dataflow.Identity[int](), appendTo("e"), nil),
		}})
		t.registered(flowTo("of another program", 1, dataflow.Identity[int](), nil))
		require.NoError(t, client.Register(t.Context()))
		_, err := client.Enqueue(t.Context(), "c", nil)
		require.NoError(t, err)

		stats := func() map[string]*dataflow.FlowStats {
			all, err := client.FlowStats(t.Context())
			require.NoError(t, err)
			byName := make(map[string]*dataflow.FlowStats)
			for _, s := range all {
				byName[s.Flow] = s
			}
			require.Len(t, byName, 5)
			return byName
		}
		hour, none := time.Hour, time.Duration(0)
		s := stats()
		require.Equal(t, []*time.Duration{&hour, nil, nil, &hour, nil}, []*time.Duration{s["a"].Lag, s["b"].Lag, s["c"].Lag, s["d"].Lag, s["e"].Lag})
		require.Equal(t, 1, s["c"].Due)
		require.NotNil(t, s["c"].DueSince)
		require.Nil(t, s["a"].CursorAt)

		_, err = t.execute(client, "a")
		require.NoError(t, err)
		s = stats()
		require.Equal(t, &none, s["a"].Lag)
		require.NotNil(t, s["a"].CursorAt)
		require.NotNil(t, s["a"].LastSuccessAt)
		require.JSONEq(t, "3", string(s["a"].Cursor))

		_, err = client.SetCursor(t.Context(), "a", &dataflow.SetCursorParams{Cursor: json.RawMessage(`2`), IfCursor: json.RawMessage(`3`)})
		require.NoError(t, err)
		require.Nil(t, stats()["a"].Lag)
		require.Len(t, l.lines("could not tell its lag"), 1)
	})
}

// logged are numbers of a log, 10 bytes each. A run stops before the last one until it is told to
// go on, and previews are noted.
type logged struct {
	lagging
	reached, goOn chan struct{}
	previews      atomic.Int32
}

func (s *logged) LagBytes(_ context.Context, r dataflow.Request[int]) (int64, bool, error) {
	return int64(s.n-r.From) * 10, true, nil
}

func (s *logged) Lag(_ context.Context, r dataflow.Request[int]) (time.Duration, bool, error) {
	return time.Duration(s.n-r.From) * time.Second, true, nil
}

func (s *logged) Read(ctx context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	if r.Preview {
		s.previews.Add(1)
		return s.lagging.Read(ctx, r)
	}
	return func(yield func(dataflow.Item[int, int], error) bool) {
		for item, err := range s.lagging.Read(ctx, r) {
			if item.Value == s.n {
				for range 10 { // which ends the batch
					if !yield(dataflow.Item[int, int]{Mark: true, Cursor: s.n - 1}, nil) {
						return
					}
				}
				close(s.reached)
				<-s.goOn
			}
			if !yield(item, err) {
				return
			}
		}
	}
}

// The lag is told for a flow and for a run in progress, and a preview is told that it is one.
func TestFlow_Lag(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		ctx := t.Context()
		t.table("a")
		source := &logged{lagging: lagging{numbers{n: 3}}, reached: make(chan struct{}), goOn: make(chan struct{})}
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{dataflow.NewFlow("a", source, dataflow.Identity[int](), appendTo("a"), nil)}})
		require.NoError(t, client.Register(ctx))
		lag := func() string {
			flow, err := client.Flow(ctx, "a")
			require.NoError(t, err)
			lag, err := flow.Lag(ctx)
			require.NoError(t, err)
			return fmt.Sprint(*lag.Age, *lag.Bytes)
		}
		require.Equal(t, "3s 30", lag())
		_, err := client.DryRun(ctx, "a", nil)
		require.NoError(t, err)
		require.EqualValues(t, 1, source.previews.Load())

		ended := make(chan error, 1)
		go func() {
			_, err := t.execute(client, "a")
			ended <- err
		}()
		<-source.reached
		require.Eventually(t, func() bool { return lag() == "1s 10" }, time.Minute, time.Millisecond)
		runs, err := client.Runs(ctx, nil)
		require.NoError(t, err)
		progress, err := client.Progress(ctx, runs[0].ID)
		require.NoError(t, err)
		require.Equal(t, time.Second, *progress.Lag.Age)
		require.EqualValues(t, 10, *progress.Lag.Bytes)
		close(source.goOn)
		require.NoError(t, <-ended)
		progress, err = client.Progress(ctx, runs[0].ID)
		require.NoError(t, err)
		require.Nil(t, progress.Lag, "the run has ended")
		stats, err := client.FlowStats(ctx)
		require.NoError(t, err)
		require.Zero(t, *stats[0].LagBytes)
		require.EqualValues(t, 1, source.previews.Load())
		stranger := t.client(nil)
		flow, err := stranger.Flow(ctx, "a")
		require.NoError(t, err)
		_, err = flow.Lag(ctx)
		require.ErrorIs(t, err, dataflow.ErrNotRegistered)
	})
}

// Of two clients, one is elected, until it lets go.
func TestClient_Elect(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		a, b := t.client(nil), t.client(nil)
		elect := func(c *dataflow.Client, task string, lease time.Duration) bool {
			is, err := c.Elect(t.Context(), task, lease)
			require.NoError(t, err)
			return is
		}
		require.True(t, elect(a, "reports", time.Minute))
		require.False(t, elect(b, "reports", time.Minute))
		require.True(t, elect(b, "something else", time.Minute))
		require.True(t, elect(a, "reports", time.Minute))
		require.False(t, elect(b, "reports", 0), "it is not b's to let go")
		require.True(t, elect(a, "reports", time.Minute))
		require.False(t, elect(a, "reports", 0))
		require.True(t, elect(b, "reports", time.Minute))
	})
}
