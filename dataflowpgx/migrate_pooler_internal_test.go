package dataflowpgx

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// A pooler with one connection to the server has none beside the lock.
func TestMigrate_PoolerOfOne(t *testing.T) { //nolint:paralleltest // it changes secondWait
	before := secondWait
	t.Cleanup(func() { secondWait = before })
	secondWait = 100 * time.Millisecond
	pool, err := pgxpool.New(t.Context(), dbtest.PgBouncer(t, dbtest.PostgresURL(t), "default_pool_size = 1")+"&default_query_exec_mode=cache_describe")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	var said strings.Builder
	client, err := dataflow.NewClient(New(pool), &dataflow.Config{Logger: slog.New(slog.NewTextHandler(&said, nil))})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.Equal(t, 1, strings.Count(said.String(), "the pooler gave no second connection to migrate with"))
}
