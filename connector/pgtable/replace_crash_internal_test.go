//go:build unix

package pgtable

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

// A server that crashes between two batches empties the staging table. The worker
// may not notice, because its pool makes new connections. The rows that it writes
// afterwards must not replace the table.
func TestReplace_ServerCrashes(t *testing.T) {
	t.Parallel()
	server := dbtest.StartServer(t)
	pool, err := pgxpool.New(t.Context(), server.URL())
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	for _, statement := range []string{createFacts, `insert into facts (id, name) values (1, 'before')`} {
		_, err := pool.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	r := beginReplace(t, pool, "f")
	require.NoError(t, inTransaction(t, pool, func(ctx context.Context) error { return r.WriteTx(ctx, []fact{{ID: 2, Name: "emptied"}}) }))
	server.StopImmediately(t)
	server.Start(t)
	pool.Reset()
	require.NoError(t, inTransaction(t, pool, func(ctx context.Context) error { return r.WriteTx(ctx, []fact{{ID: 3, Name: "left"}}) }))
	require.ErrorContains(t, inTransaction(t, pool, r.EndTx), "table facts: the server has crashed")
	require.Equal(t, []string{"(1,before)"}, query(t, pool, `select id, name from facts`))

	r = beginReplace(t, pool, "f")
	require.NoError(t, inTransaction(t, pool, func(ctx context.Context) error { return r.WriteTx(ctx, []fact{{ID: 4, Name: "again"}}) }))
	require.NoError(t, inTransaction(t, pool, r.EndTx))
	require.Equal(t, []string{"(4,again)"}, query(t, pool, `select id, name from facts`))
}
