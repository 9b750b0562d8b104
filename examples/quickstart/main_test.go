package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

// The program runs twice as a user runs it. The second time it has nothing to do.
func TestQuickstart(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "quickstart")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		runTwice(t, program, "Working on SQLite", "DATABASE_URL=")
	})
	t.Run("Postgres", func(t *testing.T) {
		t.Parallel()
		runTwice(t, program, "Working on Postgres", "DATABASE_URL="+dbtest.PostgresURL(t))
	})
}

func runTwice(t *testing.T, program, working, env string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "quickstart.db")
	first := runOnce(t, program, file, env)
	require.Contains(t, first, working)
	require.Contains(t, first, "strikes   4000 of 10000 records read, 4000 written\n", "it shows progress")
	require.Contains(t, first, "strikes  10000 of 10000 records read, 10000 written\n")
	require.Regexp(t, `1  strikes  success +10000 +10000 +0 `, first)
	require.Regexp(t, `2  costs    success +10000 +209 +9791 `, first)
	require.Regexp(t, `9999 +2002-07-25 +BARKSDALE AIR FORCE BASE ARPT +Unknown bird or bat +0 +110`, first)
	totals := func(out string) {
		require.Regexp(t, `Canada goose +26 +15389869`, out)
		require.Regexp(t, `10000 +209 +40545276`, out)
	}
	totals(first)

	second := runOnce(t, program, file, env)
	require.NotContains(t, second, "records read,", "there is nothing to read")
	require.Regexp(t, `3  strikes  success +0 +0 +0 `, second)
	require.Regexp(t, `4  costs    success +0 +0 +0 `, second)
	totals(second)
}

func runOnce(t *testing.T, program, file, env string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-csv", "../../testdata/birdstrikes.csv", "-db", file)
	cmd.Env = append(os.Environ(), env)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}
