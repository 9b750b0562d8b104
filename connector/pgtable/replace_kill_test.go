package pgtable_test

import (
	"context"
	"log/slog"
	"os"
	osexec "os/exec" // these tests have their own function exec
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// workerEnv makes the test binary a worker; its value is the database's URL.
const workerEnv = "PGTABLE_TEST_WORKER"

// killedFlow replaces places, and waits for the lock "read" before it reads the last row.
func killedFlow(pool *pgxpool.Pool) *dataflow.Flow {
	return placesFlow(pool, dataflow.Map(func(ctx context.Context, p place) (place, error) {
		if p.ID != 5 {
			return p, nil
		}
		_, err := pool.Exec(ctx, `select pg_advisory_xact_lock(hashtext('read'))`)
		return p, err
	}), dataflow.FlowOptions{})
}

// killedClient returns a client that works killedFlow and quickly notices that
// another worker has died.
func killedClient(pool *pgxpool.Pool) (*dataflow.Client, error) {
	return dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{
		Flows: []*dataflow.Flow{killedFlow(pool)}, Lease: time.Second, PollInterval: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
}

// worker is the main function of a process that works the flow until it is killed.
func worker(ctx context.Context, url string) error {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	client, err := killedClient(pool)
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	_, err = os.Stdin.Read(make([]byte, 1)) // waits for ever
	return err
}

// A worker is killed while it collects rows, or between deleting the old rows and
// inserting the new ones. The old rows stay until another worker has done
// everything again.
func TestReplace_Killed(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"read", "move"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			r := newReplaced(t,
				`create function waits() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock(hashtext('move')); return null; end $$`,
				`create trigger waits after delete on places for each statement execute function waits()`,
				`insert into from_here values (2, 'Bonn'), (3, 'Lima'), (4, 'Cork'), (5, 'Bath')`)
			client, err := killedClient(r.pool)
			require.NoError(t, err)
			require.NoError(t, client.Migrate(ctx))
			require.NoError(t, client.Register(ctx))
			run, err := client.Trigger(ctx, "places", &dataflow.TriggerOptions{At: time.Unix(1, 0)})
			require.NoError(t, err)
			lock, err := r.pool.Begin(ctx)
			require.NoError(t, err)
			defer lock.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // it has nothing to commit
			_, err = lock.Exec(ctx, `select pg_advisory_xact_lock(hashtext($1))`, at)
			require.NoError(t, err)

			stdin, keepOpen, err := os.Pipe()
			require.NoError(t, err)
			defer keepOpen.Close() //nolint:errcheck // nothing is written to it
			cmd := osexec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), workerEnv+"="+r.pool.Config().ConnString())
			cmd.Stdin, cmd.Stderr = stdin, os.Stderr
			require.NoError(t, cmd.Start())
			require.NoError(t, stdin.Close())
			require.Eventually(t, func() bool {
				return len(r.rows(`select locktype from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())`)) == 1
			}, 2*time.Minute, 10*time.Millisecond)
			require.NoError(t, cmd.Process.Kill())
			require.Error(t, cmd.Wait())
			r.holds("1 Oslo", "2 Rome")
			_, err = lock.Exec(ctx, `rollback`)
			require.NoError(t, err)

			require.NoError(t, client.Start(ctx))
			run, err = client.Wait(ctx, run.ID)
			require.NoError(t, err)
			require.Equal(t, dataflow.Counters{Read: 4, Written: 4}, run.Counters)
			require.Equal(t, 1, run.Attempt)
			require.NotEmpty(t, run.Errors, "it was rescued")
			require.NoError(t, client.Stop(ctx))
			r.holds("2 Bonn", "3 Lima", "4 Cork", "5 Bath")
			r.nothingBeside()
		})
	}
}
