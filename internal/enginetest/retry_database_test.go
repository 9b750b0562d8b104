package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// troubled is a flow of one attempt that appends the numbers 1 to 30. The transaction
// of its second batch fails twice.
func troubled(trouble func(ctx context.Context) error) *dataflow.Flow {
	var batch atomic.Int64
	return dataflow.NewFlow("numbers", numbers{n: 30}, dataflow.Identity[int](), dataflow.ToTx(dataflow.TxSinkFunc[int](func(ctx context.Context, rows []int) error {
		if err := insertInto(ctx, "numbers", rows[:1]); err != nil {
			return err
		}
		if n := batch.Add(1); n == 2 || n == 3 {
			if err := trouble(ctx); err != nil {
				return err
			}
		}
		return insertInto(ctx, "numbers", rows[1:])
	})), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, MaxAttempts: 1})
}

// A database that is away for a while costs no attempt: it shuts down or starts up, is
// a read-only replica, or has no space.
func TestTrouble_Postgres(t *testing.T) {
	t.Parallel()
	say := func(sql string) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			tx, _ := dataflowpgx.TxFrom(ctx)
			_, err := tx.Exec(ctx, sql)
			return err
		}
	}
	troubles := map[string]func(ctx context.Context) error{
		"terminated": say(`select pg_terminate_backend(pg_backend_pid())`),
		"read-only":  say(`set transaction read only`),
	}
	for _, code := range []string{"08006", "53100", "53300", "55P03", "57P01", "57P02", "57P03", "58030"} {
		troubles[code] = say(`do $$ begin raise exception 'as if' using errcode = '` + code + `'; end $$`)
	}
	for name, trouble := range troubles {
		t.Run(name, func(inner *testing.T) {
			inner.Parallel()
			t := migratedPostgres(inner)
			t.table("numbers")
			run, err := t.execute(t.registered(troubled(trouble)), "numbers")
			require.NoError(t, err)
			require.Equal(t, 1, run.Attempt)
			require.Equal(t, int64(1), run.LeaseNumber)
			require.Empty(t, run.Errors)
			t.exactly(30)
		})
	}
}

// After trouble, the run looks where its checkpoint is. Another transaction may be in the way there too.
func TestTrouble_Locked(t *testing.T) {
	t.Parallel()
	free := dbtest.Postgres(t)
	config := free.Config()
	config.ConnConfig.RuntimeParams["lock_timeout"] = "100ms"
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	db := migrated(onPool(t, pool))
	db.table("numbers")
	var locked atomic.Bool
	var unlocked sync.WaitGroup
	defer unlocked.Wait()
	run, err := db.execute(db.registered(troubled(func(ctx context.Context) error {
		if !locked.Swap(true) {
			lock, err := free.Begin(context.WithoutCancel(ctx))
			if err != nil {
				return err
			}
			if _, err := lock.Exec(ctx, `select from dataflow_run for update`); err != nil {
				return errors.Join(err, lock.Rollback(context.WithoutCancel(ctx)))
			}
			unlocked.Go(func() { // while the run looks for its checkpoint
				time.Sleep(time.Second)
				_ = lock.Rollback(context.WithoutCancel(ctx))
			})
		}
		tx, _ := dataflowpgx.TxFrom(ctx)
		_, err := tx.Exec(ctx, `select pg_terminate_backend(pg_backend_pid())`)
		return err
	})), "numbers")
	require.NoError(t, err)
	require.Equal(t, 1, run.Attempt)
	require.Empty(t, run.Errors)
	db.exactly(30)
}

// A statement of the library's own that took too long waited for something, such as a lock. It is tried again as it is.
func TestTrouble_TooLong(t *testing.T) {
	t.Parallel()
	for what, where := range map[string]string{
		"checkpoint": `dataflow_checkpoint for each row when (new.cursor::text is distinct from old.cursor::text)`,
		"end":        `dataflow_run for each row when (new.state = 'success')`,
	} {
		t.Run(what, func(inner *testing.T) {
			inner.Parallel()
			t := migratedPostgres(inner)
			t.table("numbers")
			for _, sql := range []string{
				`create sequence tries`,
				`create function refuse() returns trigger language plpgsql as $$ begin
					if nextval('tries') <= 5 then raise exception 'as if' using errcode = '57014'; end if;
					return new; end $$`,
				`create trigger refuse before update on ` + where + ` execute function refuse()`,
			} {
				require.NoError(t, t.exec(sql))
			}
			logs := newLogs()
			flow := flowTo("numbers", 30, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, MaxAttempts: 1})
			client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: logs.logger()})
			require.NoError(t, client.Register(t.Context()))
			run, err := t.execute(client, "numbers")
			require.NoError(t, err)
			require.Equal(t, dataflow.RunSuccess, run.State)
			require.Equal(t, 1, run.Attempt)
			require.Empty(t, run.Errors)
			require.Greater(t, t.number(`select last_value from tries`), int64(5))
			require.Empty(t, logs.lines("writing it in parts"))
			t.exactly(30)
		})
	}
}

