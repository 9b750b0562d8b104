package dbtest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

var filled int

var template = dbtest.Template{Fill: func(ctx context.Context, pool *pgxpool.Pool) error {
	filled++
	_, err := pool.Exec(ctx, "create table thing as select 1 as id")
	return err
}}

// Each test has a copy of its own of what was filled once.
func TestTemplate(t *testing.T) {
	t.Parallel()
	one, other := template.Postgres(t), template.Postgres(t)
	_, err := one.Exec(t.Context(), "insert into thing values (2)")
	require.NoError(t, err)
	for pool, want := range map[*pgxpool.Pool][]int{one: {1, 2}, other: {1}} {
		var ids []int
		require.NoError(t, pool.QueryRow(t.Context(), "select array_agg(id order by id) from thing").Scan(&ids))
		require.Equal(t, want, ids)
	}
	require.Equal(t, 1, filled)
}
