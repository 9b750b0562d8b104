package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The program serves its pages until it is interrupted, and ends in good order.
func TestDashboard(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "dashboard")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "localhost:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(free.Addr().String())
	require.NoError(t, err)
	require.NoError(t, free.Close())

	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), "PORT="+port)
	require.NoError(t, cmd.Start())
	get := func(page string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost:"+port+"/dataflow"+page, nil)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return ""
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, resp.StatusCode, page)
		return string(body)
	}
	require.Eventually(t, func() bool { return get("/") != "" }, 2*time.Minute, 50*time.Millisecond)
	require.Contains(t, get("/runs"), "success")
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, cmd.Wait())
}
