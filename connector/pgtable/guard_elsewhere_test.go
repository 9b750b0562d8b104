//go:build unix

package pgtable_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// balancer sends the statements after a guard's question to another server, as Pgpool's load
// balancing does, and a reader endpoint or a connection string of several hosts may do.
type balancer struct {
	primary, standby *pgx.ConnConfig
	away             atomic.Bool
}

func (b *balancer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if strings.Contains(data.SQL, "pg_snapshot_xmin") || strings.Contains(data.SQL, "pg_is_in_recovery") {
		b.away.Store(true)
	}
	return ctx
}

func (b *balancer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (b *balancer) server() *pgx.ConnConfig {
	if b.away.Load() {
		return b.standby
	}
	return b.primary
}

func (b *balancer) pool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(b.primary.ConnString())
	require.NoError(t, err)
	config.ConnConfig.Tracer = b
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		c.Host = b.server().Host
		return nil
	}
	config.PrepareConn = func(_ context.Context, c *pgx.Conn) (bool, error) { return c.Config().Host == b.server().Host, nil }
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// A guard's answer holds for the server that gave it. A standby to which the pages are sent, and
// on which a late commit is not replayed yet, gets no row past that one.
func TestGuard_AnotherServer(t *testing.T) {
	t.Parallel()
	primary := dbtest.StartServer(t)
	standby := primary.Standby(t)
	connect := func(server *dbtest.Server) *pgxpool.Pool {
		pool, err := pgxpool.New(t.Context(), server.URL())
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		return pool
	}
	writing, replica := connect(primary), connect(standby)
	exec(t, writing, ticketTable)
	early, err := writing.Begin(t.Context())
	require.NoError(t, err)
	_, err = early.Exec(t.Context(), `insert into ticket (at) values (now() - interval '1 hour')`)
	require.NoError(t, err)
	exec(t, writing, `insert into ticket (at) values (now() - interval '30 minutes')`)
	require.Eventually(t, func() bool {
		var n int
		return replica.QueryRow(t.Context(), `select count(*) from ticket`).Scan(&n) == nil && n == 1
	}, 2*time.Minute, 10*time.Millisecond)
	exec(t, replica, `select pg_wal_replay_pause()`)
	require.Eventually(t, func() bool {
		var paused bool
		return replica.QueryRow(t.Context(), `select pg_is_wal_replay_paused()`).Scan(&paused) == nil && paused
	}, 2*time.Minute, 10*time.Millisecond)
	require.NoError(t, early.Commit(t.Context()))

	for name, guard := range map[string]struct {
		guard pgtable.Guard
		key   string
	}{
		"xid8": {pgtable.XID8{Column: "txid"}, "txid"},
		"lag":  {pgtable.Lag{By: time.Minute}, "at"},
		"open": {pgtable.OpenTransactions{}, "at"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &balancer{primary: writing.Config().ConnConfig, standby: replica.Config().ConnConfig}
			pool := b.pool(t)
			f := &follower{t: t, source: tickets(pool, guard.guard, guard.key, "id")}
			require.Empty(t, f.run(), "the late row is not on the standby yet")
			b.away.Store(false)
			noter, ok := f.source.(dataflow.Noter[pgtable.Cursor])
			require.True(t, ok)
			notes, err := noter.Notes(t.Context(), dataflow.Request[pgtable.Cursor]{})
			require.NoError(t, err)
			require.Contains(t, strings.Join(notes, "\n"), "the pages come from another server")
			f.source = tickets(writing, guard.guard, guard.key, "id")
			require.Len(t, f.run(), 2)
		})
	}
}
