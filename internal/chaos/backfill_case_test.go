//go:build unix && chaos

package chaos_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// Two flows, one worked by River and one without, read numbers. Each reads the numbers up to its
// limit by its own runs, and as many after that by eight ranges, up to four at once. A worker is
// killed every two seconds. Oracle:
//
//   - The target, which has no unique key, holds each number once.
//   - Each range has read as many numbers as its bounds span.
//   - By the log, at most one own run and four backfills of a flow were in progress at once, and
//     own runs began while backfills were in progress.
func TestBackfills(t *testing.T) {
	t.Parallel()
	const ranges, atOnce, runs = 8, 4, 3
	rng := dice(t)
	rows := scaled[int64](18_000, 192_000)
	flow := flowSettings{
		Batch: scaled(50, 500), Chunk: rows / runs, Limit: rows, MaxBackfills: atOnce,
		Pace: scaled(20*time.Millisecond, 60*time.Millisecond), Hold: scaled(10*time.Millisecond, 30*time.Millisecond),
	}
	flows := []flowSettings{flow, flow}
	flows[0].Name, flows[0].Queue, flows[1].Name = "jobs", true, "beats"
	s := newStage(t, onPostgres, flows)
	for _, f := range flows {
		made, err := s.client.BackfillRanges(t.Context(), f.Name, ranges, &dataflow.BackfillParams{
			From: json.RawMessage(fmt.Sprint(rows)), Until: json.RawMessage(fmt.Sprint(2 * rows)), Append: true,
		})
		require.NoError(t, err)
		require.Len(t, made, ranges)
	}
	s.start(runs)
	newFleet(s, 4, workerSettings{Conns: 20, Lease: scaled(2*time.Second, 0), Slice: time.Second}).killUntilFinished(rng, scaled(8, 1000), scaled(patience, 5*time.Minute))

	require.Zero(t, s.number(`select count(*) from dataflow_run where state <> 'success'`), "runs that have failed")
	for _, f := range flows {
		where := fmt.Sprintf(`where flow = '%s'`, f.Name)
		require.Equal(t, 2*rows, s.number(`select count(*) from chaos_target `+where), "flow %s: rows", f.Name)
		require.Equal(t, 2*rows, s.number(`select count(distinct n) from chaos_target `+where+fmt.Sprintf(` and n between 1 and %d`, 2*rows)), "flow %s: different rows", f.Name)
		of := fmt.Sprintf(`where flow_id = (select id from dataflow_flow where name = '%s')`, f.Name)
		for _, table := range []string{"dataflow_run", "dataflow_checkpoint"} {
			for _, scope := range []string{"=", "<>"} {
				for _, counter := range []string{"read", "written"} {
					require.Equal(t, rows, s.number(fmt.Sprintf(`select sum(%s) from %s %s and scope %s ''`, counter, table, of, scope)), "flow %s: %s by %s with scope %s ''", f.Name, counter, table, scope)
				}
			}
		}
		require.Equal(t, rows, s.number(`select cast(cast(cursor as text) as bigint) from dataflow_checkpoint `+of+` and scope = ''`), "flow %s: its own cursor", f.Name)
		require.EqualValues(t, ranges, s.number(`select count(*) from dataflow_run `+of+` and scope <> '' and read = cast(cast(until_cursor as text) as bigint) - cast(cast(from_cursor as text) as bigint)`),
			"flow %s: ranges that have read their part", f.Name)
	}
	log := s.log()
	most := s.checkLog(log)
	require.Greater(t, most, 1, "backfills at once")
	beside := 0
	for _, e := range log {
		if e.holding && !e.backfill && s.backfillsAt(log, e) > 0 {
			beside++
		}
	}
	require.Positive(t, beside, "own runs that began while backfills were in progress")
	t.Logf("%d backfills at once at the most; %d times an own run began beside some; take-over %s", most, beside, takeovers(log))
}

// backfillsAt returns how many backfills of a run's flow were in progress when the run began.
func (s *stage) backfillsAt(log []entry, began entry) int {
	s.Helper()
	in := make(map[int64]bool)
	for _, e := range log {
		switch {
		case e == began:
			return len(in)
		case e.flow != began.flow || e.event == eventCheckpoint:
		case e.holding && e.backfill:
			in[e.run] = true
		default:
			delete(in, e.run)
		}
	}
	return len(in)
}
