package enginetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// fed is a source that waits for its items and ends with its channel. To resume after a
// cursor, it leaves out the items up to it.
func fed(items <-chan dataflow.Item[int, int]) readFunc {
	return func(ctx context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
		for {
			select {
			case <-ctx.Done():
				yield(dataflow.Item[int, int]{}, ctx.Err())
				return
			case item, ok := <-items:
				if !ok || item.Value > r.From && !yield(item, nil) {
					return
				}
			}
		}
	}
}

func point(n int) dataflow.Item[int, int] {
	return dataflow.Item[int, int]{Value: n, Cursor: n, Resume: true}
}

// inside is a record after which no read can resume.
func inside(n int) dataflow.Item[int, int] { return dataflow.Item[int, int]{Value: n} }

// While the source blocks, what it has yielded is written up to the last resume point.
// The rest is written with the next resume point.
func TestBatchWait(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("numbers")
		items := make(chan dataflow.Item[int, int])
		flow := dataflow.NewFlow("n", fed(items), dataflow.Identity[int](), appendTo("numbers"), &dataflow.FlowOptions{BatchWait: 20 * time.Millisecond})
		client := t.registered(flow)
		ended := make(chan error, 1)
		var run *dataflow.Run
		go func() {
			var err error
			run, err = client.Trigger(t.Context(), "n", nil)
			ended <- err
		}()
		items <- point(1)
		t.requireCursorAt(client, "1")
		require.EqualValues(t, 1, t.number("select count(*) from numbers"))
		items <- point(2)
		items <- inside(3)
		t.requireCursorAt(client, "2")
		require.EqualValues(t, 2, t.number("select count(*) from numbers"))
		items <- inside(4) // and both wait for a resume point, however long
		items <- point(5)
		t.requireCursorAt(client, "5")
		items <- dataflow.Item[int, int]{Value: 8, Cursor: 8, Mark: true} // of which only the cursor counts
		t.requireCursorAt(client, "8")
		for n := 9; n < 300; n++ {
			items <- point(n)
		}
		close(items)
		require.NoError(t, receive(t, ended))
		require.Equal(t, dataflow.Counters{Read: 296, Written: 296}, run.Counters)
		require.EqualValues(t, 296, t.number("select count(distinct n) from numbers"))
	})
}

// A source that breaks, panics or ends within a batch behaves as without BatchWait. A
// source without a cursor may end a batch anywhere. A run can be stopped while it
// waits.
func TestBatchWait_Ends(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("numbers")
		wait := &dataflow.FlowOptions{BatchWait: time.Hour, MaxAttempts: 1, Runtime: dataflow.Heartbeat{BatchSize: 2}}
		source := func(fn func(yield func(dataflow.Item[int, int], error) bool)) readFunc {
			return func(_ context.Context, _ dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
				fn(yield)
			}
		}
		breaks := source(func(yield func(dataflow.Item[int, int], error) bool) {
			_ = yield(point(1), nil) && yield(inside(2), nil) && yield(dataflow.Item[int, int]{}, errBroken)
		})
		panics := source(func(yield func(dataflow.Item[int, int], error) bool) { panic("of the source") })
		short := source(func(yield func(dataflow.Item[int, int], error) bool) {
			_ = yield(point(1), nil) && yield(inside(2), nil)
		})
		blocks := make(chan dataflow.Item[int, int])
		client := t.registered(
			dataflow.NewFlow("breaks", breaks, dataflow.Identity[int](), appendTo("numbers"), wait), dataflow.NewFlow("panics", panics, dataflow.Identity[int](), appendTo("numbers"), wait),
			dataflow.NewFlow("short", short, dataflow.Identity[int](), appendTo("numbers"), wait), dataflow.NewFlow("once", onceNumbers{n: 5}, dataflow.Identity[int](), appendTo("numbers"), wait),
			dataflow.NewFlow("flawed", flawed(5, 3), dataflow.Identity[int](), appendTo("numbers"), &dataflow.FlowOptions{BatchWait: time.Hour, OnBadRecord: dataflow.SkipUpTo(1)}),
			dataflow.NewFlow("blocks", fed(blocks), dataflow.Identity[int](), appendTo("numbers"), wait),
		)
		run, err := client.Trigger(t.Context(), "breaks", nil)
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, "1", string(run.ToCursor))
		_, err = client.Trigger(t.Context(), "panics", nil)
		require.ErrorContains(t, err, "panic: of the source")
		_, err = client.Trigger(t.Context(), "short", nil)
		require.ErrorContains(t, err, "the source ended 1 records after its last resume point")
		run, err = client.Trigger(t.Context(), "once", nil)
		require.NoError(t, err)
		require.EqualValues(t, 5, run.Counters.Read)
		run, err = client.Trigger(t.Context(), "flawed", nil)
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: 5, Written: 4, Dropped: 1}, run.Counters)

		ended := make(chan error, 1)
		go func() { _, err := client.Trigger(t.Context(), "blocks", nil); ended <- err }()
		blocks <- point(1)
		blocks <- inside(2)
		t.stop(client)
		require.ErrorIs(t, receive(t, ended), dataflow.ErrStopped)
	})
}

func TestBatchWait_Refused(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{-time.Second, time.Microsecond} {
		flow := dataflow.NewFlow("n", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{BatchWait: wait})
		_, err := dataflow.NewClient(noDatabase{}, &dataflow.Config{Flows: []*dataflow.Flow{flow}})
		require.ErrorContains(t, err, `Flows["n"].BatchWait: `+wait.String()+` is less than a millisecond`)
	}
}
