package enginetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// ranged yields the numbers after From, up to n or Until. It multiplies each by the
// number in the run's Params.
type ranged struct {
	n    int
	wait time.Duration // before each
}

func (s ranged) CheckRequest(r dataflow.Request[int]) error {
	var times int
	if r.Params != nil && json.Unmarshal(r.Params, &times) != nil {
		return &dataflow.ConfigError{Field: "Params", Reason: fmt.Sprintf("%s is no number", r.Params)}
	}
	return nil
}

func (s ranged) Count(_ context.Context, r dataflow.Request[int]) (int64, error) {
	return int64(s.end(r) - r.From), nil
}

func (s ranged) end(r dataflow.Request[int]) int {
	if r.Bounded {
		return min(s.n, r.Until)
	}
	return s.n
}

func (s ranged) Read(ctx context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	times := 1
	if r.Params != nil {
		_ = json.Unmarshal(r.Params, &times)
	}
	return func(yield func(dataflow.Item[int, int], error) bool) {
		for i := r.From + 1; i <= s.end(r); i++ {
			if s.wait > 0 {
				select {
				case <-ctx.Done():
				case <-time.After(s.wait):
				}
			}
			if !yield(dataflow.Item[int, int]{Value: i * times, Cursor: i, Resume: true}, ctx.Err()) {
				return
			}
		}
	}
}

func cursorAt(n int) json.RawMessage { return json.RawMessage(fmt.Sprint(n)) }

// live is what a backfill must leave alone.
func (t *dbT) live(client *dataflow.Client, name string) *dataflow.FlowCursor {
	t.Helper()
	cur, err := client.Cursor(t.Context(), name)
	require.NoError(t, err)
	return cur
}

// A part of the source is read again, and the flow's own cursor stays.
func TestClient_Backfill(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(t.numbersFlow("n", ranged{n: 50}, dataflow.Heartbeat{BatchSize: 4}))
		_, err := t.execute(client, "n")
		require.NoError(t, err)
		t.exactly(50)
		before, record := t.live(client, "n"), t.flowRecord(client)

		run, err := client.Backfill(t.Context(), "n", &dataflow.BackfillParams{From: cursorAt(10), Until: cursorAt(20), Actor: "ann", Reason: "wrong prices"})
		require.NoError(t, err)
		require.Equal(t, dataflow.RunPending, run.State)
		require.Equal(t, dataflow.TriggerBackfill, run.Trigger)
		require.True(t, run.IsBackfill())
		require.Equal(t, []string{"10", "20", "ann", "wrong prices"}, []string{string(run.FromCursor), string(run.UntilCursor), run.Actor, run.Reason})
		again, err := client.Backfill(t.Context(), "n", &dataflow.BackfillParams{From: cursorAt(10), Until: json.RawMessage(" 20")})
		require.NoError(t, err)
		require.True(t, again.Coalesced)
		require.Equal(t, run.ID, again.ID)
		other, err := client.Backfill(t.Context(), "n", &dataflow.BackfillParams{From: cursorAt(48)})
		require.NoError(t, err)
		require.False(t, other.Coalesced)

		runs, err := client.Tick(t.Context())
		require.NoError(t, err)
		require.Len(t, runs, 2)
		require.Equal(t, dataflow.Counters{Read: 10, Written: 10}, runs[0].Counters)
		require.EqualValues(t, 10, *runs[0].Total)
		require.Equal(t, "20", string(runs[0].ToCursor))
		require.Equal(t, dataflow.Counters{Read: 2, Written: 2}, runs[1].Counters)
		require.EqualValues(t, 62, t.number("select count(*) from numbers"))
		require.EqualValues(t, 20, t.number("select count(*) from numbers where n between 11 and 20"))
		require.EqualValues(t, 4, t.number("select count(*) from numbers where n > 48"))
		require.Equal(t, before, t.live(client, "n"))
		require.Equal(t, record, t.flowRecord(client))

		_, err = client.Backfill(t.Context(), "n", nil)
		require.NoError(t, err)
		runs, err = client.Tick(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 50, runs[0].Counters.Read, "everything")
		require.Equal(t, "null", string(runs[0].FromCursor))
	})
}

