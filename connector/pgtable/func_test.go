package pgtable_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// trigger runs a flow of the numbers 1 to 100 into a target, in batches of 40.
func trigger(t *testing.T, pool *pgxpool.Pool, target dataflow.Target[number], policy dataflow.Policy) (*dataflow.Run, error) {
	t.Helper()
	return triggerRows(t, pool, "numbers", numberRows(100), target, policy, 40)
}

// triggerRows runs a flow, by its name, of rows into a target, in batches of a size, or in one batch.
func triggerRows[T any](t *testing.T, pool *pgxpool.Pool, name string, rows []T, target dataflow.Target[T], policy dataflow.Policy, size ...int) (*dataflow.Run, error) {
	t.Helper()
	flow := dataflow.NewFlow(name, memory.Slice(rows), dataflow.Identity[T](), target,
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: append(size, 1000)[0]}, OnBadRecord: policy, MaxAttempts: 1})
	return triggerFlow(t, pool, flow)
}

// migrated has the pools that triggerFlow has migrated. It takes longer than a small run.
var migrated sync.Map

func triggerFlow(t *testing.T, pool *pgxpool.Pool, flow *dataflow.Flow) (*dataflow.Run, error) {
	t.Helper()
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	if _, done := migrated.LoadOrStore(pool, nil); !done {
		require.NoError(t, client.Migrate(t.Context()))
	}
	require.NoError(t, client.Register(t.Context()))
	return client.Trigger(t.Context(), flow.Name, nil)
}

const (
	addNumber = `insert into numbers values ($1)`
	addToSum  = `update total set sum = sum + $1`
)

func sums(t *testing.T, pool *pgxpool.Pool) (count, sum int64) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), `select (select count(*) from numbers), (select sum from total)`).Scan(&count, &sum))
	return count, sum
}

func sumTables(t *testing.T) *pgxpool.Pool {
	t.Helper()
	return setup(t, `create table numbers (n bigint check (n <> 50))`, `create table total (sum bigint)`, `insert into total values (0)`)
}

func queueBoth(b *pgx.Batch, row number) error {
	if row.N == 70 {
		return errors.New("nobody likes 70")
	}
	b.Queue(addNumber, row.N)
	b.Queue(addToSum, row.N)
	return nil
}

// A row that breaks a constraint, or that the function rejects, is left out with
// everything done for it. All other rows count once.
func TestFunc_BadRows(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]dataflow.Target[number]{
		"Batch": pgtable.Batch(queueBoth),
		"Func": pgtable.Func(func(ctx context.Context, tx pgx.Tx, rows []number) error {
			for _, row := range rows {
				if _, err := tx.Exec(ctx, addToSum, row.N); err != nil {
					return err
				}
				if row.N == 70 {
					return &dataflow.RecordError{Err: errors.New("nobody likes 70")}
				}
				if _, err := tx.Exec(ctx, addNumber, row.N); err != nil {
					return err
				}
			}
			return nil
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := sumTables(t)
			run, err := trigger(t, pool, target, dataflow.SkipUpTo(2))
			require.NoError(t, err)
			require.Equal(t, dataflow.Counters{Read: 100, Written: 98, Dropped: 2}, run.Counters)
			count, sum := sums(t, pool)
			require.Equal(t, []int64{98, 5050 - 50 - 70}, []int64{count, sum})
			require.Equal(t, dataflow.ExactlyOnce, target.Guarantee())
		})
	}
}

// The work of a failed batch is undone, and the batches before it stay. The next
// run continues after them.
func TestFunc_FailsAndGoesOn(t *testing.T) {
	t.Parallel()
	pool := sumTables(t)
	target := pgtable.Batch(func(b *pgx.Batch, row number) error {
		b.Queue(addToSum, row.N)
		b.Queue(addNumber, row.N)
		return nil
	})
	_, err := trigger(t, pool, target, nil)
	require.ErrorContains(t, err, "numbers_n_check")
	count, sum := sums(t, pool)
	require.Equal(t, []int64{40, 820}, []int64{count, sum})
	_, err = pool.Exec(t.Context(), `alter table numbers drop constraint numbers_n_check`)
	require.NoError(t, err)
	_, err = trigger(t, pool, target, nil)
	require.NoError(t, err)
	count, sum = sums(t, pool)
	require.Equal(t, []int64{100, 5050}, []int64{count, sum})
}

