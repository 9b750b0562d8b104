package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// stages breaks a flow of the numbers 1 to 30 at 15, in each way in which a part of a
// flow can report an error. The error depends on the attempt's number.
func stages(table string, err func() error) map[string]func(opts *dataflow.FlowOptions) *dataflow.Flow {
	at15 := func(n int) error {
		if n != 15 {
			return nil
		}
		return err()
	}
	all := func(rows []int) error {
		for _, n := range rows {
			if err := at15(n); err != nil {
				return err
			}
		}
		return nil
	}
	source := func(wrap func(error) error) readFunc {
		return func(ctx context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
			for item, err := range (numbers{n: 30}).Read(ctx, r) {
				if bad := at15(item.Value); bad != nil {
					err = wrap(bad)
				}
				if !yield(item, err) {
					return
				}
			}
		}
	}
	with := func(s readFunc, tr dataflow.Transform[int, int], to dataflow.Target[int]) func(*dataflow.FlowOptions) *dataflow.Flow {
		return func(opts *dataflow.FlowOptions) *dataflow.Flow { return dataflow.NewFlow(table, s, tr, to, opts) }
	}
	fine := readFunc(func(ctx context.Context, r dataflow.Request[int], yield func(dataflow.Item[int, int], error) bool) {
		numbers{n: 30}.Read(ctx, r)(yield)
	})
	same, append1 := dataflow.Identity[int](), appendTo(table)
	one := func(_ context.Context, n int) (int, error) { return n, at15(n) }
	batch := func(_ context.Context, in []int) ([]int, error) { return in, all(in) }
	return map[string]func(*dataflow.FlowOptions) *dataflow.Flow{
		"Read":     with(source(func(err error) error { return err }), same, append1),
		"Record":   with(source(func(err error) error { return &dataflow.RecordError{Key: "15", Err: err} }), same, append1),
		"Map":      with(fine, dataflow.Map(one), append1),
		"Batch":    with(fine, dataflow.Batch(batch), append1),
		"Parallel": with(fine, dataflow.Parallel(3, dataflow.Batch(batch)), append1),
		"WriteTx": with(fine, same, dataflow.ToTx(dataflow.TxSinkFunc[int](func(ctx context.Context, rows []int) error {
			return errors.Join(insertInto(ctx, table, rows), all(rows))
		}))),
		"Write": with(fine, same, dataflow.To(dataflow.SinkFunc[int](func(_ context.Context, b dataflow.SinkBatch[int]) error {
			return all(b.Rows)
		}))),
		"WriteFenced": with(fine, same, dataflow.ToFenced(&elsewhere{before: all})),
	}
}

// A mark makes an error that of the attempt, whichever part of a flow returns it and
// however deep it is wrapped. No record is left out because of it.
func TestMarks(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		wrapped := func(err error) error { return fmt.Errorf("call the printer: %w", err) }
		for stage := range stages("", nil) {
			t.Run(stage, func(inner *testing.T) {
				inner.Parallel()
				t := &dbT{T: inner, driver: t.driver, exec: t.exec, isPostgres: t.isPostgres}
				c := newClock()
				run := func(name string, err error) (*dataflow.Run, error) {
					name = stage + "_" + name
					t.table(name)
					failures := 1
					flow := stages(name, func() error {
						if failures--; failures < 0 {
							return nil
						}
						return err
					})[stage](&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, MaxAttempts: 2, OnBadRecord: dataflow.SkipUpTo(10)})
					return t.execute(t.onClock(c, flow), name)
				}
				ended, err := run("transient", wrapped(dataflow.Transient(errBroken)))
				require.NoError(t, err)
				require.Equal(t, 1, ended.Attempt)
				require.Equal(t, dataflow.Counters{Read: 30, Written: 30}, ended.Counters)

				ended, err = run("permanent", wrapped(dataflow.Permanent(errBroken)))
				require.ErrorIs(t, err, errBroken)
				require.Equal(t, dataflow.RunFailed, ended.State)
				require.Equal(t, 1, ended.Attempt)

				ended, err = run("after", wrapped(dataflow.RetryAfter(errBroken, time.Hour)))
				require.ErrorIs(t, err, errBroken)
				require.Equal(t, dataflow.RunPending, ended.State)
				require.True(t, c.Now().Add(time.Hour).Equal(ended.RunAfter), "%s", ended.RunAfter)
				require.Zero(t, ended.Counters.Dropped)
			})
		}
	})
}

// Marks add up, in any order and however the errors were joined.
func TestMarks_AddUp(t *testing.T) {
	t.Parallel()
	require.True(t, dataflow.IsPermanent(dataflow.Transient(dataflow.Permanent(errBroken))))
	require.True(t, dataflow.IsPermanent(dataflow.RetryAfter(dataflow.Permanent(errBroken), time.Hour)))
	require.True(t, dataflow.IsPermanent(errors.Join(dataflow.Transient(errBroken), fmt.Errorf("also: %w", dataflow.Permanent(errBroken)))))
	require.False(t, dataflow.IsPermanent(errors.Join(dataflow.Transient(errBroken), errBroken)))
	require.False(t, dataflow.IsPermanent(nil))
}
