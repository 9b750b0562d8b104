package cli_test

import (
	"context"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

// The statements of docs/postgres.md give a role that works flows, and one that looks at them, what
// they need, and no more.
func TestRoles(t *testing.T) {
	t.Parallel()
	address := dbtest.PostgresURL(t)
	owner := newCLI(t, address).migrated()
	text, err := os.ReadFile("../../docs/postgres.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), "\n## Roles\n")
	require.True(t, found)
	_, block, found := strings.Cut(section, "```text\n")
	require.True(t, found)
	block, _, _ = strings.Cut(block, "```")
	database, _, _ := strings.Cut(path.Base(address), "?")
	worker, viewer := database+"_worker", database+"_viewer" // roles belong to the server
	statements := strings.NewReplacer("dataflow_worker", worker, "dataflow_viewer", viewer).Replace(block)
	require.Equal(t, 7, strings.Count(statements, ";"))
	t.Cleanup(func() {
		ctx := context.Background()
		conn, err := pgx.Connect(ctx, address)
		require.NoError(t, err)
		for _, role := range []string{worker, viewer} {
			_, err := conn.Exec(ctx, "drop owned by "+role+"; drop role "+role)
			require.NoError(t, err)
		}
		require.NoError(t, conn.Close(ctx))
	})
	owner.exec(statements)

	as := func(role string) *cliT {
		separator := "?"
		if strings.Contains(address, "?") {
			separator = "&"
		}
		return newCLI(t, address+separator+"options=-crole%3D"+role)
	}
	w, v := as(worker), as(viewer)
	w.ok("enqueue", "orders", "--wait")
	w.ok("flow", "pause", "orders")
	w.ok("flow", "resume", "orders")
	w.ok("cleanup", "--yes")
	require.Contains(t, w.ok("doctor"), "schema")
	for _, command := range []string{"status", "flow list", "flow why orders", "run list", "run show 1", "dead-letter list", "cursor show orders", "schedule next", "audit", "doctor", "migrate status"} {
		v.ok(words(command)...)
	}
	require.Contains(t, v.fails(5, "flow", "pause", "orders"), "permission denied")
	require.Contains(t, v.fails(5, "enqueue", "orders"), "permission denied")
	require.Contains(t, v.fails(5, "work"), "permission denied")
	require.Contains(t, w.fails(5, "migrate", "down", "--to", "17", "--yes"), "must be owner")
}
