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

// Twelve writers insert and update rows, and keep some of their transactions open, while a flow reads the
// rows in eight ranges, and then what has changed. A worker is killed every moment, also while the flow goes
// from the one to the other.
//
// Oracle: the target has each row in its last version, and no row ever went back to an older one.
func TestFirstLoad_Changes(t *testing.T) {
	t.Parallel()
	for _, elsewhere := range []bool{false, true} {
		name := "in the same database"
		if elsewhere {
			name = "in another database"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			firstLoadOfVersions(t, elsewhere)
		})
	}
}

func firstLoadOfVersions(t *testing.T, elsewhere bool) {
	t.Helper()
	rng := dice(t)
	s := newStage(t, onPostgres, []flowSettings{{Name: "versions", Batch: 50, MaxBackfills: 3, FirstLoad: 8, Pace: 10 * time.Millisecond, Versions: true, Elsewhere: elsewhere}})
	rows := scaled[int64](4_000, 40_000)
	s.exec(fmt.Sprintf(`insert into chaos_version (updated_at) select now() - n * interval '1 second' from generate_series(1, %d) n`, rows))
	written, enough := make(chan *inserted, 1), make(chan struct{})
	seed := rng.Uint64()
	go func() { written <- writeVersions(t.Context(), s.url, seed, enough, rows) }()
	first := s.startOne("versions", 0)
	f := newFleet(s, 2, workerSettings{Lease: time.Second})
	for i := range scaled(4, 30) { // the later ones come while runs read what has changed
		before := s.number(checkpoints)
		s.within(patience, "it goes on", func() bool { s.followOn(i + 1); return s.number(checkpoints) > before })
		pause(t.Context(), time.Duration(rng.Int64N(int64(300*time.Millisecond))))
		f.killAny(rng)
	}
	s.within(patience, "the first run has ended", func() bool {
		return s.number(fmt.Sprintf(`select count(*) from dataflow_run where id = %d and state = 'success'`, first.ID)) == 1
	})
	close(enough)
	did := <-written
	require.NoError(t, did.err)
	target := s.db
	if elsewhere {
		target = s.elsewhere
	}
	s.followOn(1_000)
	s.finished(patience)
	require.Zero(t, s.number(`select count(*) from dataflow_run where state <> 'success'`), "runs that have failed")
	require.EqualValues(t, 8, s.number(`select count(*) from dataflow_run where trigger = 'first_load'`))
	require.Equal(t, s.sumOf(s.db, "chaos_version"), s.sumOf(target, "chaos_copy"))
	require.Zero(t, s.numberIn(target, `select count(*) from chaos_back`), "rows went back to an older version")
	s.checkLog(s.log())
	t.Logf("%d transactions, %d of them kept open, the longest %s; %d rolled back; %d rows at the end; %d runs; %d workers were started",
		did.committed, did.held, did.longest.Round(time.Millisecond), did.rolledBack, s.number(`select count(*) from chaos_version`), s.number(`select count(*) from dataflow_run`), f.starts)
}
