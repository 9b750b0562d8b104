//go:build unix && chaos

package chaos_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// A poison message of one flow ends the process. The other flows have long batches, and their
// workers die with it. Oracle:
//
//   - The flow's run fails after MaxRescues deaths, and its error names the cursor before the
//     batch.
//   - The target holds every record up to that cursor once.
//   - The other flows succeed, and are not suspects for long.
func TestPoison(t *testing.T) {
	t.Parallel()
	const poison, batch = 777, 50
	healthy := scaled[int64](500, 2_000)
	flows := []flowSettings{{Name: "poisoned", Queue: true, Batch: batch, Chunk: 2000, Limit: 2000, Poison: poison, Pace: 5 * time.Millisecond}}
	for i := range 6 {
		flows = append(flows, flowSettings{
			Name: fmt.Sprintf("healthy %d", i), Queue: i%2 == 0, Batch: batch, Chunk: healthy, Limit: healthy,
			Pace: 400 * time.Millisecond, Hold: 400 * time.Millisecond,
		})
	}
	s := newStage(t, onPostgres, flows)
	s.start(1)
	f := newFleet(s, 2, workerSettings{Lease: scaled(2*time.Second, 0), MaxRescues: dataflow.DefaultMaxRescues})
	s.finished(scaled(patience, 4*time.Minute))

	runs, err := s.client.Runs(t.Context(), &dataflow.RunListParams{Flow: "poisoned"})
	require.NoError(t, err)
	require.Len(t, runs, 1)
	const before = (poison - 1) / batch * batch
	require.Equal(t, dataflow.RunFailed, runs[0].State)
	require.Contains(t, runs[0].Error, fmt.Sprintf("killed its worker %d times in a row, in the batch after cursor %d:", dataflow.DefaultMaxRescues, before))
	require.Equal(t, int64(before), s.number(`select count(*) from chaos_target where flow = 'poisoned'`))
	require.Zero(t, s.number(`select count(*) from dataflow_run where state <> 'success' and id <> `+fmt.Sprint(runs[0].ID)), "runs of other flows that have failed")
	for i := range s.flows {
		s.exactFlow(&s.flows[i])
	}
	log := s.log()
	s.checkLog(log)
	t.Logf("take-over %s", takeovers(log))
	deaths := s.number(`select max(rescues) from chaos_log where run <> ` + fmt.Sprint(runs[0].ID))
	t.Logf("%d deaths; the most of a healthy run without a checkpoint: %d", f.starts-len(f.workers), deaths)
	// The poisoned run first dies before the batch before the record is written. When that batch
	// is written, its deaths are counted from zero again. So it is a suspect after three deaths.
	require.LessOrEqual(t, deaths, int64(3), "a healthy run was worked beside the poisoned one again and again")
}
