//go:build unix && chaos

package chaos_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// killPoints are all points at which a worker dies. A rescue happens only after another worker
// has died.
func killPoints(queue bool) []string {
	points := []string{"write/before", "write/after", "checkpoint/before", "renew/before", "renew/after"}
	for _, tx := range []string{"claim", "checkpoint", "slice", "finish", "rescue"} {
		if tx == "slice" && !queue {
			continue
		}
		points = append(points, tx+"/before", tx+"/uncommitted", tx+"/committed")
	}
	slices.Sort(points)
	return slices.Compact(points)
}

// A worker dies at each point of a run, in a random order. Oracle: exact. Wherever the worker
// died, the run goes on after the lease and the time to notice.
func TestKillPoints(t *testing.T) {
	t.Parallel()
	for _, queue := range []bool{true, false} {
		t.Run(runtimeName(queue), func(t *testing.T) {
			t.Parallel()
			for _, k := range kinds {
				t.Run(string(k), func(t *testing.T) {
					t.Parallel()
					killAtPoints(t, k, queue)
				})
			}
		})
	}
}

func runtimeName(queue bool) string {
	if queue {
		return "JobQueue"
	}
	return "Heartbeat"
}

func killAtPoints(t *testing.T, k kind, queue bool) {
	t.Helper()
	const (
		lease = time.Second
		slice = 300 * time.Millisecond
	)
	rng := dice(t)
	// A chunk is no multiple of the batch, so that the run sees the chunk's end in its last
	// batch. Otherwise a slice could end exactly there, and the run would go on with the next
	// chunk.
	s := newStage(t, k, []flowSettings{{
		Name: "numbers", Queue: queue, Batch: 20, Chunk: 390, Pace: 20 * time.Millisecond, Hold: 10 * time.Millisecond,
	}})
	size := 2
	if k == onSQLite {
		size = 1
	}
	f := newFleet(s, size, workerSettings{Lease: lease, Slice: slice})
	runs := 0
	working := func() {
		if s.number(unfinished) == 0 {
			s.startOne(s.flows[0].Name, runs)
			runs++
		}
	}
	const signs = `select count(*) from chaos_log where event in ('checkpoint', 'success')`
	for range scaled(1, 5) {
		points := killPoints(queue)
		rng.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
		for _, point := range points {
			if strings.HasPrefix(point, "rescue") {
				f.order(actionKill, "checkpoint/uncommitted")
			}
			f.order(actionKill, point)
			s.within(patience, "a worker has died at "+point, func() bool { working(); return f.obeyed(actionKill, point) })
			died, before := time.Now(), s.number(signs)
			s.within(patience, "life goes on after a death at "+point, func() bool { working(); return s.number(signs) > before })
			if took := time.Since(died); took > 2*lease {
				t.Logf("%s: %s", point, took.Round(time.Millisecond))
			}
		}
	}
	s.finished(patience)
	log := s.exact()
	if long() {
		require.LessOrEqual(t, takeovers(log).percentile(100), 5*lease)
	}
	t.Logf("%d runs, %d deaths", runs, f.starts-size)
}
