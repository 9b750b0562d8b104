package pgchange_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgchange"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// PgBouncer refuses the settings of the stream's sessions. The error says that a pooler is in the way.
func TestStream_PgBouncer(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), dbtest.PgBouncer(t, dbtest.PostgresURL(t))+"&default_query_exec_mode=cache_describe")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	source := pgchange.Stream[named](pool, pgchange.Options{Publication: "p", Slot: "behind"})
	for _, err = range source.Read(t.Context(), dataflow.Request[pgchange.Position]{}) {
		break
	}
	require.ErrorContains(t, err, "unsupported startup parameter")
	require.ErrorContains(t, err, "a pooler is in the way")
}
