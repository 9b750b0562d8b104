//go:build unix && chaos

package chaos_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Workers are replaced one after the other, as in a rolling deploy: SIGTERM, Stop with a
// deadline, and a new process. Oracle: exact. No attempt is spent and no run is rescued. In the
// long form, the time between two checkpoints is at most 2 s (p99) and 6 s (the longest).
func TestDeploy(t *testing.T) {
	t.Parallel()
	for _, queue := range []bool{true, false} {
		t.Run(runtimeName(queue), func(t *testing.T) {
			t.Parallel()
			rng := dice(t)
			every, times := 3*time.Second, scaled(3, 20)
			batch := 30 * time.Millisecond
			rows := 10 * int64(time.Duration(times+1)*every/batch)
			flow := flowSettings{Queue: queue, Batch: 10, Chunk: rows, Limit: rows, Pace: batch / 2, Hold: batch / 2}
			flows := []flowSettings{flow, flow}
			flows[0].Name, flows[1].Name = "first", "second"
			s := newStage(t, onPostgres, flows)
			s.start(1)
			f := newFleet(s, 3, workerSettings{})
			s.within(patience, "it works", func() bool { return s.holder() != "" })

			tick := time.NewTicker(every)
			defer tick.Stop()
			handed := 0
			for slot := range times {
				<-tick.C
				if rng.IntN(2) == 0 || s.number(`select count(*) from dataflow_run where state = 'in_progress'`) == 0 {
					f.replace(slot % len(f.workers))
					continue
				}
				f.replace(max(f.slotOf(s.holder()), 0))
				handed++
			}
			s.finished(patience)
			log := s.exact()
			s.untroubled()
			require.Zero(t, s.number(`select count(*) from chaos_log where rescues > 0`))
			stood := gaps(log)
			t.Logf("%d deploys, at least %d of a worker with a run", times, handed)
			if long() {
				require.LessOrEqual(t, stood.percentile(99), 2*time.Second)
				require.LessOrEqual(t, stood.percentile(100), 6*time.Second)
			}
		})
	}
}
