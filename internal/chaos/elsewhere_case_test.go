//go:build unix && chaos

package chaos_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// elsewhereFlow returns a flow with its target in the second database.
func elsewhereFlow(queue bool, rows, chunk int64) flowSettings {
	return flowSettings{Name: "numbers", Queue: queue, Elsewhere: true, Batch: 20, Chunk: chunk, Limit: rows, Pace: 20 * time.Millisecond}
}

// As TestKill, with the target in a second database. It commits a batch before our database
// commits the checkpoint, and kills often fall between the two. Oracle: the target, which has no
// unique key, equals the source. The counters and both databases' cursors agree with it.
func TestElsewhere_Kill(t *testing.T) {
	t.Parallel()
	for _, queue := range []bool{true, false} {
		t.Run(runtimeName(queue), func(t *testing.T) {
			t.Parallel()
			rng := dice(t)
			rows := scaled[int64](6_000, 30_000)
			s := newStage(t, onPostgres, []flowSettings{elsewhereFlow(queue, rows, rows)})
			s.start(1)
			newFleet(s, scaled(2, 4), workerSettings{Lease: scaled(2*time.Second, 0)}).killUntilFinished(rng, scaled(6, 1000), scaled(patience, 5*time.Minute))
			took := takeovers(s.exact())
			require.NotEmpty(t, took)
			if long() {
				require.LessOrEqual(t, took.percentile(100), takeoverWithin)
			}
		})
	}
}

// sinkAhead marks a point where a worker dies after it has claimed a run whose last batch is
// committed in the second database, but not in ours.
const sinkAhead = "sink ahead, "

// A worker dies at each point around the two commits, and at each point of the catch-up that
// brings our checkpoint up to the sink's. Oracle: exact, as above. The second database was ahead
// of ours, and never by more than one batch.
func TestElsewhere_KillPoints(t *testing.T) {
	t.Parallel()
	for _, queue := range []bool{true, false} {
		t.Run(runtimeName(queue), func(t *testing.T) {
			t.Parallel()
			elsewhereAtPoints(t, queue)
		})
	}
}

func elsewhereAtPoints(t *testing.T, queue bool) {
	t.Helper()
	points := []string{"sinkclaim/before", "sinkclaim/committed", "checkpoint/before", "checkpoint/uncommitted", "checkpoint/committed"}
	for _, point := range points {
		points = append(points, sinkAhead+point)
	}
	points = append(points, "sink/before", "sink/uncommitted", "sink/committed")
	rng := dice(t)
	s := newStage(t, onPostgres, []flowSettings{elsewhereFlow(queue, 0, 400)})
	f := newFleet(s, 2, workerSettings{Lease: time.Second, Slice: 300 * time.Millisecond})
	runs, ahead, wanted := 0, 0, 0
	die := func(point string) {
		f.order(actionKill, point)
		s.within(patience, "a worker has died at "+point, func() bool {
			if s.number(unfinished) == 0 {
				s.startOne("numbers", runs)
				runs++
			}
			return f.obeyed(actionKill, point)
		})
	}
	for range scaled(1, 4) {
		rng.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
		for _, point := range points {
			point, sinkIsAhead := strings.CutPrefix(point, sinkAhead)
			if sinkIsAhead {
				wanted++
				die("sink/committed")
				const cursor = `select coalesce(max((cursor #>> '{}')::bigint), 0) from dataflow_checkpoint`
				by := s.sinkCursor("numbers") - s.number(cursor)
				require.Contains(t, []int64{0, 20}, by, "0 if another worker has already caught up")
				ahead += int(by / 20)
			}
			die(point)
			signs := s.number(checkpoints)
			s.within(patience, "life goes on after a death at "+point, func() bool { return s.number(checkpoints) > signs || s.number(unfinished) == 0 })
		}
	}
	s.finished(patience)
	s.exact()
	require.Positive(t, ahead, "how often the sink was seen one batch ahead")
	t.Logf("%d runs, %d deaths, %d of %d times a batch was seen in the second database alone", runs, f.starts-2, ahead, wanted)
}

// A worker is stopped in its transaction in the second database, at one of two points:
//
//   - before the statement that the fence must refuse when the worker wakes up;
//   - after the statement, when the worker has locked the flow's checkpoint there.
//
// Oracle: exact. Another worker goes on while the first is stopped; in the second case it needs
// that lock. After the first worker wakes up, it commits nothing in either database, and says
// once that its run was taken over.
func TestElsewhere_Stopped(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"sink/before", "sink/uncommitted"} {
		t.Run(strings.ReplaceAll(point, "/", " "), func(t *testing.T) {
			t.Parallel()
			elsewhereStopped(t, point)
		})
	}
}

func elsewhereStopped(t *testing.T, point string) {
	t.Helper()
	const lease = 3 * time.Second
	rows := int64(20 * 3 * lease / (20 * time.Millisecond))
	s := newStage(t, onPostgres, []flowSettings{elsewhereFlow(true, rows, rows)})
	s.start(1)
	f := newFleet(s, 2, workerSettings{Lease: lease})
	s.within(patience, "it works", func() bool { return s.number(checkpoints) > 0 })
	w := f.stopOne(point)
	stoppedAt, before := time.Now(), s.number(checkpoints)
	s.within(scaled(patience, takeoverWithin), "another worker goes on", func() bool { return s.number(checkpoints) > before })
	t.Logf("another worker went on after %s", time.Since(stoppedAt).Round(time.Millisecond))
	f.signal(w, syscall.SIGCONT)
	s.within(patience, "it says that its run was taken over", func() bool { return len(grep(w.log, takenOver)) > 0 })
	s.finished(patience)
	s.exact()
	require.Len(t, grep(w.log, takenOver), s.losses(w))
}
