//go:build unix && chaos

package chaos_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The River job of a dead worker stays "running" until River rescues it, an hour later. Here it
// comes back while another job works the run, between two slices, and after the run has ended.
// Oracle: exact. The job finds nothing to do, or works the run in place of the job that had
// replaced it, and never beside it.
func TestRescuedJob(t *testing.T) {
	t.Parallel()
	rng := dice(t)
	lease := scaled(time.Second, 5*time.Second)
	rows := int64(scaled(6_000, 40_000))
	s := newStage(t, onPostgres, []flowSettings{{
		Name: "numbers", Queue: true, Batch: 10, Chunk: rows / 2, Limit: rows, Pace: 10 * time.Millisecond, Hold: 5 * time.Millisecond,
	}})
	s.start(2)
	f := newFleet(s, 2, workerSettings{Lease: lease, Slice: 200 * time.Millisecond})
	// Does what River's rescuer does, but at once, and only for a job that is no longer its
	// run's current job.
	const rescue = `
		update river_job set state = 'available', scheduled_at = now(),
			errors = array_append(errors, '{"at": "2026-01-01T00:00:00Z", "attempt": 1, "error": "Stuck job rescued by Rescuer", "trace": "TODO"}'::jsonb)
		where state = 'running' and id not in (select river_job_id from dataflow_run where state in ('pending', 'in_progress'))
			and attempted_at < now() - interval '500 milliseconds'`
	rescued := int64(0)
	for range scaled(3, 10) {
		s.within(patience, "it works", func() bool { return s.holder() != "" || s.number(unfinished) == 0 })
		pause(t.Context(), time.Duration(rng.Int64N(int64(500*time.Millisecond))))
		worker := s.holder()
		if worker == "" || f.slotOf(worker) < 0 {
			continue
		}
		f.kill(f.slotOf(worker))
		for tries, found := 0, rescued; tries < 4 || rescued == found && s.number(unfinished) > 0; tries++ {
			pause(t.Context(), lease/2+time.Duration(rng.Int64N(int64(lease/4))))
			res, err := s.db.ExecContext(t.Context(), rescue)
			require.NoError(t, err)
			n, err := res.RowsAffected()
			require.NoError(t, err)
			rescued += n
		}
	}
	s.finished(patience)
	pause(t.Context(), 600*time.Millisecond)
	s.exec(rescue)
	s.within(patience, "no job is left", func() bool {
		return s.number(`select count(*) from river_job where state <> 'completed'`) == 0
	})
	require.Positive(t, rescued)
	t.Logf("%d jobs were rescued, of %d", rescued, s.number(`select count(*) from river_job`))
	s.exact()
	s.untroubled()
}
