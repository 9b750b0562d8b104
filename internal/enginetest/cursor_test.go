package enginetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// seen returns what a caller sees of a cursor.
func (t *dbT) seen(client *dataflow.Client, name string) *dataflow.SetCursorParams {
	t.Helper()
	cur, err := client.Cursor(t.Context(), name)
	require.NoError(t, err)
	return &dataflow.SetCursorParams{IfSeq: &cur.Seq, Actor: "ann", Reason: "as asked"}
}

func (t *dbT) setCursor(client *dataflow.Client, name, cursor string) *dataflow.FlowCursor {
	t.Helper()
	p := t.seen(client, name)
	if cursor != "" {
		p.Cursor = json.RawMessage(cursor)
	}
	cur, err := client.SetCursor(t.Context(), name, p)
	require.NoError(t, err)
	return cur
}

// Cursor says what the cursor is, which run moved it, and who set it.
func TestClient_Cursor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(t.numbersFlow("n", numbers{n: 5}, dataflow.Heartbeat{}))
		cur, err := client.Cursor(t.Context(), "n")
		require.NoError(t, err)
		require.Equal(t, &dataflow.FlowCursor{FlowID: cur.FlowID, FlowName: "n"}, cur)

		run, err := t.execute(client, "n")
		require.NoError(t, err)
		cur, err = client.Cursor(t.Context(), "n")
		require.NoError(t, err)
		require.Equal(t, "5", string(cur.Cursor))
		require.Equal(t, run.ID, cur.RunID)
		require.NotNil(t, cur.At)
		require.Nil(t, cur.Change)

		cur = t.setCursor(client, "n", "3")
		require.Equal(t, "3", string(cur.Cursor))
		require.Zero(t, cur.RunID)
		require.Equal(t, []string{"5", "3", "ann", "as asked"}, []string{string(cur.Change.From), string(cur.Change.To), cur.Change.Actor, cur.Change.Reason})
		run, err = t.execute(client, "n")
		require.NoError(t, err)
		require.Equal(t, dataflow.Counters{Read: 2, Written: 2}, run.Counters)
		require.Equal(t, []string{"3", "5"}, []string{string(run.FromCursor), string(run.ToCursor)})

		require.Nil(t, t.setCursor(client, "n", "null").Cursor)
		require.Nil(t, t.setCursor(client, "n", "").Cursor)
		run, err = t.execute(client, "n")
		require.NoError(t, err)
		require.EqualValues(t, 5, run.Counters.Read)

		history, err := client.CursorHistory(t.Context(), "n", nil)
		require.NoError(t, err)
		require.Len(t, history, 3)
		require.Nil(t, history[0].To)
		require.Nil(t, history[1].To)
		require.Equal(t, "3", string(history[2].To))
		_, err = client.Cursor(t.Context(), "nothing")
		require.ErrorIs(t, err, dataflow.ErrNotFound)
		requirePublic(t, err)
		_, err = client.CursorHistory(t.Context(), "nothing", nil)
		require.ErrorIs(t, err, dataflow.ErrNotFound)
	})
}

