//go:build unix && chaos

package chaos_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// stopBatch is how long a batch takes in the tests that stop workers.
const stopBatch = 25 * time.Millisecond

// stopStage has one run. Undisturbed, it takes three leases.
func stopStage(t *testing.T, k kind, queue bool, lease time.Duration) *stage {
	t.Helper()
	rows := 20 * int64(3*lease/stopBatch)
	s := newStage(t, k, []flowSettings{{
		Name: "numbers", Queue: queue, Batch: 20, Chunk: rows, Limit: rows, Pace: stopBatch / 2, Hold: stopBatch / 2,
	}})
	s.start(1)
	return s
}

// A worker is stopped for three lease lengths, as on a machine that is migrated or swaps. It is
// stopped
//
//   - at any moment;
//   - at points where its open transaction has locked the run;
//   - just before such a transaction. Only the fence then keeps it from committing its batch
//     when it wakes up.
//
// Oracle: exact. Another worker goes on while it is stopped, as fast as after a kill. After it
// wakes up, it commits nothing under its old lease, and says once that its run was taken over.
func TestStopped(t *testing.T) {
	t.Parallel()
	for _, queue := range []bool{true, false} {
		points := []string{"transform/after", "checkpoint/uncommitted", anyMoment, "claim/uncommitted", "rescue/uncommitted", "write/after"}
		if !long() && !queue {
			points = points[:3]
		}
		for _, point := range points {
			t.Run(runtimeName(queue)+"/"+strings.ReplaceAll(point, "/", " "), func(t *testing.T) {
				t.Parallel()
				stopped(t, queue, point)
			})
		}
	}
}

func stopped(t *testing.T, queue bool, point string) {
	t.Helper()
	rng := dice(t)
	lease := scaled(2*time.Second, 10*time.Second)
	s := stopStage(t, onPostgres, queue, lease)
	f := newFleet(s, 2, workerSettings{Lease: lease})
	s.within(patience, "it works", func() bool { return s.holder() != "" })
	pause(t.Context(), time.Duration(rng.Int64N(int64(time.Second))))

	// These points are reached only after a worker has died.
	if strings.HasPrefix(point, "claim") || strings.HasPrefix(point, "rescue") {
		f.kill(f.slotOf(s.holder()))
	}
	w := f.stopOne(point)
	stoppedAt := time.Now()
	before := s.number(checkpoints)
	s.within(scaled(patience, lease+6*time.Second), "another worker goes on", func() bool { return s.number(checkpoints) > before })
	t.Logf("another worker went on after %s", time.Since(stoppedAt).Round(time.Millisecond))
	pause(t.Context(), 3*lease-time.Since(stoppedAt))
	f.signal(w, syscall.SIGCONT)
	s.finished(patience)
	s.exact()

	if strings.HasPrefix(point, "claim") || strings.HasPrefix(point, "rescue") {
		return // The stopped worker had no run to lose.
	}
	s.within(patience, "it says that its run was taken over", func() bool { return len(grep(w.log, takenOver)) > 0 })
	f.replace(f.slotOf(w.id))
	require.Len(t, grep(w.log, takenOver), s.losses(w))
}

// takenOver is the log line of a worker that has lost its run.
const takenOver = "run was taken over by another worker"

// losses is how often another worker claimed a run that a worker had. That is once, unless a slow
// machine gives the worker too little time to renew its lease.
func (s *stage) losses(w *worker) (n int) {
	s.Helper()
	holder := make(map[int64]string)
	for _, e := range s.log() {
		switch {
		case e.holding && holder[e.run] == w.id && e.worker != w.id:
			n++
			fallthrough
		case e.holding:
			holder[e.run] = e.worker
		case e.finished:
			delete(holder, e.run)
		}
	}
	require.Positive(s, n)
	return n
}

// anyMoment means that the test stops a worker at no particular point.
const anyMoment = "any moment"

// stopOne stops the first worker that reaches a point. At any moment, it stops a worker that has
// a run.
func (f *fleet) stopOne(point string) *worker {
	f.Helper()
	if point == anyMoment {
		w := f.in(f.slotOf(f.holder()))
		f.signal(w, syscall.SIGSTOP)
		return w
	}
	f.order(actionStop, point)
	f.within(patience, "a worker has stopped at "+point, func() bool { return f.obeyed(actionStop, point) })
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.workers {
		if len(grep(w.log, "stopping myself")) > 0 {
			return w
		}
	}
	f.Fatal("no worker says that it has stopped")
	return nil
}

// The only worker is stopped for three lease lengths, again and again. Oracle: exact. Nobody has
// taken its run over, so it goes on with it, and no attempt is spent.
func TestStopped_Alone(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			stoppedAlone(t, k)
		})
	}
}

func stoppedAlone(t *testing.T, k kind) {
	t.Helper()
	rng := dice(t)
	lease := scaled(time.Second, 3*time.Second)
	s := stopStage(t, k, k == onPostgres, lease)
	f := newFleet(s, 1, workerSettings{Lease: lease})
	s.within(patience, "it works", func() bool { return s.holder() != "" })
	for range scaled(2, 5) {
		pause(t.Context(), 200*time.Millisecond+time.Duration(rng.Int64N(int64(lease))))
		f.signal(f.in(0), syscall.SIGSTOP)
		pause(t.Context(), 3*lease)
		f.signal(f.in(0), syscall.SIGCONT)
	}
	s.finished(patience)
	s.exact()
	s.untroubled()
	require.Zero(t, s.number(`select count(*) from chaos_log where rescues > 0`))
	require.Empty(t, grep(f.in(0).log, takenOver))
}
