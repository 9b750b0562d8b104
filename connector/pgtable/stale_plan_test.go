package pgtable_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// prepareEverywhere executes a read on one connection of the pool after the other,
// so that each has prepared the statements.
func prepareEverywhere(t *testing.T, pool *pgxpool.Pool, read func()) {
	t.Helper()
	var held []*pgxpool.Conn
	for range pool.Config().MaxConns {
		read() // on a connection that is not held
		conn, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		held = append(held, conn)
	}
	for _, conn := range held {
		conn.Release()
	}
}

// A statement that a change of the table has made stale is executed again, on each
// connection that had prepared it.
func TestRead_StalePlan(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table t (id int primary key, n int)`, `insert into t values (1, 1), (2, 2)`)
	keyset := pgtable.Keyset[numbered](pool, pgtable.Query{SQL: `select * from t`, Key: []string{"id"}, PageSize: 1})
	sel := pgtable.Select[numbered](pool, `select n from t order by id`)
	read := func() {
		require.Equal(t, []numbered{{1}, {2}}, values(readAll(t, keyset)))
		var all []numbered
		for item, err := range sel.Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
			require.NoError(t, err)
			all = append(all, item.Value)
		}
		require.Equal(t, []numbered{{1}, {2}}, all)
	}
	for _, typ := range []string{"bigint", "smallint"} {
		prepareEverywhere(t, pool, read)
		_, err := pool.Exec(t.Context(), `alter table t alter n type `+typ)
		require.NoError(t, err)
		read()
	}
}