func (t *dbT) flowRecord(client *dataflow.Client) dataflow.FlowRecord {
	t.Helper()
	f, err := client.Flow(t.Context(), "n")
	require.NoError(t, err)
	return f.FlowRecord
}

// A backfill that the source does not obey, or the sink is not made for, is refused and
// leaves no run.
func TestClient_Backfill_Refused(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		appends := dataflow.NewFlow("appends", ranged{n: 5}, dataflow.Identity[int](), dataflow.ToTx(discard{appendOnly: true}), nil)
		plain := dataflow.NewFlow("plain", numbers{n: 5}, dataflow.Identity[int](), dataflow.ToTx(discard{}), nil)
		once := dataflow.NewFlow("once", onceNumbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), nil)
		client := t.registered(appends, plain, once, t.numbersFlow("n", ranged{n: 5}, dataflow.Heartbeat{}))
		for _, c := range []struct {
			flow   string
			params *dataflow.BackfillParams
			want   string
		}{
			{"plain", &dataflow.BackfillParams{Until: cursorAt(3)}, "Until: the source (custom) cannot end a read there"},
			{"plain", &dataflow.BackfillParams{Params: cursorAt(3)}, "Params: the source (custom) takes no parameters"},
			{"n", &dataflow.BackfillParams{From: json.RawMessage("x")}, "From: x is not JSON"},
			{"n", &dataflow.BackfillParams{From: json.RawMessage("[1]")}, "From: [1] is not a cursor of the source (custom)"},
			{"n", &dataflow.BackfillParams{Until: json.RawMessage("[1]")}, "Until: [1] is not a cursor of the source (custom)"},
			{"n", &dataflow.BackfillParams{Params: json.RawMessage(`"x"`)}, `Params: "x" is no number`},
			{"once", &dataflow.BackfillParams{From: cursorAt(3)}, "From: the source (custom) has no cursor"},
			{"appends", nil, "Append: the flow's sink appends, or keeps each batch"},
		} {
			_, err := client.Backfill(t.Context(), c.flow, c.params)
			var ce *dataflow.ConfigError
			require.ErrorAs(t, err, &ce, c.want)
			require.ErrorContains(t, err, fmt.Sprintf("dataflow: backfill flow %q: %s", c.flow, c.want))
			requirePublic(t, err)
		}
		_, err := client.Trigger(t.Context(), "plain", &dataflow.TriggerOptions{Params: cursorAt(3)})
		require.ErrorContains(t, err, "Params: the source (custom) takes no parameters")
		_, err = client.Backfill(t.Context(), "nothing", nil)
		require.ErrorIs(t, err, dataflow.ErrNotFound)
		_, err = t.client(nil).Backfill(t.Context(), "n", nil)
		require.ErrorIs(t, err, dataflow.ErrNotRegistered)
		_, err = client.Pause(t.Context(), "n", "ann", "lunch")
		require.NoError(t, err)
		_, err = client.Backfill(t.Context(), "n", nil)
		require.ErrorIs(t, err, dataflow.ErrDisabled)
		require.Zero(t, t.number("select count(*) from dataflow_run"))

		run, err := client.Backfill(t.Context(), "appends", &dataflow.BackfillParams{Append: true})
		require.NoError(t, err)
		require.NotZero(t, run.ID)
		_, err = client.Backfill(t.Context(), "plain", &dataflow.BackfillParams{From: cursorAt(3)})
		require.NoError(t, err, "any source goes on at a cursor")
	})
}

