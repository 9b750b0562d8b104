package pgtable_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	osexec "os/exec" // these tests have their own function exec
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/connector/reconcile"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowtest"
)

// keysWorkerEnv makes the test binary a worker of removeFlow; its value is the database's URL.
const keysWorkerEnv = "PGTABLE_TEST_KEYS_WORKER"

// removeFlow removes what is gone from shop.orders.
func removeFlow(pool *pgxpool.Pool) *dataflow.Flow {
	c := reconcile.New(pgtable.Keys(pool, reconcile.Table{Name: "shop.orders", Key: []string{"id"}}), pgtable.Keys(pool, reconcile.Table{Name: "shop.copies", Key: []string{"id"}}), nil)
	return goneFlow("gone", c, c.Delete(), dataflow.FlowOptions{})
}

func removeClient(pool *pgxpool.Pool) (*dataflow.Client, error) {
	return dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{
		Flows: []*dataflow.Flow{removeFlow(pool)}, Lease: time.Second, PollInterval: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
}

// workUntilKilled is the main function of a process.
func workUntilKilled(ctx context.Context, url string, newClient func(*pgxpool.Pool) (*dataflow.Client, error)) error {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	client, err := newClient(pool)
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	_, err = os.Stdin.Read(make([]byte, 1)) // waits for ever
	return err
}

// Three processes are killed: one while it compares, and two in a transaction that deletes. Each
// row is deleted once, and the counts are right.
func TestKeys_Killed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := ordersOf(t, setup(t), "shop", 20_000)
	c.exec(`create table deleted (id bigint, nr bigserial);
		create function waits() returns trigger language plpgsql as $$ begin
			insert into shop.deleted values (old.id);
			if (select count(*) from shop.deleted) in (101, 401) then perform pg_advisory_xact_lock((select count(*) from shop.deleted)); end if;
			return null;
		end $$;
		create trigger waits after delete on copies for each row execute function waits();
		delete from orders where id % 25 = 0`)
	client, err := removeClient(c.pool)
	require.NoError(t, err)
	require.NoError(t, client.Migrate(ctx))
	require.NoError(t, client.Register(ctx))
	run, err := client.Trigger(ctx, "gone", &dataflow.TriggerOptions{At: time.Unix(1, 0)})
	require.NoError(t, err)
	before := int64(-1)
	for i, lock := range []string{`lock table shop.orders in access exclusive mode`, `select pg_advisory_xact_lock(101)`, `select pg_advisory_xact_lock(401)`} {
		held, err := c.pool.Begin(ctx)
		require.NoError(t, err)
		_, err = held.Exec(ctx, lock)
		require.NoError(t, err)
		killWaiting(t, c.pool, keysWorkerEnv)
		require.NoError(t, held.Rollback(ctx))
		deleted := c.int(`select count(*) from deleted`)
		require.LessOrEqual(t, deleted, []int64{0, 100, 400}[i], "what was not committed is there again")
		require.Greater(t, deleted, before)
		before = deleted
	}
	require.NoError(t, client.Start(ctx))
	run, err = client.Wait(ctx, run.ID)
	require.NoError(t, err)
	require.NoError(t, client.Stop(ctx))
	require.Equal(t, dataflow.Counters{Read: 800, Written: 800}, run.Counters)
	require.JSONEq(t, `{"pass": "done", "source_rows": 19200, "target_rows": 20000, "gone": 800, "missing": 0, "removed": 800}`, string(run.ToCursor))
	require.Equal(t, []int64{800, 800, 19_200}, []int64{c.int(`select count(*) from deleted`), c.int(`select count(distinct id) from deleted where id % 25 = 0`), c.int(`select count(*) from copies`)})
}

// killWaiting starts a worker, waits until it waits for a lock of a test, and kills it. A claim may wait for a moment too, for
// a lock of two numbers.
func killWaiting(t *testing.T, pool *pgxpool.Pool, env string) {
	t.Helper()
	stdin, keepOpen, err := os.Pipe()
	require.NoError(t, err)
	defer keepOpen.Close() //nolint:errcheck // nothing is written to it
	cmd := osexec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), env+"="+pool.Config().ConnString())
	cmd.Stdin, cmd.Stderr = stdin, os.Stderr
	require.NoError(t, cmd.Start())
	require.NoError(t, stdin.Close())
	require.Eventually(t, func() bool {
		var waits bool
		err := pool.QueryRow(t.Context(), `select exists (select from pg_locks where (locktype = 'relation' or locktype = 'advisory' and objsubid = 1) and not granted and database = (select oid from pg_database where datname = current_database()))`).Scan(&waits)
		return err == nil && waits
	}, 3*time.Minute, 10*time.Millisecond)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.Eventually(t, func() bool {
		var there bool
		err := pool.QueryRow(t.Context(), `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')`).Scan(&there)
		_, kerr := pool.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)
		return err == nil && kerr == nil && !there
	}, 3*time.Minute, 10*time.Millisecond, "the server does not see that the client of a waiting session has died")
}

