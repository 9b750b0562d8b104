//go:build unix

package cli

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

// The doctor names the exec mode to set behind a real pooler.
func TestDoctor_PgBouncer(t *testing.T) {
	t.Parallel()
	url := dbtest.PgBouncer(t, dbtest.PostgresURL(t))
	for mode, state := range map[string]string{"cache_statement": "problem", "describe_exec": "problem", "cache_describe": "warning"} {
		pool, err := pgxpool.New(t.Context(), url+"&default_query_exec_mode="+mode)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		s := &session{app: &app{}, db: Database{Postgres: pool}}
		found := s.pooler(t.Context())
		require.Equal(t, state, found.State, found.Text)
		require.Contains(t, found.Text, "default_query_exec_mode=cache_describe")
		if state == "problem" {
			all, err := s.examine(t.Context())
			require.NoError(t, err)
			require.Equal(t, found, all[len(all)-1])
		}
	}
}