// SetCursor overwrites nothing that the caller has not seen, and takes no cursor that
// is not the source's.
func TestClient_SetCursor_Refused(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		again := dataflow.NewFlow("again", onceNumbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), nil)
		client := t.registered(t.numbersFlow("n", numbers{n: 5}, dataflow.Heartbeat{}), again)
		_, err := t.execute(client, "n")
		require.NoError(t, err)
		four, five, seq := json.RawMessage("4"), json.RawMessage(" 5 "), int64(1)
		for _, c := range []struct {
			params *dataflow.SetCursorParams
			want   string
		}{
			{nil, "IfSeq: neither it nor IfCursor is set"},
			{&dataflow.SetCursorParams{IfSeq: &seq, Cursor: json.RawMessage("x")}, "Cursor: x is not JSON"},
			{&dataflow.SetCursorParams{IfSeq: &seq, Cursor: json.RawMessage(`"x"`)}, `Cursor: "x" is not a cursor of the source (custom): `},
			{&dataflow.SetCursorParams{IfSeq: &seq, Cursor: four}, "the cursor has moved: its sequence number is not 1: it is 2, at cursor 5"},
			{&dataflow.SetCursorParams{IfCursor: four, Cursor: four}, "the cursor has moved: it is not at cursor 4: it is at cursor 5, with the sequence number 2"},
			{&dataflow.SetCursorParams{IfCursor: json.RawMessage("null"), Cursor: four}, "it is not at the beginning: it is at cursor 5"},
		} {
			before, err := client.Cursor(t.Context(), "n")
			require.NoError(t, err)
			now, err := client.SetCursor(t.Context(), "n", c.params)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, `dataflow: set cursor of flow "n": `)
			if errors.Is(err, dataflow.ErrCursorMoved) {
				require.Equal(t, before, now)
			}
			after, err := client.Cursor(t.Context(), "n")
			require.NoError(t, err)
			require.Equal(t, before, after)
		}
		_, err = client.SetCursor(t.Context(), "again", &dataflow.SetCursorParams{IfCursor: json.RawMessage("null"), Cursor: four})
		require.ErrorContains(t, err, "the source (custom) has no cursor")
		_, err = client.SetCursor(t.Context(), "nothing", &dataflow.SetCursorParams{IfSeq: &seq})
		require.ErrorIs(t, err, dataflow.ErrNotFound)

		cur, err := client.SetCursor(t.Context(), "n", &dataflow.SetCursorParams{IfCursor: five, Cursor: four})
		require.NoError(t, err)
		require.Equal(t, "4", string(cur.Cursor))
		// A process without the code cannot check the cursor. The next run does.
		other := t.client(nil)
		require.Equal(t, `"x"`, string(t.setCursor(other, "n", `"x"`).Cursor))
		_, err = t.execute(client, "n")
		require.ErrorContains(t, err, `the stored cursor "x" is not one of this source`)
	})
}

// A run in progress keeps the cursor. A run that was put back goes on at the new
// cursor, and its former worker can commit nothing.
func TestClient_SetCursor_Running(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		reached, goOn := make(chan struct{}), make(chan struct{})
		flow := dataflow.NewFlow("n", numbers{n: 9}, dataflow.Map(func(ctx context.Context, n int) (int, error) {
			if n == 5 {
				close(reached)
				<-goOn
			}
			return n, nil
		}), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 2}})
		client := t.registered(flow)
		ended := make(chan error, 1)
		go func() {
			_, err := client.Trigger(t.Context(), "n", nil)
			ended <- err
		}()
		receive(t, reached)
		t.requireCursorAt(client, "4") // the batch before is written meanwhile
		p := t.seen(client, "n")
		_, err := client.SetCursor(t.Context(), "n", p)
		require.ErrorIs(t, err, dataflow.ErrAlreadyRunning)
		require.ErrorContains(t, err, "run 1 is in progress on worker ")

		// Another process takes the run over.
		store, err := t.driver.Store(dataflow.StoreOptions{})
		require.NoError(t, err)
		live, err := store.RunList(t.Context(), &dataflow.RunListParams{Limit: 1})
		require.NoError(t, err)
		_, err = store.RunEnd(t.Context(), &dataflow.RunEndParams{RunID: live[0].ID, FlowID: live[0].FlowID, LeaseNumber: live[0].LeaseNumber, State: dataflow.RunPending, Refund: true})
		require.NoError(t, err)
		t.setCursor(client, "n", "7")
		close(goOn)
		require.ErrorIs(t, receive(t, ended), dataflow.ErrFenced)
		cur, err := client.Cursor(t.Context(), "n")
		require.NoError(t, err)
		require.Equal(t, "7", string(cur.Cursor))
		runs, err := client.Tick(t.Context())
		require.NoError(t, err)
		require.Len(t, runs, 1)
		require.Equal(t, dataflow.Counters{Read: 6, Written: 6}, runs[0].Counters, "1 to 4, 8 and 9")
	})
}

