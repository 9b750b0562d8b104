//go:build unix

package dbtest_test

import (
	"bufio"
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

const childEnv = "DBTEST_CHILD"

// The test runs itself in another process, and that process starts a server.
func TestServer_EndsWithItsProcess(t *testing.T) {
	t.Parallel()
	if os.Getenv(childEnv) != "" {
		child(t)
		return
	}
	if testing.Short() {
		t.Skip("-short: this test needs PostgreSQL")
	}
	if os.Getenv("DATAFLOW_TEST_DATABASE_URL") != "" {
		t.Skip("DATAFLOW_TEST_DATABASE_URL is set, so no private server is used; there may be no programs for one")
	}

	t.Run("Killed", func(t *testing.T) {
		t.Parallel()
		cmd, life, server := startChild(t)
		defer func() { _ = life.Close() }()
		require.NoError(t, cmd.Process.Kill())
		require.ErrorContains(t, cmd.Wait(), "killed")
		require.Eventually(t, server.gone, 2*time.Minute, 20*time.Millisecond, "%+v", server)
	})

	t.Run("Exits", func(t *testing.T) {
		t.Parallel()
		cmd, life, server := startChild(t)
		require.NoError(t, life.Close())
		require.NoError(t, cmd.Wait())
		require.True(t, server.gone(), "%+v", server)
	})
}

// child prints the URL of a database, and ends when its input ends.
func child(t *testing.T) {
	t.Helper()
	_, err := os.Stdout.WriteString(dbtest.PostgresURL(t) + "\n")
	require.NoError(t, err)
	_, err = os.Stdin.Read(make([]byte, 1))
	require.Error(t, err)
}

// privateServer is the server of a child.
type privateServer struct {
	dir string
	pid int
}

// startChild runs the test again in a child process with a server of its own. Closing the pipe
// ends the child.
func startChild(t *testing.T) (*exec.Cmd, *os.File, privateServer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()[:strings.Index(t.Name(), "/")]+"$")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = t.Output()
	stdin, life, err := os.Pipe()
	require.NoError(t, err)
	cmd.Stdin = stdin
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.NoError(t, stdin.Close())

	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	u, err := url.Parse(strings.TrimSpace(line))
	require.NoError(t, err, line)
	dir := u.Query().Get("host")
	require.NotEmpty(t, dir, line)
	file, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.SplitN(string(file), "\n", 2)[0])
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, 0), "the server does not run")
	return cmd, life, privateServer{dir: dir, pid: pid}
}

// gone reports whether neither the process nor its files exist.
func (s privateServer) gone() bool {
	_, err := os.Stat(s.dir)
	return os.IsNotExist(err) && syscall.Kill(s.pid, 0) == syscall.ESRCH
}
