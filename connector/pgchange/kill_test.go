package pgchange_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
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
	"github.com/activedataflow/dataflow/connector/pgchange"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// workerEnv makes the test binary a worker; its value is the source's URL.
const (
	workerEnv       = "PGCHANGE_TEST_WORKER"
	workerTargetEnv = "PGCHANGE_TEST_TARGET"
	longEnv         = "DATAFLOW_CHAOS"
)

type thing struct {
	ID     int64
	Email  *string
	N      int
	Big    *string
	Amount string
	Kind   string
	Tags   []string
	At     time.Time
}

const thingTable = `
create type kind as enum ('old', 'new');
create domain money2 as numeric(12,2);
create table thing (id bigint primary key, email text, n integer not null, big text, amount money2 not null, kind kind not null, tags text[], at timestamptz not null);
create unique index on thing (email);
alter table thing alter big set storage external`

// logged is a change that a target appends.
type logged struct {
	Op string
	ID int64
	N  int
}

func loggedOf(c change[thing]) logged {
	l := logged{Op: string(c.Op), ID: c.New.ID, N: c.New.N}
	if c.Op == pgtable.ChangeDelete {
		l.ID = c.Old.ID
	}
	return l
}

// worker is the main function of a process that works the flows until it is killed.
func worker(ctx context.Context) error {
	from, err := pgxpool.New(ctx, os.Getenv(workerEnv))
	if err != nil {
		return err
	}
	to, err := pgxpool.New(ctx, os.Getenv(workerTargetEnv))
	if err != nil {
		return err
	}
	client, err := thingClient(from, to, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		return err
	}
	for client.Start(ctx) != nil { // the server is away
		time.Sleep(100 * time.Millisecond)
	}
	_, err = os.Stdin.Read(make([]byte, 1)) // waits for ever
	return err
}

func thingClient(from, to *pgxpool.Pool, log *slog.Logger) (*dataflow.Client, error) {
	options := pgchange.Options{Publication: "p", Slot: "copy", Tables: []string{"thing"}, ChunkSize: 500}
	appending := options
	appending.Slot, appending.OnlyChanges = "append", true
	return dataflow.NewClient(dataflowpgx.New(to), &dataflow.Config{
		Lease: time.Second, PollInterval: 50 * time.Millisecond, Logger: log,
		Flows: []*dataflow.Flow{
			dataflow.NewFlow("copy", pgchange.Stream[thing](from, options), dataflow.Identity[change[thing]](), pgtable.Apply[thing]("thing", "id"),
				&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Second}, MaxAttempts: 100}),
			dataflow.NewFlow("append", pgchange.Stream[thing](from, appending), dataflow.Map(func(_ context.Context, c change[thing]) (logged, error) { return loggedOf(c), nil }), pgtable.Insert[logged]("logged"),
				&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Second}, MaxAttempts: 100}),
		},
	})
}

// process is a worker process.
type process struct {
	cmd   *osexec.Cmd
	stdin *os.File
}

func startWorker(t *testing.T, from, to string) *process {
	t.Helper()
	stdin, keepOpen, err := os.Pipe()
	require.NoError(t, err)
	cmd := osexec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0])
	cmd.Env = append(os.Environ(), workerEnv+"="+from, workerTargetEnv+"="+to)
	cmd.Stdin, cmd.Stderr = stdin, os.Stderr
	require.NoError(t, cmd.Start())
	require.NoError(t, stdin.Close())
	return &process{cmd: cmd, stdin: keepOpen}
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Kill())
	require.Error(t, p.cmd.Wait())
	_ = p.stdin.Close()
}

