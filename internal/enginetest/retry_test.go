package enginetest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// A run that is due again at once is tried again at once, by River too.
func TestRetry_AtOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		failures := 3
		flow := dataflow.NewFlow("n", numbers{n: 5}, dataflow.Batch(func(_ context.Context, in []int) ([]int, error) {
			if failures--; failures >= 0 {
				return nil, errors.New("not yet")
			}
			return in, nil
		}), appendTo("numbers"), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}, Backoff: func(int) time.Duration { return 0 }})
		require.NoError(t, t.exec("create table numbers (n integer)"))
		client := t.started(t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}}))
		run, err := client.Trigger(t.Context(), "n", nil)
		require.NoError(t, err)
		run, err = t.wait(client, run.ID)
		require.NoError(t, err)
		require.Equal(t, 4, run.Attempt)
		require.Less(t, run.Duration(), 90*time.Second, "River's own policy waits for 98 s")
	})
}

// The hook is called for each run that failed for good, after that is stored, and for
// no other run.
func TestOnRunFailed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("tries", "permanent", "mended", "cancelled")
		opts := func() *dataflow.FlowOptions {
			return &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}, MaxAttempts: 2, Backoff: func(int) time.Duration { return 0 }}
		}
		var client *dataflow.Client
		told := make(chan error, 10)
		client = t.client(&dataflow.Config{
			Flows: []*dataflow.Flow{
				flowTo("tries", 3, broken(), opts()), flowTo("permanent", 3, failing(1, dataflow.Permanent(errBroken)), opts()),
				flowTo("mended", 3, failing(1, errBroken), opts()), flowTo("cancelled", 3, broken(), opts()),
			},
			OnRunFailed: func(ctx context.Context, run *dataflow.Run, err error) {
				stored, serr := client.Run(ctx, run.ID)
				if serr != nil || stored.State != dataflow.RunFailed || run.State != dataflow.RunFailed {
					err = errors.Join(serr, errors.New("it is not stored"))
				}
				told <- err
				panic("of the hook")
			},
		})
		t.started(client)
		later, err := client.Trigger(t.Context(), "cancelled", &dataflow.TriggerOptions{At: someTime})
		require.NoError(t, err)
		_, err = client.Cancel(t.Context(), later.ID, "", "")
		require.NoError(t, err)
		for _, name := range []string{"tries", "permanent", "mended"} {
			run, err := client.Trigger(t.Context(), name, nil)
			require.NoError(t, err)
			ended, err := t.wait(client, run.ID)
			if name == "mended" {
				require.NoError(t, err)
				continue
			}
			require.Equal(t, dataflow.RunFailed, ended.State)
			err = receive(t, told)
			var re *dataflow.RunError
			require.ErrorAs(t, err, &re)
			require.Equal(t, run.ID, re.RunID)
			require.ErrorIs(t, err, errBroken)
		}
		require.Empty(t, told)
	})
}