// The function cannot end the checkpoint's transaction.
func TestFunc_CannotEndTheTransaction(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(pgx.Tx, context.Context) error{"Commit": pgx.Tx.Commit, "Rollback": pgx.Tx.Rollback} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := sumTables(t)
			_, err := trigger(t, pool, pgtable.Func(func(ctx context.Context, tx pgx.Tx, rows []number) error {
				if _, err := tx.Exec(ctx, addNumber, rows[0].N); err != nil {
					return err
				}
				return end(tx, ctx)
			}), dataflow.SkipUpTo(100))
			require.ErrorContains(t, err, "the transaction belongs to the checkpoint")
			require.True(t, dataflow.IsPermanent(err))
			count, _ := sums(t, pool)
			require.Zero(t, count)
		})
	}
}

// The client uses another database, whose checkpoint lacks the last batch when the
// run continues.
func TestBatchTo_AnotherDatabase(t *testing.T) {
	t.Parallel()
	own, other := setup(t), sumTables(t)
	_, err := other.Exec(t.Context(), `alter table numbers drop constraint numbers_n_check`)
	require.NoError(t, err)
	target := pgtable.BatchTo(other, func(b *pgx.Batch, row number) error {
		b.Queue(addToSum, row.N)
		b.Queue(addNumber, row.N)
		return nil
	})
	_, err = trigger(t, own, target, nil)
	require.NoError(t, err)
	_, err = own.Exec(t.Context(), `update dataflow_checkpoint set cursor = '80'`)
	require.NoError(t, err)
	_, err = trigger(t, own, target, nil)
	require.NoError(t, err)
	count, sum := sums(t, other)
	require.Equal(t, []int64{100, 5050}, []int64{count, sum})
	require.Equal(t, dataflow.Description{Type: "pgtable.batch_to"}, target.Describe())

	commit := func(ctx context.Context, tx pgx.Tx, _ []number) error { return tx.Commit(ctx) }
	_, err = trigger(t, own, pgtable.FuncTo(other, commit), nil)
	require.NoError(t, err, "there is no row to write")
	_, err = other.Exec(t.Context(), `delete from dataflow_sink_checkpoint`)
	require.NoError(t, err)
	_, err = own.Exec(t.Context(), `update dataflow_checkpoint set cursor = null`)
	require.NoError(t, err)
	_, err = trigger(t, own, pgtable.FuncTo(other, commit), nil)
	require.ErrorContains(t, err, "the transaction belongs to the checkpoint")
}

// A function need not queue anything for a row.
func TestBatch_NothingQueued(t *testing.T) {
	t.Parallel()
	run, err := trigger(t, sumTables(t), pgtable.Batch(func(*pgx.Batch, number) error { return nil }), nil)
	require.NoError(t, err)
	require.EqualValues(t, 100, run.Counters.Read)
}

func TestFunc_Refused(t *testing.T) {
	t.Parallel()
	config := func(target dataflow.Target[number]) *dataflow.Config {
		return &dataflow.Config{Logger: slog.New(slog.DiscardHandler), Flows: []*dataflow.Flow{
			dataflow.NewFlow("numbers", memory.Slice(numberRows(1)), dataflow.Identity[number](), target, &dataflow.FlowOptions{MaxAttempts: 1}),
		}}
	}
	db := dbtest.SQLite(t)
	for _, target := range []dataflow.Target[number]{pgtable.Func[number](nil), pgtable.Batch[number](nil)} {
		_, err := dataflow.NewClient(dataflowsqlite.New(db), config(target))
		require.ErrorContains(t, err, `Flows["numbers"].Target.pgtable.`)
		require.ErrorContains(t, err, "the function is nil")
	}
	client, err := dataflow.NewClient(dataflowsqlite.New(db), config(pgtable.Batch(queueBoth)))
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	_, err = client.Trigger(t.Context(), "numbers", nil)
	require.ErrorIs(t, err, dataflow.ErrTxMismatch)
}