// While trouble lasts, the run says what it waits for. Afterwards it does not.
func TestTrouble_Told(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("numbers")
		var room atomic.Bool
		waited := make(chan string, 1)
		flow := dataflow.NewFlow("numbers", numbers{n: 30}, dataflow.Identity[int](), dataflow.ToTx(dataflow.TxSinkFunc[int](func(ctx context.Context, rows []int) error {
			if rows[0] == 11 && !room.Load() {
				return dataflow.Transient(errors.New("no space left"))
			}
			return insertInto(ctx, "numbers", rows)
		})), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, MaxAttempts: 1})
		client := t.registered(flow)
		go func() {
			defer room.Store(true)
			for began := time.Now(); time.Since(began) < 30*time.Second; { // sooner than the run's trouble ends it
				runs, err := client.Runs(t.Context(), nil)
				if err == nil && len(runs) == 1 && runs[0].WaitsFor != "" {
					reason, err := client.Why(t.Context(), "numbers")
					if err == nil {
						waited <- runs[0].WaitsFor + " / " + reason.String()
						return
					}
				}
				select {
				case <-time.After(10 * time.Millisecond):
				case <-t.Context().Done():
					return
				}
			}
			waited <- "nothing"
		}()
		run, err := t.execute(client, "numbers")
		require.NoError(t, err)
		said := <-waited
		require.Contains(t, said, "trouble that should pass: write records 11 to 20: no space left / ")
		require.Contains(t, said, "Run 1 waits for trouble that should pass: write records 11 to 20: no space left, since ")
		require.Empty(t, run.WaitsFor)
		t.exactly(30)
	})
}

// With SQLite, only the message tells.
func TestTrouble_SQLite(t *testing.T) {
	t.Parallel()
	for _, message := range []string{
		"disk I/O error (10)", "database or disk is full (13)", "attempt to write a readonly database (8)", "unable to open database file (14)", "locking protocol (15)",
	} {
		t.Run(message, func(inner *testing.T) {
			inner.Parallel()
			t := sqlite(inner, migratedFile(inner))
			t.table("numbers")
			run, err := t.execute(t.registered(troubled(func(context.Context) error { return errors.New(message) })), "numbers")
			require.NoError(t, err)
			require.Empty(t, run.Errors)
			t.exactly(30)
		})
	}
}

// A deadlock is tried again three times, five seconds apart, before it costs the
// attempt.
func TestConflict(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("numbers")
		var tries []time.Time
		flow := dataflow.NewFlow("numbers", numbers{n: 30}, dataflow.Identity[int](), dataflow.ToTx(dataflow.TxSinkFunc[int](func(ctx context.Context, rows []int) error {
			if err := insertInto(ctx, "numbers", rows); err != nil || rows[0] != 11 {
				return err
			}
			tries = append(tries, time.Now())
			if tx, ok := dataflowpgx.TxFrom(ctx); ok {
				_, err := tx.Exec(ctx, `do $$ begin raise exception 'as if' using errcode = '40P01'; end $$`)
				return err
			}
			return fmt.Errorf("insert: %w", errors.New("database is locked (5) (SQLITE_BUSY)"))
		})), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, MaxAttempts: 1})
		run, err := t.execute(t.registered(flow), "numbers")
		require.Error(t, err)
		require.Equal(t, dataflow.RunFailed, run.State)
		require.Len(t, run.Errors, 1)
		require.Len(t, tries, 4)
		for i := range tries[1:] {
			require.WithinRange(t, tries[i+1], tries[i].Add(5*time.Second), tries[i].Add(25*time.Second)) // a slow machine is late
		}
		t.exactly(10)
	})
}

// An exhausted pool delays a run and costs it no attempt. The lease is renewed by a connection
// beside the pool.
func TestTrouble_ExhaustedPool(t *testing.T) {
	t.Parallel()
	config := dbtest.Postgres(t).Config()
	config.MaxConns = 3
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	pg := migrated(onPool(t, pool))
	source := newGated(30, 15)
	client, err := dataflow.NewClient(pg.driver, &dataflow.Config{
		Flows: []*dataflow.Flow{pg.numbersFlow("n", source, dataflow.Heartbeat{BatchSize: 10})}, Lease: time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	pg.started(client)
	run, err := client.Trigger(t.Context(), "n", &dataflow.TriggerOptions{At: time.Unix(1, 0)})
	require.NoError(t, err)
	<-source.reached
	conns := make([]*pgxpool.Conn, config.MaxConns)
	for i := range conns {
		conns[i], err = pool.Acquire(t.Context())
		require.NoError(t, err)
	}
	close(source.open)
	var renewed bool
	require.Eventually(t, func() bool { // for several leases
		require.NoError(t, conns[0].QueryRow(t.Context(), `select lease_until > started_at + interval '4 seconds' from dataflow_run`).Scan(&renewed))
		return renewed
	}, patience, 50*time.Millisecond)
	for _, conn := range conns {
		conn.Release()
	}
	run, err = pg.wait(client, run.ID)
	require.NoError(t, err)
	require.Equal(t, 1, run.Attempt)
	require.Equal(t, int64(1), run.LeaseNumber)
	require.Zero(t, run.Rescues)
	require.Empty(t, run.Errors)
	pg.exactly(30)
}
