//go:build unix

package enginetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
	"github.com/activedataflow/dataflow/internal/pooler"
)

// busy keeps most server processes of a pooler in use, by transactions of other clients that
// change processes all the time.
func busy(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	const clients = 6
	for range clients {
		pool := through(t, url, pgx.QueryExecModeSimpleProtocol)
		go func() {
			defer func() { done <- struct{}{} }()
			for ctx.Err() == nil {
				_, _ = pool.Exec(ctx, `select pg_sleep(random() * 0.003)`)
			}
		}()
	}
	t.Cleanup(func() {
		cancel()
		for range clients {
			<-done
		}
	})
}

// What a busy pooler can do is found out, or said to be unknown. It is never taken to lack what
// it has.
func TestPgBouncer_Busy(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, string, ...string) string{
		"WithPrepared": func(tb testing.TB, direct string, _ ...string) string {
			tb.Helper()
			return dbtest.NewerPgBouncer(tb, direct, "max_prepared_statements = 200")
		},
		"WithoutPrepared": dbtest.PgBouncer,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct := dbtest.PostgresURL(t)
			url := start(t, direct)
			busy(t, url)
			pool := through(t, url, pgx.QueryExecModeCacheStatement)
			// A pooler on a slow machine may be too busy for long.
			known := 0
			for asked := 0; asked < 60 || known <= 30; asked++ {
				require.Less(t, asked, 1000, "nothing is found out")
				found, err := pooler.Find(t.Context(), pool)
				require.NoError(t, err)
				require.True(t, found.Transaction)
				if found.Unsure {
					require.NoError(t, found.Refuse(pgx.QueryExecModeCacheStatement))
					continue
				}
				known++
				require.Equal(t, name == "WithPrepared", found.Prepared)
			}
		})
	}
}

// As long as a full pooler cannot be asked, clients go on, and say so. Then it is asked again.
func TestPgBouncer_AskedAgain(t *testing.T) {
	t.Parallel()
	direct := dbtest.PostgresURL(t)
	require.NoError(t, onPool(t, through(t, direct, pgx.QueryExecModeCacheDescribe)).client(nil).Migrate(t.Context()))
	url := dbtest.PgBouncer(t, direct, "max_client_conn = 3")
	pool := sized(t, through(t, url, pgx.QueryExecModeExec), 1)
	require.NoError(t, pool.Ping(t.Context()))
	config, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	var others []*pgx.Conn
	for range 2 {
		other, err := pgx.ConnectConfig(t.Context(), config)
		require.NoError(t, err)
		defer other.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // it may be closed
		others = append(others, other)
	}

	guard := pooler.Guard{Pause: time.Nanosecond}
	require.NoError(t, guard.Check(t.Context(), pool))
	require.False(t, guard.Known())
	require.Contains(t, guard.Note(), "a pooler is between this process and Postgres. Whether it is in transaction mode is not known: ")
	require.Contains(t, guard.Note(), "max_client_conn")

	flow := flowTo("hb", 3, dataflow.Identity[int](), nil)
	logs := newLogs()
	client := onPool(t, pool).client(&dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: logs.logger()})
	require.NoError(t, client.Register(t.Context()))
	why, err := client.Why(t.Context(), "hb")
	require.NoError(t, err)
	require.Contains(t, why.String(), "Of the database of the flow: a pooler is between this process and Postgres.")
	require.Len(t, logs.lines("a pooler is between this process and Postgres."), 1)

	// A connection that listens through a pooler in transaction mode would hear nothing.
	store, err := dataflowpgx.New(pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	listened := store.(dataflow.Notifier).Listen(t.Context(), func() { t.Error("it listens") }, func(int64) {}) //nolint:forcetypeassert // it has the power
	require.ErrorContains(t, listened, "whether a pooler keeps a connection to listen on is not known yet")

	for _, other := range others {
		require.NoError(t, other.Close(t.Context()))
	}
	require.NoError(t, guard.Check(t.Context(), pool))
	require.True(t, guard.Known())
	require.True(t, guard.Found().Transaction)
	require.Empty(t, guard.Note())
}
