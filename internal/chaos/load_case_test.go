//go:build unix && chaos

package chaos_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The first run of a flow reads the numbers in eight ranges. A worker is killed every moment: while
// the run makes the ranges, works one, waits, and moves the flow's cursor. Oracle: the target, which
// has no unique key, holds each number once, each range has succeeded once, and the flow's cursor is
// where the source ended when the load began.
func TestFirstLoad(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, queue := range []bool{true, false} {
			t.Run(string(k)+"/"+runtimeName(queue), func(t *testing.T) {
				t.Parallel()
				firstLoad(t, k, queue)
			})
		}
	}
}

func firstLoad(t *testing.T, k kind, queue bool) {
	t.Helper()
	rng := dice(t)
	rows := scaled[int64](4_000, 40_000)
	s := newStage(t, k, []flowSettings{{Name: "numbers", Queue: queue, Batch: 50, Chunk: rows, Limit: rows, MaxBackfills: 3, FirstLoad: 8, Pace: 10 * time.Millisecond}})
	size := 2
	if k == onSQLite {
		size = 1
	}
	first := s.startOne("numbers", 0)
	f := newFleet(s, size, workerSettings{Lease: time.Second})
	for range scaled(2, 12) {
		s.within(patience, "it works", func() bool { return s.holder() != "" || s.number(unfinished) == 0 })
		pause(t.Context(), time.Duration(rng.Int64N(int64(700*time.Millisecond))))
		if worker := s.holder(); worker != "" && f.slotOf(worker) >= 0 {
			f.kill(f.slotOf(worker))
		}
	}
	s.finished(patience)
	require.Zero(t, s.number(`select count(*) from dataflow_run where state <> 'success'`), "runs that have failed")
	require.EqualValues(t, 8, s.number(`select count(*) from dataflow_run where trigger = 'first_load'`))
	require.EqualValues(t, 1, s.number(fmt.Sprintf(`select count(*) from dataflow_run where scope = '' and id = %d`, first.ID)))
	require.Equal(t, rows, s.number(`select count(*) from chaos_target`))
	require.Equal(t, rows, s.number(fmt.Sprintf(`select count(distinct n) from chaos_target where n between 1 and %d`, rows)))
	require.Equal(t, rows, s.number(`select cast(cast(cursor as text) as bigint) from dataflow_checkpoint where scope = ''`), "the flow's own cursor")
}