// A worker whose source has lost the power refuses too, and does not read everything.
func TestClient_Backfill_RefusedByTheWorker(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(t.numbersFlow("n", ranged{n: 5}, dataflow.Heartbeat{}))
		run, err := client.Backfill(t.Context(), "n", &dataflow.BackfillParams{Until: cursorAt(2)})
		require.NoError(t, err)
		older := t.registered(t.numbersFlow("n", numbers{n: 5}, dataflow.Heartbeat{}))
		runs, err := older.Tick(t.Context())
		require.NoError(t, err)
		require.Equal(t, run.ID, runs[0].ID)
		require.Equal(t, dataflow.RunFailed, runs[0].State)
		require.Contains(t, runs[0].Error, "Until: the source (custom) cannot end a read there")
		require.Zero(t, t.number("select count(*) from numbers"))
	})
}

// What a run is given reaches the source, and another run with something else is not
// taken for it.
func TestTrigger_Params(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(t.numbersFlow("n", ranged{n: 3}, dataflow.Heartbeat{}))
		first, err := client.Enqueue(t.Context(), "n", &dataflow.TriggerOptions{Params: cursorAt(100)})
		require.NoError(t, err)
		require.Equal(t, "100", string(first.Params))
		for _, c := range []struct {
			params    string
			coalesced bool
		}{{" 100 ", true}, {"7", false}, {"", false}} {
			run, err := client.Enqueue(t.Context(), "n", &dataflow.TriggerOptions{Params: json.RawMessage(c.params)[:len(c.params):len(c.params)]})
			if c.params == "" {
				run, err = client.Enqueue(t.Context(), "n", nil)
			}
			require.NoError(t, err)
			require.Equal(t, c.coalesced, run.Coalesced)
		}
		runs, err := client.Tick(t.Context())
		require.NoError(t, err)
		require.Len(t, runs, 3)
		require.EqualValues(t, 600, t.number("select sum(n) from numbers"), "the first run has read all")
		require.Equal(t, "3", string(t.live(client, "n").Cursor), "it is one of the flow's own runs")
		_, err = client.Enqueue(t.Context(), "n", &dataflow.TriggerOptions{Params: json.RawMessage("x")})
		require.ErrorContains(t, err, "Params: x is not JSON")
	})
}

// A backfill that fails, or is cancelled, goes on where it was when it is tried again.
func TestClient_Backfill_Retry(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		broken := true
		flow := dataflow.NewFlow("n", ranged{n: 30}, dataflow.Map(func(_ context.Context, n int) (int, error) {
			if broken && n == 700 {
				return 0, dataflow.Permanent(errBroken)
			}
			return n, nil
		}), appendTo("numbers"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 3}})
		t.table("numbers")
		client := t.registered(flow)
		before := t.flowRecord(client)
		run, err := client.Backfill(t.Context(), "n", &dataflow.BackfillParams{Until: cursorAt(9), Params: cursorAt(100)})
		require.NoError(t, err)
		runs, err := client.Tick(t.Context())
		require.NoError(t, err)
		require.Equal(t, dataflow.RunFailed, runs[0].State)
		require.Equal(t, "6", string(runs[0].ToCursor))
		require.Equal(t, before, t.flowRecord(client), "it is no failure of the flow")

		broken = false
		retry, err := client.Retry(t.Context(), run.ID, "ann")
		require.NoError(t, err)
		require.Equal(t, dataflow.TriggerRetry, retry.Trigger)
		require.Equal(t, []string{run.Scope, "9", "100"}, []string{retry.Scope, string(retry.UntilCursor), string(retry.Params)})
		_, err = client.Cancel(t.Context(), retry.ID, "ann", "later")
		require.NoError(t, err)
		retry, err = client.Retry(t.Context(), retry.ID, "ann")
		require.NoError(t, err)
		same, err := client.Retry(t.Context(), run.ID, "bob")
		require.NoError(t, err)
		require.True(t, same.Coalesced, "one goes on with the backfill")
		runs, err = client.Tick(t.Context())
		require.NoError(t, err)
		require.Len(t, runs, 1)
		require.Equal(t, retry.ID, runs[0].ID)
		require.Equal(t, dataflow.Counters{Read: 3, Written: 3}, runs[0].Counters)
		require.EqualValues(t, 4500, t.number("select sum(n) from numbers"))
		require.Nil(t, t.live(client, "n").Cursor)
	})
}
