package enginetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// meanwhile is a tracer that does something while a statement is on its way to the server.
type meanwhile struct {
	do func(ctx context.Context, conn *pgx.Conn)
}

type tracedKey struct{}

func (m *meanwhile) TraceQueryStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	if do := ctx.Value(tracedKey{}); do != nil { // Wait's own statements
		m.do(ctx, conn)
	}
	return ctx
}

func (*meanwhile) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// Wait returns the run that it has seen, also if its context is done during a query. It waits on after its connection broke.
func TestClient_Wait(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig(dbtest.PostgresURL(t))
	require.NoError(t, err)
	trace := &meanwhile{}
	config.ConnConfig.Tracer = trace
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	db := migrated(onPool(t, pool))
	client := db.client(&dataflow.Config{Flows: []*dataflow.Flow{named("f", dataflow.JobQueue{})}})
	require.NoError(t, client.Register(t.Context()))
	run, err := client.Enqueue(t.Context(), "f", nil)
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), tracedKey{}, true))
	defer cancel()
	asked := 0
	trace.do = func(context.Context, *pgx.Conn) {
		if asked++; asked == 2 {
			cancel()
		}
	}
	seen, err := client.Wait(ctx, run.ID)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, run.ID, seen.ID)
	require.Equal(t, 2, asked)

	ctx = context.WithValue(t.Context(), tracedKey{}, true)
	asked = 0
	trace.do = func(ctx context.Context, conn *pgx.Conn) {
		ctx = context.WithValue(ctx, tracedKey{}, nil)
		switch asked++; asked {
		case 1, 2:
			_, err := pool.Exec(ctx, "select pg_terminate_backend($1, $2)", conn.PgConn().PID(), time.Minute.Milliseconds())
			require.NoError(t, err)
		case 3:
			_, err := client.Cancel(ctx, run.ID, "ann", "enough")
			require.NoError(t, err)
		}
	}
	ended, err := client.Wait(ctx, run.ID)
	require.ErrorContains(t, err, "cancelled: by ann: enough")
	require.Equal(t, dataflow.RunCancelled, ended.State)
}
