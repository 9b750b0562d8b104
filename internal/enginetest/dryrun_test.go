package enginetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

// traces counts everything that a run leaves behind.
func (t *dbT) traces(table string) []int64 {
	t.Helper()
	return []int64{
		t.number("select count(*) from " + table), t.number("select count(*) from dataflow_run"), t.number("select count(*) from dataflow_dead_letter"),
		t.number("select coalesce(sum(seq), 0) from dataflow_checkpoint"), t.number("select coalesce(sum(read), 0) from dataflow_checkpoint"),
		t.number("select count(*) from dataflow_cursor_change"),
	}
}

// outcomes returns a report as text.
func outcomes(r *dataflow.DryRunReport) []string {
	lines := []string{}
	for _, rec := range r.Records {
		line := fmt.Sprintf("%s: %s -> %s %s", rec.Key, rec.Before, rec.After, rec.Outcome)
		if rec.Outcome == dataflow.DryRunBad {
			line += fmt.Sprintf(" %s %s %s", rec.Stage, rec.Action, rec.Error)
		}
		lines = append(lines, line)
	}
	return lines
}

// The next records go through source, transform and sink, and nothing is left behind.
func TestClient_DryRun(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.pickyTable("n <> 7")
		twice := dataflow.FlatMap(func(_ context.Context, n int) ([]int, error) {
			switch n {
			case 4:
				return nil, nil
			case 5:
				return nil, errBroken
			case 6:
				return []int{6, 60}, nil
			}
			return []int{n}, nil
		})
		flow := dataflow.NewFlow("hb", flawed(20, 3, 99), twice, appendTo("hb"), &dataflow.FlowOptions{
			Runtime: dataflow.Heartbeat{BatchSize: 1}, OnBadRecord: dataflow.DeadLetterUpTo(2), MaxAttempts: 1,
		})
		client := t.registered(flow)
		before := t.traces("hb")
		report, err := client.DryRun(t.Context(), "hb", &dataflow.DryRunParams{Limit: 8})
		require.NoError(t, err)
		lines := outcomes(report)
		require.Contains(t, lines[6], "7: 7 -> [7] bad write fail ")
		lines[6] = ""
		require.Equal(t, []string{
			"1: 1 -> [1] write", "2: 2 -> [2] write", `line 3: "seven;" -> [] bad read dead letter out of paper`, "4: 4 -> [] filtered",
			"5: 5 -> [] bad transform dead letter out of paper", "6: 6 -> [6 60] write", "", "8: 8 -> [8] write",
		}, lines)
		require.Equal(t, dataflow.Counters{Read: 8, Written: 4, Filtered: 1, Dropped: 1, DeadLettered: 2}, report.Counters)
		require.True(t, report.Written)
		require.True(t, report.More)
		require.Nil(t, report.From)
		require.Equal(t, "8", string(report.To))
		require.Equal(t, before, t.traces("hb"))

		t.setCursor(client, "hb", "17")
		before = t.traces("hb")
		report, err = client.DryRun(t.Context(), "hb", nil)
		require.NoError(t, err)
		require.Equal(t, []string{"18: 18 -> [18] write", "19: 19 -> [19] write", "20: 20 -> [20] write"}, outcomes(report))
		require.False(t, report.More)
		require.Equal(t, "17", string(report.From))
		report, err = client.DryRun(t.Context(), "hb", &dataflow.DryRunParams{From: json.RawMessage("null"), Limit: 1})
		require.NoError(t, err)
		require.Equal(t, []string{"1: 1 -> [1] write"}, outcomes(report))
		report, err = client.DryRun(t.Context(), "hb", &dataflow.DryRunParams{From: cursorAt(20)})
		require.NoError(t, err)
		require.Empty(t, report.Records)
		require.Equal(t, before, t.traces("hb"))
	})
}