// While writers insert, delete and put back rows of the source, some committing late, a copier
// copies and comparisons delete. A row that the source had all the time is never deleted, and in
// the end both are alike.
func TestKeys_ChangingSource(t *testing.T) {
	t.Parallel()
	c := ordersOf(t, setup(t), "shop", 6000)
	c.exec(`create table deleted (id bigint); create function notes() returns trigger language plpgsql as $$ begin insert into shop.deleted values (old.id); return null; end $$;
		create trigger notes after delete on copies for each row execute function notes()`)
	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	var writes, late atomic.Int64
	for seed := range uint64(3) {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(seed, 7))
			for ctx.Err() == nil {
				if writeAtRandom(ctx, c.pool, random) {
					late.Add(1)
				}
				writes.Add(1)
			}
		})
	}
	workers.Go(func() {
		for ctx.Err() == nil {
			_ = copyOrders(ctx, c.pool)
		}
	})
	of := c.compare(&reconcile.Options{MaxGone: 1})
	kit := dataflowtest.New(t, goneFlow(c.schema, of, of.Delete(), dataflow.FlowOptions{}))
	for before, n := int64(0), 0; n < 12 || before < 100; n++ {
		require.Empty(t, kit.Work(c.schema).Error)
		before = writes.Load()
	}
	stop()
	workers.Wait()
	require.Positive(t, late.Load())
	require.Positive(t, c.int(`select count(*) from deleted`))
	require.Zero(t, c.int(`select count(*) from deleted where id % 2 = 1`), "the source had the odd ones all the time")
	require.NoError(t, copyOrders(t.Context(), c.pool))
	require.Empty(t, kit.Work(c.schema).Error)
	require.Zero(t, c.int(`select count(*) from (select id from orders except select id from copies) x`), "lost")
	require.Zero(t, c.int(`select count(*) from (select id from copies except select id from orders) x`), "not removed")
}

// writeAtRandom changes some even keys in a transaction, which may be rolled back or stay open for
// a while. It returns whether that was so.
func writeAtRandom(ctx context.Context, pool *pgxpool.Pool, random *rand.Rand) (late bool) {
	_ = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		for range 1 + random.IntN(5) {
			id, n := 2*random.IntN(3500), 2*random.IntN(50)
			statement := fmt.Sprintf(`delete from shop.orders where id between %d and %d and id %% 2 = 0`, id, id+n)
			if random.IntN(2) == 0 {
				statement = fmt.Sprintf(`insert into shop.orders select generate_series(%d, %d, 2) on conflict do nothing`, id, id+n)
			}
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		switch random.IntN(6) {
		case 0:
			return context.Canceled // rolls back
		case 1:
			late = true
			_, err := tx.Exec(ctx, `select pg_sleep(0.05)`)
			return err
		default:
			return nil
		}
	})
	return late
}

// copyOrders copies all orders, as a flow does: it reads first, and writes in another transaction.
func copyOrders(ctx context.Context, pool *pgxpool.Pool) error {
	rows, err := pool.Query(ctx, `select id from shop.orders`)
	if err != nil {
		return err
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	_, err = pool.Exec(ctx, `insert into shop.copies select unnest($1::bigint[]) on conflict do nothing`, all)
	return err
}

// counter counts statements, and the rows of the largest result.
type counter struct{ statements, most atomic.Int64 }

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.statements.Add(1)
	return ctx
}

func (c *counter) TraceQueryEnd(_ context.Context, _ *pgx.Conn, d pgx.TraceQueryEndData) {
	for n := d.CommandTag.RowsAffected(); ; {
		most := c.most.Load()
		if n <= most || c.most.CompareAndSwap(most, n) {
			return
		}
	}
}

// Tables that are alike cost one sum of each. If they differed before, they cost three statements a range,
// and ranges grow. However many rows differ, no result is larger than 4,000 rows, and the cursor stays small.
func TestKeys_Costs(t *testing.T) {
	t.Parallel()
	c := ordersOf(t, setup(t), "shop", 120_000)
	config := c.pool.Config()
	counts := &counter{}
	config.ConnConfig.Tracer = counts
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	of := reconcile.New(pgtable.Keys(pool, c.orders), pgtable.Keys(pool, c.copies), &reconcile.Options{MaxGone: 1, Missing: true})
	alike := reconcile.Cursor{Pass: "done", SourceRows: 120_000, TargetRows: 120_000}
	const catalogue, whole, ranges = 8, 2 + 2, 4 // of 16,384, 32,768, 65,536 and the rest
	_, at := differences(t, of, reconcile.Cursor{}, -1)
	require.Equal(t, alike, at)
	require.LessOrEqual(t, counts.statements.Swap(0), int64(catalogue+whole))
	_, at = differences(t, of, reconcile.Cursor{Pass: "done", Missing: 1}, -1)
	require.Equal(t, alike, at)
	require.LessOrEqual(t, counts.statements.Load(), int64(catalogue+3*ranges))

	c.exec(`delete from orders where id % 2 = 0; insert into orders select n from generate_series(200000, 260000) n`)
	found, longest := 0, 0
	for item, err := range of.Read(t.Context(), dataflow.Request[reconcile.Cursor]{}) {
		require.NoError(t, err)
		if item.Value.Kind != "" {
			found++
		}
		if item.Mark || item.Resume {
			at, longest = item.Cursor, max(longest, len(item.Cursor.Differing))
		}
	}
	require.Equal(t, 60_000+60_001, found)
	require.Equal(t, reconcile.Cursor{Pass: "done", SourceRows: 120_001, TargetRows: 120_000, Gone: 60_000, Missing: 60_001, Removed: 60_000}, at)
	require.LessOrEqual(t, counts.most.Load(), int64(4000))
	require.LessOrEqual(t, longest, 200)
}
