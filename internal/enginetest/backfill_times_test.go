package enginetest_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
)

// daily is a source of numbers, of which n is of the day n.
type daily struct{ ranged }

func onDay(n int) time.Time { return time.Date(2026, 11, n, 0, 0, 0, 0, time.UTC) }

func (s daily) SeekTime(_ context.Context, r dataflow.Request[int], before time.Time) (int, bool, error) {
	n := min(before.Add(-1).Day(), s.n)
	return n, before.After(onDay(1)) && r.Params == nil, nil
}

// A backfill of times reads the records of these times, through a source made from parameters too.
func TestClient_BackfillTimes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		source := dataflow.Parametric(func(undated bool) (dataflow.Source[int, int], error) {
			if undated {
				return ranged{n: 20}, nil
			}
			return daily{ranged{n: 20}}, nil
		})
		client := t.registered(t.numbersFlow("n", source, dataflow.Heartbeat{}), dataflow.NewFlow("undated", memory.Slice([]int{1}), dataflow.Identity[int](), appendTo("numbers"),
			&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}}))
		read := func(p *dataflow.BackfillParams) int64 {
			p.Append = true
			run, err := client.Backfill(t.Context(), "n", p)
			require.NoError(t, err)
			run, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
			require.NoError(t, err)
			return run.Counters.Read
		}
		require.EqualValues(t, 2, read(&dataflow.BackfillParams{FromTime: onDay(3), UntilTime: onDay(5)}))
		require.EqualValues(t, 18, read(&dataflow.BackfillParams{FromTime: onDay(3)}))
		require.EqualValues(t, 4, read(&dataflow.BackfillParams{UntilTime: onDay(5)}))
		require.EqualValues(t, 3, read(&dataflow.BackfillParams{From: cursorAt(1), UntilTime: onDay(5)}))
		require.EqualValues(t, 20, read(&dataflow.BackfillParams{FromTime: onDay(1)}), "from before the first record on")

		ranges, err := client.BackfillRanges(t.Context(), "n", 1, &dataflow.BackfillParams{FromTime: onDay(3), UntilTime: onDay(5), Append: true})
		require.NoError(t, err)
		require.JSONEq(t, "2", string(ranges[0].FromCursor))
		require.JSONEq(t, "4", string(ranges[0].UntilCursor))

		for want, p := range map[string]*dataflow.BackfillParams{
			"FromTime: From is set too: set one of them":                                                                  {From: cursorAt(1), FromTime: onDay(3)},
			"UntilTime: Until is set too: set one of them":                                                                {Until: cursorAt(1), UntilTime: onDay(3)},
			"UntilTime: 2026-11-03T00:00:00Z is not after FromTime, 2026-11-03T00:00:00Z":                                 {FromTime: onDay(3), UntilTime: onDay(3)},
			"UntilTime: the source has no records before 2026-11-01T00:00:00Z":                                            {UntilTime: onDay(1)},
			"UntilTime: the source has no records from 2026-11-25T00:00:00Z to 2026-11-26T00:00:00Z":                      {FromTime: onDay(25), UntilTime: onDay(26)},
			"FromTime: the source (custom) cannot find the place of a time: it lacks the power TimeSeeker: give a cursor": {FromTime: onDay(2), Params: json.RawMessage("true")},
			"Params: 7 is not a bool": {FromTime: onDay(2), Params: json.RawMessage("7")},
		} {
			p.Append = true
			_, err := client.Backfill(t.Context(), "n", p)
			var ce *dataflow.ConfigError
			require.ErrorAs(t, err, &ce, want)
			require.ErrorContains(t, err, want)
		}
		_, err = client.Backfill(t.Context(), "undated", &dataflow.BackfillParams{FromTime: onDay(2), Append: true})
		require.ErrorContains(t, err, "FromTime: the source (memory.slice) cannot find the place of a time")
	})
}
