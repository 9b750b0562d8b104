//go:build unix

package dbtest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

// After a restart, committed rows exist and uncommitted ones do not.
func TestServer_StopImmediately(t *testing.T) {
	t.Parallel()
	server := dbtest.StartServer(t)
	first, err := pgx.Connect(t.Context(), server.URL())
	require.NoError(t, err)
	_, err = first.Exec(t.Context(), "create table thing (id integer)")
	require.NoError(t, err)
	_, err = first.Exec(t.Context(), "insert into thing values (1)")
	require.NoError(t, err)
	_, err = first.Exec(t.Context(), "begin; insert into thing values (2)")
	require.NoError(t, err)

	server.StopImmediately(t)
	require.Error(t, first.Ping(t.Context()))
	_, err = pgx.Connect(t.Context(), server.URL())
	require.Error(t, err)

	server.Start(t)
	second, err := pgx.Connect(t.Context(), server.URL())
	require.NoError(t, err)
	defer second.Close(t.Context()) //nolint:errcheck // the server ends anyway
	var ids []int
	require.NoError(t, second.QueryRow(t.Context(), "select array_agg(id) from thing").Scan(&ids))
	require.Equal(t, []int{1}, ids)
}