// Twelve writers change rows, keys and unique values, in transactions of all lengths, with
// savepoints and rollbacks. Meanwhile workers are killed, and the server is restarted. At the
// end, the copy equals the source, and each change was appended once.
func TestStream_Killed(t *testing.T) {
	t.Parallel()
	lasts, lives, loaded, loadKills := 12*time.Second, 1200*time.Millisecond, 20_000, 0
	if os.Getenv(longEnv) != "" {
		lasts, lives, loaded, loadKills = 3*time.Minute, 5*time.Second, 300_000, 10
	}
	s := startServer(t)
	from := s.create("source", thingTable, `create publication p for table thing`,
		`create table audit (op text, id bigint, n integer)`,
		`create function audited() returns trigger language plpgsql as $$ begin
			if tg_op = 'TRUNCATE' then insert into audit values ('truncate', 0, 0); return null; end if;
			insert into audit values (lower(tg_op), case when tg_op = 'DELETE' then old.id else new.id end, case when tg_op = 'DELETE' then 0 else new.n end); return null; end $$`,
		fmt.Sprintf(`insert into thing select g, 'mail' || g, g, case when g %% 10 = 0 then repeat(g::text, 3000) end, g / 100.0, 'old', array[g::text, 'x'], now() from generate_series(1, %d) g`, loaded))
	to := s.create("target", thingTable, `create table logged (op text, id bigint, n integer)`)
	// Postgres' own subscription to the same publication is the second oracle.
	native := s.create("native", thingTable)
	u, err := url.Parse(s.URL())
	require.NoError(t, err)
	exec(t, from, `select pg_create_logical_replication_slot('native', 'pgoutput')`)
	exec(t, native, fmt.Sprintf(`create subscription native connection 'host=%s port=5432 user=postgres dbname=source' publication p with (create_slot = false, slot_name = 'native')`, u.Query().Get("host")))
	client, err := thingClient(from, to, quiet)
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))

	// The stream that appends begins when its slot is there; from then on, triggers count.
	first := startWorker(t, s.url("source"), s.url("target"))
	require.Eventually(t, func() bool {
		return len(rows(t, from, `select 1 from pg_replication_slots where slot_name in ('copy', 'append') and confirmed_flush_lsn is not null`)) == 2
	}, 3*patience, poll) // Postgres waits until the load of its own subscription has ended
	exec(t, from, `begin; lock table thing in share row exclusive mode; create trigger audited after insert or update or delete on thing for each row execute function audited();
		create trigger audited_all after truncate on thing execute function audited(); commit`)

	w := &writers{t: t, pool: from, most: int64(loaded)}
	w.next.Store(int64(loaded))
	w.start(12)
	kills, inLoad := 0, 0
	for began := time.Now(); time.Since(began) < lasts || (w.done.Load() <= 100 || inLoad < loadKills) && time.Since(began) < lasts+patience; kills++ {
		time.Sleep(300*time.Millisecond + rand.N(lives))
		first.kill(t)
		if len(rows(t, to, `select 1 from dataflow_checkpoint where cursor::jsonb ? 'table'`)) > 0 {
			inLoad++ // some of the table was loaded
		} else if loadKills > 0 && kills%10 == 9 {
			lives *= 2 // the machine is slow: the load must begin in a life
		}
		if kills%4 == 3 {
			s.StopImmediately(t)
			s.Start(t)
			from.Reset() // their idle connections are broken
			to.Reset()
		}
		first = startWorker(t, s.url("source"), s.url("target"))
	}
	w.stop()
	t.Logf("%d transactions, %d kills, %d of them in the first load", w.done.Load(), kills, inLoad)
	require.GreaterOrEqual(t, inLoad, loadKills)
	require.Greater(t, w.done.Load(), int64(100))
	exec(t, from, `insert into thing values (-1, 'last', 0, null, 0, 'new', null, now())`)
	require.Eventually(t, func() bool {
		var n int
		_ = to.QueryRow(context.WithoutCancel(t.Context()), `select (select count(*) from thing where id = -1) + (select count(*) from logged where id = -1)
			+ (select count(*) from dataflow_checkpoint where cursor::jsonb ? 'loaded')`).Scan(&n)
		return n == 4 // the load has ended too
	}, 4*patience, 100*time.Millisecond)
	require.Eventually(t, func() bool {
		var n int
		_ = native.QueryRow(context.WithoutCancel(t.Context()), `select (select count(*) from thing where id = -1) + (select count(*) from pg_subscription_rel where srsubstate = 'r')`).Scan(&n)
		return n == 2
	}, 4*patience, 100*time.Millisecond)
	first.kill(t)
	const all = `select id, email, n, md5(big), amount::text, kind::text, tags, at from thing`
	requireEqual(t, native, to, all)
	requireEqual(t, from, to, all)
	requireSame(t, rows(t, from, `select op, id, n, count(*) from audit group by 1, 2, 3 order by 1, 2, 3`), rows(t, to, `select op, id, n, count(*) from logged group by 1, 2, 3 order by 1, 2, 3`))
}

