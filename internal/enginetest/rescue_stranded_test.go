package enginetest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// A stranded run gets a new River job: its worker died between fetching the job and
// claiming the run, or River gave the job up. A run whose job was cancelled is
// cancelled.
func TestRescue_StrandedRun(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		// Less than the hour after which River itself would take the job up again.
		long := time.Now().Add(-30 * time.Minute).UTC().Format("2006-01-02 15:04:05")
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{t.numbersFlow("n", numbers{n: 25}, dataflow.JobQueue{})}, Lease: time.Second})
		require.NoError(t, client.Register(t.Context()))
		var runs []*dataflow.Run
		for i, damage := range []string{
			"update river_job set state = 'running', attempt = 1, attempted_at = '" + long + "'",
			"update river_job set state = 'discarded', finalized_at = '" + long + "'",
			"delete from river_job",
			"update river_job set state = 'cancelled', finalized_at = '" + long + "'",
		} {
			run, err := client.Trigger(t.Context(), "n", &dataflow.TriggerOptions{At: time.Unix(int64(i), 0)})
			require.NoError(t, err)
			if i == 0 {
				require.Equal(t, int64(1), t.number("select count(*) from river_job where state = 'available'"), "due at once")
			}
			require.NoError(t, t.exec(damage+" where state = 'available'"))
			runs = append(runs, run)
		}
		t.started(client)
		for _, run := range runs[:3] {
			ended, err := t.wait(client, run.ID)
			require.NoError(t, err)
			require.NotEqual(t, run.RiverJobID, ended.RiverJobID)
			require.Equal(t, 1, ended.Attempt)
		}
		t.exactly(25)
		left, err := t.wait(client, runs[3].ID)
		require.ErrorContains(t, err, "cancelled: by River: its job was cancelled")
		require.Equal(t, runs[3].RiverJobID, left.RiverJobID)
	})
}
