//go:build unix && chaos

package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	killEvery = 2 * time.Second

	// takeoverWithin is what a user is told of the default settings. The short form does not
	// insist on it, because it runs beside other tests, on any machine.
	takeoverWithin = 15 * time.Second
)

// killUntilFinished kills whoever works first, and then a random worker every two seconds,
// until all runs have ended or so many were killed.
func (f *fleet) killUntilFinished(rng *rand.Rand, most int, patience time.Duration) {
	f.Helper()
	deadline := time.Now().Add(patience)
	f.within(30*time.Second, "somebody works", func() bool { return f.number(checkpoints) > 0 })
	f.kill(max(f.slotOf(f.holder()), 0))
	tick := time.NewTicker(killEvery)
	defer tick.Stop()
	for kills := 1; kills < most && f.number(unfinished) > 0 && time.Now().Before(deadline); kills++ {
		<-tick.C
		f.kill(rng.IntN(len(f.workers)))
	}
	f.finished(max(time.Until(deadline), 0))
	f.Logf("%d workers were started", f.starts)
}

// A flow's worker is killed again and again, at any moment. Oracle: the target is the source;
// the run goes on elsewhere within 15 s of each kill, with the default settings.
func TestKill(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			killRandomly(t, k)
		})
	}
}

func killRandomly(t *testing.T, k kind) {
	t.Helper()
	rng := dice(t)
	size, most, rows := 4, scaled(6, 1000), scaled[int64](6_000, 300_000)
	f := flowSettings{
		Name: "numbers", Queue: true, Batch: scaled(50, 500), Chunk: rows, Limit: rows,
		Pace: scaled(20*time.Millisecond, 60*time.Millisecond), Hold: scaled(20*time.Millisecond, 30*time.Millisecond),
	}
	if k == onSQLite { // A single worker, which must wait for its predecessor's lease to lapse.
		size, most = 1, scaled(2, 1000)
		// It has the database to itself for less than half of the time: else whoever wants to
		// note a kill comes to write when the run has ended.
		f.Pace, f.Hold = scaled(f.Pace, f.Pace/5), f.Hold/5
	}
	s := newStage(t, k, []flowSettings{f})
	s.start(1)
	newFleet(s, size, workerSettings{}).killUntilFinished(rng, most, scaled(90*time.Second, 5*time.Minute))
	took := takeovers(s.exact())
	require.NotEmpty(t, took)
	if long() {
		require.LessOrEqual(t, took.percentile(100), takeoverWithin)
	}
}

// As TestKill, with many flows, each of several runs, and more of them than the workers have
// room for. Oracle: exact for each flow; never two runs of a flow in progress, by the log. A run
// that was put back may have to wait for another one of its flow, or for room.
func TestKill_ManyFlows(t *testing.T) {
	t.Parallel()
	rng := dice(t)
	const runs = 3
	flows := make([]flowSettings, scaled(40, 200))
	for i := range flows {
		chunk := int64(300 + 10*(i%10))
		flows[i] = flowSettings{
			Name: fmt.Sprintf("numbers %d", i), Queue: i%2 == 0, Batch: 50, Chunk: chunk, Limit: runs * chunk,
			Pace: 150 * time.Millisecond, Hold: 10 * time.Millisecond,
		}
	}
	s := newStage(t, onPostgres, flows)
	s.start(runs)
	newFleet(s, 4, workerSettings{Conns: 30}).killUntilFinished(rng, scaled(6, 60), scaled(2*time.Minute, 5*time.Minute))
	require.NotEmpty(t, takeovers(s.exact()))
}