// An upsert reports which records are new, which replace others, and which are there
// already.
func TestClient_DryRun_Upsert(t *testing.T) {
	t.Parallel()
	type row struct {
		ID int
		V  string
	}
	onBoth(t, func(t *dbT) {
		target := sqltable.Upsert[row]("rows", "id")
		if t.isPostgres {
			target = pgtable.Upsert[row]("rows", "id")
		}
		require.NoError(t, t.exec("create table rows (id integer primary key, v text check (v <> 'v5'))"))
		require.NoError(t, t.exec("insert into rows (id, v) values (1, 'v1'), (2, 'old')"))
		flow := dataflow.NewFlow("f", numbers{n: 5}, dataflow.Map(func(_ context.Context, n int) (row, error) { return row{n, fmt.Sprint("v", n)}, nil }), target, nil)
		client := t.registered(flow)
		before := t.traces("rows")
		report, err := client.DryRun(t.Context(), "f", nil)
		require.NoError(t, err)
		got := []dataflow.DryRunOutcome{}
		for _, r := range report.Records {
			got = append(got, r.Outcome)
		}
		require.Equal(t, []dataflow.DryRunOutcome{"redundant", "update", "insert", "insert", "bad"}, got)
		require.Equal(t, dataflow.Counters{Read: 5, Written: 3, Redundant: 1, Updated: 1, Dropped: 1}, report.Counters)
		require.Equal(t, dataflow.Fail, report.Records[4].Action, "the flow has no policy")
		require.Equal(t, before, t.traces("rows"))
		require.Equal(t, "old", t.text("select v from rows where id = 2"))
	})
}

// A sink outside the database is not called.
func TestClient_DryRun_Elsewhere(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		far := &elsewhere{}
		called := false
		client := t.registered(
			dataflow.NewFlow("far", numbers{n: 2}, dataflow.Identity[int](), dataflow.ToFenced(far), nil),
			dataflow.NewFlow("to", &acking{ranged: ranged{n: 3}}, dataflow.Identity[int](), dataflow.To(dataflow.SinkFunc[int](func(context.Context, dataflow.SinkBatch[int]) error {
				called = true
				return nil
			})), nil))
		for name, n := range map[string]int64{"far": 2, "to": 3} {
			report, err := client.DryRun(t.Context(), name, &dataflow.DryRunParams{Limit: 6})
			require.NoError(t, err)
			require.False(t, report.Written)
			require.Equal(t, "1: 1 -> [1] write", outcomes(report)[0])
			require.Equal(t, n, report.Counters.Written)
		}
		require.Empty(t, far.rows)
		require.Zero(t, far.fence)
		require.False(t, called)
	})
}

func TestClient_DryRun_Refused(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		var client *dataflow.Client
		var during error
		inside := dataflow.NewFlow("inside", numbers{n: 1}, dataflow.Map(func(ctx context.Context, n int) (int, error) {
			_, during = client.DryRun(ctx, "inside", nil)
			return n, nil
		}), dataflow.ToTx(discard{}), nil)
		panics := dataflow.NewFlow("panics", numbers{n: 1}, dataflow.Map(func(context.Context, int) (int, error) { panic("of the map") }), dataflow.ToTx(discard{}), nil)
		breaks := dataflow.NewFlow("breaks", readFunc(func(_ context.Context, _ dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
			yield(dataflow.Item[int, int]{}, errBroken)
		}), dataflow.Identity[int](), dataflow.ToTx(discard{}), nil)
		client = t.registered(inside, panics, breaks)
		_, err := t.execute(client, "inside")
		require.NoError(t, err)
		require.ErrorIs(t, during, dataflow.ErrAlreadyRunning)
		require.ErrorContains(t, during, "this process works run 1, with the same source")
		_, err = client.DryRun(t.Context(), "breaks", nil)
		require.ErrorIs(t, err, errBroken)
		require.ErrorContains(t, err, `dataflow: dry run of flow "breaks": read: `)
		_, err = client.DryRun(t.Context(), "panics", nil)
		var pe *dataflow.PanicError
		require.ErrorAs(t, err, &pe)
		for _, p := range []*dataflow.DryRunParams{{Limit: -1}, {Limit: 10_001}, {From: json.RawMessage(`"x"`)}, {Params: json.RawMessage("1")}} {
			_, err = client.DryRun(t.Context(), "breaks", p)
			var ce *dataflow.ConfigError
			require.ErrorAs(t, err, &ce)
			requirePublic(t, err)
		}
		_, err = t.client(nil).DryRun(t.Context(), "inside", nil)
		require.ErrorIs(t, err, dataflow.ErrNotRegistered)
		_, err = client.DryRun(t.Context(), "nothing", nil)
		require.ErrorIs(t, err, dataflow.ErrNotFound)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("enough"))
		_, err = client.DryRun(ctx, "panics", nil)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, client.Stop(context.WithoutCancel(t.Context())))
		_, err = client.DryRun(t.Context(), "panics", nil)
		require.ErrorIs(t, err, dataflow.ErrStopped)
	})
}
