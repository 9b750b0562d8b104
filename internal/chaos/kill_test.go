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

	// takeoverWithin is what the documentation promises for the default settings. The short form
	// does not check it, because it runs beside other tests on any machine.
	takeoverWithin = 15 * time.Second
)

// killUntilFinished kills the worker that has the first run, and then a random worker every two
// seconds, until all runs have ended or enough workers were killed.
func (f *fleet) killUntilFinished(rng *rand.Rand, most int, d time.Duration) {
	f.Helper()
	deadline := time.Now().Add(d)
	first := -1
	f.within(patience, "somebody works", func() bool {
		first = f.slotOf(f.holder())
		return first >= 0 && f.number(checkpoints) > 0
	})
	f.kill(first)
	tick := time.NewTicker(killEvery)
	defer tick.Stop()
	for kills := 1; kills < most && f.number(unfinished) > 0 && time.Now().Before(deadline); kills++ {
		<-tick.C
		f.kill(rng.IntN(len(f.workers)))
	}
	f.finished(max(time.Until(deadline), 0))
	f.Logf("%d workers were started", f.starts)
}

// Workers are killed again and again, at any moment. Oracle: the target equals the source. In the
// long form, with the default settings, another worker goes on within 15 s of each kill.
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
	if k == onSQLite { // A single worker. It must wait until its predecessor's lease has lapsed.
		size, most = 1, scaled(2, 1000)
		// The worker locks the database for less than half of the time. Otherwise the test could
		// not write a kill to the log before the run has ended.
		f.Pace, f.Hold = scaled(f.Pace, f.Pace/5), f.Hold/5
	}
	s := newStage(t, k, []flowSettings{f})
	s.start(1)
	newFleet(s, size, workerSettings{}).killUntilFinished(rng, most, scaled(patience, 5*time.Minute))
	took := takeovers(s.exact())
	require.NotEmpty(t, took)
	if long() {
		require.LessOrEqual(t, took.percentile(100), takeoverWithin)
	}
}

// As TestKill, with many flows of several runs each, and more runs than the workers can work at
// once. Oracle: exact for each flow. By the log, never two runs of a flow are in progress. A
// rescued run may have to wait for another run of its flow, or for a free worker, so the time of
// a take-over is not checked.
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
	newFleet(s, 4, workerSettings{Conns: 30}).killUntilFinished(rng, scaled(6, 60), scaled(patience, 5*time.Minute))
	require.NotEmpty(t, takeovers(s.exact()))
}
