package dbtest_test

import (
	"context"
	"net/url"
	"path"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestPostgres(t *testing.T) {
	t.Parallel()

	// More subtests than run at once, so that some start while the databases of others are dropped.
	for i := range 8 {
		t.Run("ParallelTestsAreApart"+strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			pool := dbtest.Postgres(t)

			var tables int
			err := pool.QueryRow(t.Context(), "select count(*) from pg_class where relnamespace = 'public'::regnamespace").Scan(&tables)
			require.NoError(t, err)
			require.Zero(t, tables)

			_, err = pool.Exec(t.Context(), "create table thing (id bigint primary key)")
			require.NoError(t, err)
			_, err = pool.Exec(t.Context(), "insert into thing (id) values ($1)", i)
			require.NoError(t, err)
			var ids []int
			require.NoError(t, pool.QueryRow(t.Context(), "select array_agg(id) from thing").Scan(&ids))
			require.Equal(t, []int{i}, ids)
		})
	}

	t.Run("ClosedAndDroppedAtCleanup", func(t *testing.T) {
		t.Parallel()
		witness := dbtest.Postgres(t)
		var name string
		t.Run("Owner", func(t *testing.T) { //nolint:paralleltest // The outer test goes on when it has ended.
			pool := dbtest.Postgres(t)
			t.Cleanup(func() {
				ctx := context.WithoutCancel(t.Context())
				require.NoError(t, pool.Ping(ctx), "closed before the test's own cleanup")
			})
			require.NoError(t, pool.QueryRow(t.Context(), "select current_database()").Scan(&name))
		})
		requireDropped(t, witness, name)
	})
}

func TestPostgresURL(t *testing.T) {
	t.Parallel()

	t.Run("DroppedWhoeverIsConnected", func(t *testing.T) {
		t.Parallel()
		witness := dbtest.Postgres(t)
		var name string
		t.Run("Owner", func(t *testing.T) { //nolint:paralleltest // The outer test goes on when it has ended.
			connString := dbtest.PostgresURL(t)
			u, err := url.Parse(connString)
			require.NoError(t, err)
			name = path.Base(u.Path)
			for range 2 {
				conn, err := pgx.Connect(t.Context(), connString)
				require.NoError(t, err)
				var current string
				require.NoError(t, conn.QueryRow(t.Context(), "select current_database()").Scan(&current))
				require.Equal(t, name, current)
				// It is not closed.
			}
		})
		requireDropped(t, witness, name)
	})

	t.Run("Unique", func(t *testing.T) {
		t.Parallel()
		first, second := dbtest.PostgresURL(t), dbtest.PostgresURL(t)
		require.NotEqual(t, first, second)
	})
}

func requireDropped(t *testing.T, witness *pgxpool.Pool, name string) {
	t.Helper()
	require.NotEmpty(t, name)
	var there bool
	err := witness.QueryRow(t.Context(), "select exists (select from pg_database where datname = $1)", name).Scan(&there)
	require.NoError(t, err)
	require.False(t, there, name)
}
