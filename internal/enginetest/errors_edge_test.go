package enginetest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// ErrStopped and ErrFenced in an error of a flow's own code, such as those of another
// client, fail the attempt. They do not say that this client stops or lost the run.
func TestErrors_OfAnotherClient(t *testing.T) {
	t.Parallel()
	for _, theirs := range []error{dataflow.ErrStopped, dataflow.ErrFenced} {
		err := dataflow.RetryAfter(fmt.Errorf("ask the other client: %w", theirs), time.Millisecond)
		fails := func(context.Context, int) (int, error) { return 0, err }
		flows := map[string]func() *dataflow.Flow{
			"Read": func() *dataflow.Flow {
				return dataflow.NewFlow("n", dataflow.Paged(func(context.Context, int) (p dataflow.Page[int, int], _ error) { return p, err }), dataflow.Identity[int](), nowhere(), triedTwice())
			},
			"ReadWaiting": func() *dataflow.Flow {
				opts := triedTwice()
				opts.BatchWait = time.Second
				return dataflow.NewFlow("n", dataflow.Paged(func(context.Context, int) (p dataflow.Page[int, int], _ error) { return p, err }), dataflow.Identity[int](), nowhere(), opts)
			},
			"Record": func() *dataflow.Flow {
				return dataflow.NewFlow("n", numbers{n: 3}, dataflow.Map(fails), nowhere(), triedTwice())
			},
			"Transform": func() *dataflow.Flow {
				return dataflow.NewFlow("n", numbers{n: 3}, dataflow.Batch(func(context.Context, []int) ([]int, error) { return nil, err }), nowhere(), triedTwice())
			},
			"WriteTx": func() *dataflow.Flow {
				return dataflow.NewFlow("n", numbers{n: 3}, dataflow.Identity[int](), dataflow.ToTx(dataflow.TxSinkFunc[int](func(context.Context, []int) error { return err })), triedTwice())
			},
			"Write": func() *dataflow.Flow {
				return dataflow.NewFlow("n", numbers{n: 3}, dataflow.Identity[int](), dataflow.To(dataflow.SinkFunc[int](func(context.Context, dataflow.SinkBatch[int]) error { return err })), triedTwice())
			},
		}
		for name, flow := range flows {
			t.Run(fmt.Sprint(name, " ", theirs), func(t *testing.T) {
				t.Parallel()
				onBoth(t, func(t *dbT) {
					client := t.started(t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow()}}))
					run, err := client.Trigger(t.Context(), "n", nil)
					require.NoError(t, err)
					run, err = t.wait(client, run.ID)
					require.ErrorContains(t, err, "ask the other client: "+theirs.Error())
					require.Equal(t, dataflow.RunFailed, run.State)
					require.Equal(t, 2, run.Attempt)
				})
			})
		}
	}
}

// triedTwice are options of a flow that is tried twice.
func triedTwice() *dataflow.FlowOptions {
	return &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}, MaxAttempts: 2, Backoff: func(int) time.Duration { return 0 }}
}

// nowhere is a target that keeps nothing.
func nowhere() dataflow.Target[int] {
	return dataflow.ToTx(dataflow.TxSinkFunc[int](func(context.Context, []int) error { return nil }))
}