// requireCursorAt waits until the cursor of flow n has a value.
func (t *dbT) requireCursorAt(client *dataflow.Client, cursor string) {
	t.Helper()
	require.Eventually(t, func() bool {
		cur, err := client.Cursor(t.Context(), "n")
		return err == nil && string(cur.Cursor) == cursor
	}, patience, time.Millisecond)
}

// The checkpoint of a sink elsewhere does not undo the change.
func TestClient_SetCursor_Fenced(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		sink := &elsewhere{}
		flow := dataflow.NewFlow("far", numbers{n: 6}, dataflow.Identity[int](), dataflow.ToFenced(sink), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 3}})
		client := t.registered(flow)
		_, err := t.execute(client, "far")
		require.NoError(t, err)
		t.setCursor(client, "far", "4")
		run, err := t.execute(client, "far")
		require.NoError(t, err)
		require.Equal(t, []int{1, 2, 3, 4, 5, 6, 5, 6}, sink.rows)
		require.EqualValues(t, 2, run.Counters.Read)

		// What the sink got after the change counts: the next claim goes on there.
		t.setCursor(client, "far", "3")
		sink.after = func(int) error { sink.after = nil; return errors.New("the wire was cut") }
		_, err = t.execute(client, "far")
		require.ErrorContains(t, err, "the wire was cut")
		require.NoError(t, t.exec("update dataflow_run set run_after = created_at where state = 'pending'"))
		runs, err := client.Tick(t.Context())
		require.NoError(t, err)
		require.Len(t, runs, 1)
		require.Equal(t, []int{4, 5, 6}, sink.rows[8:])
		require.Equal(t, dataflow.Counters{Read: 3, Written: 3}, runs[0].Counters)
	})
}

// countTo yields the numbers up to itself. The methods of its cursor's types that make JSON have pointers as receivers.
type countTo int64

type farPlace struct{ At struct{ N big.Int } }

func (n countTo) Read(_ context.Context, r dataflow.Request[farPlace]) iter.Seq2[dataflow.Item[int, farPlace], error] {
	return func(yield func(dataflow.Item[int, farPlace], error) bool) {
		for i := r.From.At.N.Int64() + 1; i <= int64(n); i++ {
			item := dataflow.Item[int, farPlace]{Value: int(i), Resume: true}
			if item.Cursor.At.N.SetInt64(i); !yield(item, nil) {
				return
			}
		}
	}
}

// A cursor is written as JSON by its own method, also by one of a pointer. Without it, big.Int is {}, and each run
// would begin anew.
func TestCursor_PointerMarshaler(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var letters []string
		odd := dataflow.Map(func(_ context.Context, n int) (int, error) {
			if n%2 == 1 {
				return 0, errors.New("it is odd")
			}
			return n, nil
		})
		opts := &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(9)}
		client := t.registered(dataflow.NewFlow("n", countTo(3), odd, dataflow.To[int](dataflow.SinkFunc[int](func(context.Context, dataflow.SinkBatch[int]) error { return nil })), opts))
		for _, read := range []int64{3, 0} {
			run, err := t.execute(client, "n")
			require.NoError(t, err)
			require.Equal(t, read, run.Counters.Read)
			cur, err := client.Cursor(t.Context(), "n")
			require.NoError(t, err)
			require.JSONEq(t, `{"At":{"N":3}}`, string(cur.Cursor))
		}
		kept, err := client.DeadLetters(t.Context(), &dataflow.DeadLetterListParams{Flow: "n"})
		require.NoError(t, err)
		for _, l := range kept {
			letters = append(letters, l.Key)
		}
		slices.Sort(letters)
		require.Equal(t, []string{`{"At":{"N":1}}`, `{"At":{"N":3}}`}, letters)
	})
}