// requireEqual compares the results of a query in two databases.
func requireEqual(t *testing.T, from, to *pgxpool.Pool, query string) {
	t.Helper()
	want := rows(t, from, query+" order by 1")
	require.NotEmpty(t, want)
	requireSame(t, want, rows(t, to, query+" order by 1"))
}

// requireSame shows the first difference of two long lists.
func requireSame(t *testing.T, want, got []string) {
	t.Helper()
	for i := range min(len(want), len(got)) {
		require.Equal(t, want[i], got[i], "row %d", i)
	}
	require.Len(t, got, len(want))
}

// writers change rows of the table thing.
type writers struct {
	t          *testing.T
	pool       *pgxpool.Pool
	most       int64
	next, done atomic.Int64
	cancel     context.CancelFunc
	wait       sync.WaitGroup
}

func (w *writers) start(n int) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	w.cancel = cancel
	for i := range n {
		w.wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 7))
			for ctx.Err() == nil {
				if err := w.write(ctx, random); err == nil {
					w.done.Add(1)
				}
			}
		})
	}
}

func (w *writers) stop() {
	w.cancel()
	w.wait.Wait()
}

// write makes one transaction. It may fail, by a deadlock, a unique value, or the server.
func (w *writers) write(ctx context.Context, random *rand.Rand) error {
	tx, err := w.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // it was committed, or is to be rolled back
	n := 1 + random.IntN(4)
	if random.IntN(10) == 0 {
		n = 50
	}
	for range n {
		if err := w.statement(ctx, tx, random); err != nil {
			return err
		}
	}
	if random.IntN(10) == 0 {
		return nil
	}
	return tx.Commit(ctx)
}

func (w *writers) statement(ctx context.Context, tx pgx.Tx, random *rand.Rand) error {
	some := func() int64 { return 1 + random.Int64N(w.next.Load()) }
	do := func(sql string, args ...any) error { _, err := tx.Exec(ctx, sql, args...); return err }
	switch random.IntN(14) {
	case 0, 1:
		id := w.next.Add(1)
		return do(`insert into thing values ($1, 'mail' || $1::bigint, $1, repeat('y', $2), $1 / 3.0, 'new', '{}', clock_timestamp())`, id, random.IntN(5000))
	case 2, 3, 4:
		return do(`update thing set n = n + 1, at = clock_timestamp() where id = $1`, some())
	case 5:
		return do(`update thing set big = repeat('z', $2) where id = $1`, some(), random.IntN(9000))
	case 6:
		return do(`update thing set big = null, kind = 'new', tags = null where id between $1 and $1 + 20`, some())
	case 7, 8:
		return do(`delete from thing where id between $1 and $1 + $2`, some(), random.IntN(3))
	case 9, 10: // a row moves to another key, with its unique value
		return do(`update thing set id = $2 where id = $1`, some(), w.next.Add(1))
	case 11: // many rows in one transaction
		if random.IntN(50) > 0 {
			return nil
		}
		return do(`update thing set n = n + 1 where id between $1 and $1 + 15000`, some())
	case 12: // a unique value moves to another row
		id := some()
		if err := do(`update thing set email = null where id = $1`, id); err != nil {
			return err
		}
		return do(`update thing set email = 'mail' || $1::bigint where id = (select min(id) from thing where id > $1 and email is not null)`, id)
	default: // a savepoint that is rolled back, and one that is not
		if err := do(`savepoint a`); err != nil {
			return err
		}
		if err := do(`update thing set n = -1 where id = $1`, some()); err != nil {
			return err
		}
		if err := do(`rollback to savepoint a`); err != nil {
			return err
		}
		if err := do(`savepoint b`); err != nil {
			return err
		}
		return do(`update thing set n = n + 100 where id = $1`, some())
	}
}
