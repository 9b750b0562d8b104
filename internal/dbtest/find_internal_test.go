package dbtest

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCandidates_HighestVersionFirst(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, version := range []string{"9.6", "10", "15", "9.5"} {
		makePrograms(t, filepath.Join(root, version, "bin"), "initdb", "postgres")
	}
	found := candidates(t.Context(), []string{filepath.Join(root, "*", "bin")})
	require.GreaterOrEqual(t, len(found), 4)
	require.Equal(t, []string{
		filepath.Join(root, "15", "bin"), filepath.Join(root, "10", "bin"),
		filepath.Join(root, "9.6", "bin"), filepath.Join(root, "9.5", "bin"),
	}, found[len(found)-4:])
}

func TestHasServer(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "bin")
	makePrograms(t, dir, "initdb")
	require.False(t, hasServer(dir), "the client's programs are not enough")
	makePrograms(t, dir, "postgres")
	require.True(t, hasServer(dir))
}

func TestFindBin_Missing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := findBin(t.Context(), []string{"/nonexistent/*/bin"})
	for _, part := range []string{"/nonexistent/*/bin", "pg_config --bindir", urlEnv, "apt-get install postgresql", "scripts/ensure-postgres.sh"} {
		require.ErrorContains(t, err, part)
	}
}

func TestDatabaseURL(t *testing.T) {
	t.Parallel()
	admin, err := url.Parse("postgres://me:secret@host:5433/postgres?dbname=other&sslmode=disable")
	require.NoError(t, err)
	require.Equal(t, "postgres://me:secret@host:5433/fresh?sslmode=disable", databaseURL(admin, "fresh"))
}

func TestAdminURL_NotURL(t *testing.T) {
	t.Setenv(urlEnv, "host=db password=secret")
	_, err := adminURL(t.Context())
	require.ErrorContains(t, err, urlEnv)
	require.NotContains(t, err.Error(), "secret")
}

func makePrograms(t *testing.T, dir string, names ...string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for _, name := range names {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755))
	}
}
