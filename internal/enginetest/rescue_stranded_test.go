package enginetest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
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

// A database, or a middleware of the service, may drop the job of a run. Then there is no run either, the error says
// so, and the runs of other flows go on.
func TestRescue_DroppedJobs(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		l := newLogs()
		client := t.client(&dataflow.Config{Logger: l.logger(), Lease: time.Second, Flows: []*dataflow.Flow{
			t.numbersFlow("dropped", numbers{n: 25}, dataflow.JobQueue{Queue: "etl"}), t.numbersFlow("n", numbers{n: 25}, dataflow.JobQueue{}),
		}})
		require.NoError(t, client.Register(t.Context()))
		stranded, err := client.Enqueue(t.Context(), "dropped", &dataflow.TriggerOptions{At: time.Unix(1, 0)})
		require.NoError(t, err)
		lost, err := client.Enqueue(t.Context(), "dropped", &dataflow.TriggerOptions{At: time.Unix(2, 0)})
		require.NoError(t, err)
		other, err := client.Enqueue(t.Context(), "n", &dataflow.TriggerOptions{At: time.Unix(3, 0)})
		require.NoError(t, err)
		require.NoError(t, t.exec("delete from river_job"))
		require.NoError(t, t.exec("update dataflow_run set state = 'in_progress', slot = id, lease_no = 1, attempt = 1, unique_key = null, worker = 'dead', lease_until = '2026-01-01 00:00:00.000' where id <> "+fmt.Sprint(stranded.ID)))
		dropAll := "create trigger dropping before insert on river_job when new.queue = 'etl' begin select raise(ignore); end"
		if t.isPostgres {
			require.NoError(t, t.exec("create function dropping() returns trigger language plpgsql as 'begin return null; end'"))
			dropAll = "create trigger dropping before insert on river_job for each row when (new.queue = 'etl') execute function dropping()"
		}
		require.NoError(t, t.exec(dropAll))

		for _, start := range []func() error{
			func() error {
				_, err := client.Enqueue(t.Context(), "dropped", &dataflow.TriggerOptions{Reason: "a"})
				return err
			},
			func() error { _, err := client.Trigger(t.Context(), "dropped", nil); return err },
			func() error {
				_, err := client.TriggerMany(t.Context(), []dataflow.TriggerManyParams{{Flow: "dropped"}, {Flow: "n"}})
				return err
			},
		} {
			require.Error(t, start())
		}
		require.Equal(t, int64(3), t.number("select count(*) from dataflow_run"))

		t.started(client)
		_, err = t.wait(client, other.ID)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			said := strings.Join(l.lines("could not give a run a new River job"), "")
			return strings.Contains(said, fmt.Sprintf("flow=dropped run=%d ", stranded.ID)) && strings.Contains(said, fmt.Sprintf("flow=dropped run=%d ", lost.ID))
		}, patience, 10*time.Millisecond)
		require.NoError(t, t.exec("drop trigger dropping"+map[bool]string{true: " on river_job"}[t.isPostgres]))
		for _, run := range []*dataflow.Run{stranded, lost} {
			_, err = t.wait(client, run.ID)
			require.NoError(t, err)
		}
	})
}

// unique is a hook of a service that lets River have one job of a kind at a time.
type unique struct{ river.HookDefaults }

func (*unique) InsertBegin(_ context.Context, params *rivertype.JobInsertParams) error {
	const unfinished = 0b1111_0101 // River's default: all states but discarded and cancelled
	params.UniqueKey, params.UniqueStates = []byte(params.Kind), unfinished
	return nil
}

// A hook may make a service's jobs unique. Each run keeps a job of its own, and gets the next one for its next slice.
func TestRescue_UniqueJobs(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		conf := t.quickRiver()
		conf.Hooks = []rivertype.Hook{&unique{}}
		client := t.client(&dataflow.Config{River: conf, Slice: time.Millisecond, Flows: []*dataflow.Flow{
			t.numbersFlow("n", numbers{n: 25}, dataflow.JobQueue{BatchSize: 5}), named("f", dataflow.JobQueue{}),
		}})
		require.NoError(t, client.Register(t.Context()))
		var runs []*dataflow.Run
		for _, flow := range []string{"n", "f"} {
			run, err := client.Trigger(t.Context(), flow, nil)
			require.NoError(t, err)
			runs = append(runs, run)
		}
		require.NotEqual(t, runs[0].RiverJobID, runs[1].RiverJobID)
		t.started(client)
		for _, run := range runs {
			_, err := t.wait(client, run.ID)
			require.NoError(t, err)
		}
		t.exactly(25)
	})
}

// Our worker cancels a job whose args it cannot read. Its run gets another job: nobody has cancelled that.
func TestRescue_UnreadableJob(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.client(&dataflow.Config{Lease: time.Second, Flows: []*dataflow.Flow{t.numbersFlow("n", numbers{n: 25}, dataflow.JobQueue{})}})
		require.NoError(t, client.Register(t.Context()))
		run, err := client.Trigger(t.Context(), "n", nil)
		require.NoError(t, err)
		require.NoError(t, t.exec("update river_job set args = '{}'"))
		t.started(client)
		_, err = t.wait(client, run.ID)
		require.NoError(t, err)
		t.exactly(25)
	})
}

// River cannot read a job whose time somebody has set to infinity. Why says so, and its run gets another job.
func TestRescue_JobWithoutTime(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.client(&dataflow.Config{Lease: time.Second, Flows: []*dataflow.Flow{t.numbersFlow("n", numbers{n: 25}, dataflow.JobQueue{})}})
		require.NoError(t, client.Register(t.Context()))
		run, err := client.Trigger(t.Context(), "n", nil)
		require.NoError(t, err)
		require.NoError(t, t.exec("update river_job set scheduled_at = 'infinity'"))

		codes, text := t.causes(client, "n")
		require.Contains(t, codes, dataflow.CauseNoWorker)
		require.Contains(t, text, fmt.Sprintf("its River job %d cannot be read: ", run.RiverJobID))
		t.started(client)
		_, err = t.wait(client, run.ID)
		require.NoError(t, err)
		t.exactly(25)
	})
}
