package enginetest_test

import (
	"context"
	"fmt"
	"iter"
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

// causeless is a source of one bad record, which does not say why it is bad.
type causeless struct{}

func (causeless) Read(context.Context, dataflow.Request[int]) iter.Seq2[dataflow.Item[int, int], error] {
	return func(yield func(dataflow.Item[int, int], error) bool) {
		yield(dataflow.Item[int, int]{Cursor: 1, Resume: true}, &dataflow.RecordError{Key: "1"})
	}
}

// An error that the flow's own code made without a cause, or by a panic, says where it arose.
func TestErrors_WithoutCause(t *testing.T) {
	t.Parallel()
	const noCause = "the code that refuses the record does not say why: its error's Err is nil"
	refuses := func(err error) dataflow.Target[int] {
		return dataflow.To(dataflow.SinkFunc[int](func(_ context.Context, b dataflow.SinkBatch[int]) error {
			if b.Rows[0] == 1 {
				return err
			}
			return nil
		}))
	}
	panics := dataflow.To(dataflow.SinkFunc[int](func(context.Context, dataflow.SinkBatch[int]) error { panic("no ink") }))
	for name, c := range map[string]struct {
		source dataflow.Source[int, int]
		target dataflow.Target[int]
		policy dataflow.Policy
		want   string
	}{
		"RecordRead":    {causeless{}, nowhere(), nil, "read record 1: " + noCause},
		"RecordKept":    {causeless{}, nowhere(), dataflow.DeadLetterUpTo(1), ""},
		"RecordWritten": {numbers{n: 3}, refuses(&dataflow.RecordError{}), dataflow.SkipUpTo(1), ""},
		"Row":           {numbers{n: 3}, refuses(&dataflow.RowError{}), nil, "write records 1 to 3: " + noCause},
		"RowKept":       {numbers{n: 3}, refuses(&dataflow.RowError{}), dataflow.DeadLetterUpTo(1), ""},
		"Panic":         {numbers{n: 3}, panics, nil, "write records 1 to 3: panic: no ink"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := sqlite(t, migratedFile(t))
			client := db.client(&dataflow.Config{Flows: []*dataflow.Flow{
				dataflow.NewFlow("n", c.source, dataflow.Identity[int](), c.target, &dataflow.FlowOptions{OnBadRecord: c.policy, MaxAttempts: 1}),
			}})
			require.NoError(t, client.Register(t.Context()))
			run, err := client.Trigger(t.Context(), "n", nil)
			if c.want == "" {
				require.NoError(t, err)
				require.EqualValues(t, 1, run.Counters.Dropped+run.Counters.DeadLettered)
				return
			}
			require.ErrorContains(t, err, c.want)
		})
	}
}
