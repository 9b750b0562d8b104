// The examples are run here as programs, as their users run them. Those that do not end by
// themselves have tests of their own.
package examples_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestMain(m *testing.M) {
	code := dbtest.Main(m)
	_ = os.RemoveAll(programs)
	os.Exit(code)
}

// programs is where the examples were built.
var programs string

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "examples")
	if err != nil {
		return "", err
	}
	programs = dir
	out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", dir+"/",
		"./upsert", "./transaction", "./connector", "./kill", "./heartbeat", "./httpapi", "./databases", "./backfill", "./river", "./hello", "./schedules").CombinedOutput()
	return string(out), err
})

// command is an example, in an empty directory.
func command(ctx context.Context, t *testing.T, name string, env ...string) *exec.Cmd {
	t.Helper()
	out, err := build()
	require.NoError(t, err, out)
	cmd := exec.CommandContext(ctx, filepath.Join(programs, name))
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), append([]string{"DATABASE_URL="}, env...)...)
	return cmd
}

// run returns what an example writes to its end.
func run(t *testing.T, name string, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := command(ctx, t, name, env...)
	cmd.Stderr = io.Discard // the log
	out, err := cmd.Output()
	require.NoError(t, err, string(out))
	return string(out)
}

func postgres(t *testing.T) string {
	t.Helper()
	return "DATABASE_URL=" + dbtest.PostgresURL(t)
}

// Each example has a page that says what to look at, and is listed.
func TestReadmes(t *testing.T) {
	t.Parallel()
	list, err := os.ReadFile("README.md")
	require.NoError(t, err)
	mains, err := filepath.Glob("*/main.go")
	require.NoError(t, err)
	require.Greater(t, len(mains), 10)
	for _, main := range append(mains, "../dataflowotel/examples/otel/main.go") {
		folder := filepath.Dir(main)
		require.Contains(t, string(list), "]("+folder+")")
		page, err := os.ReadFile(filepath.Join(folder, "README.md"))
		require.NoError(t, err)
		require.Contains(t, string(page), "go run ./examples/"+filepath.Base(folder))
	}
}

// The second call goes on where the first one ended.
func TestHello(t *testing.T) {
	t.Parallel()
	file, err := filepath.Abs("../testdata")
	require.NoError(t, err)
	call := func(dir string) string {
		cmd := command(t.Context(), t, "hello")
		cmd.Dir, cmd.Stderr = dir, io.Discard // the log
		out, err := cmd.Output()
		require.NoError(t, err, string(out))
		return string(out)
	}
	dir := t.TempDir()
	require.NoError(t, os.Symlink(file, filepath.Join(dir, "testdata")))
	require.Regexp(t, `^run 1: success, [1-9][0-9]* read, [1-9][0-9]* written\n$`, call(dir))
	require.Equal(t, "run 2: success, 0 read, 0 written\n", call(dir))
}

// The other ticks depend on the machine's speed.
func TestSchedules(t *testing.T) {
	t.Parallel()
	out := run(t, "schedules")
	for _, want := range []string{
		`(?s)Why is slow not running\?\n.*run [0-9]+ is in progress`, `(?s)Why is quick not running\?\n.*by ann: the disk is full`,
		`(?s)Ticks of quick:\n.*run [0-9]+, success\n.*[0-9]+ skipped: paused\n`, `(?s)Ticks of slow:\n.*[0-9]+ skipped: overlap\n`,
	} {
		require.Regexp(t, want, out)
	}
}

func TestUpsert(t *testing.T) {
	t.Parallel()
	require.Equal(t, `run 1: success, 3 read, 2 written, 1 kept as dead letters
dead letter 1: {"ID":2,"Email":"no address","Cents":990,"UpdatedAt":TIME}: the email address is missing
1 replayed, 0 failed
order 1 of ada@example.com
order 2 of brian@example.com
order 3 of grace@example.com
`, regexp.MustCompile(`"20[^"]*"`).ReplaceAllString(run(t, "upsert", postgres(t)), "TIME"))
}

func TestTransaction(t *testing.T) {
	t.Parallel()
	require.Equal(t, `ada: run 1: success, 1 written
eve: nothing was stored, and no run was started: her card was refused
invoices: ada
`, run(t, "transaction", postgres(t)))
}

func TestConnector(t *testing.T) {
	t.Parallel()
	require.Equal(t, "run 1: success, 3 read, 2 written, 1 dropped\n", run(t, "connector"))
}

func TestKill(t *testing.T) {
	t.Parallel()
	out := run(t, "kill", postgres(t))
	require.Contains(t, out, "20000 rows of 20000 numbers, after 3 kills\n")
	require.Equal(t, 3, strings.Count(out, "kill -9"))
}

func TestHTTPAPI(t *testing.T) {
	t.Parallel()
	require.Equal(t, `run 1: success, 25 read, 25 written
run 2: success, 1 read, 0 written
`, run(t, "httpapi", postgres(t)))
}

func TestDatabases(t *testing.T) {
	t.Parallel()
	require.Equal(t, `run 1: success, 1000 read, 1000 written
run 2: success, 10 read, 10 written
`, run(t, "databases", postgres(t), "SHOP_URL="+dbtest.PostgresURL(t)))
}

func TestBackfill(t *testing.T) {
	t.Parallel()
	out := run(t, "backfill", postgres(t))
	require.Contains(t, out, "8 of 8 ranges done, 43200 of 43200 records read\n", "the minutes of November")
	require.Contains(t, out, "its cursor is at the beginning: true\n")
}

func TestRiver(t *testing.T) {
	t.Parallel()
	require.Equal(t, `mail to ada@example.com
run 1: success, 2 written, by a job in the queue "flows"
`, run(t, "river", postgres(t)))
}

// A call works what is due, and one without the token nothing.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "localhost:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(free.Addr().String())
	require.NoError(t, err)
	require.NoError(t, free.Close())
	const token = "0123456789abcdef0123456789abcdef"
	cmd := command(t.Context(), t, "heartbeat", "PORT="+port, "HEARTBEAT_TOKEN="+token)
	require.NoError(t, cmd.Start())
	call := func(token string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost:"+port+"/heartbeat?wait=10s", http.NoBody)
		require.NoError(t, err)
		req.Header.Set("X-Heartbeat-Token", token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, "" // it does not listen yet
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, string(body)
	}
	require.Eventually(t, func() bool {
		_, body := call(token)
		return strings.Contains(body, `"state": "success"`) || strings.Contains(body, `"state":"success"`)
	}, time.Minute, 50*time.Millisecond)
	status, _ := call("another")
	require.Equal(t, http.StatusUnauthorized, status)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, cmd.Wait())
}

// An example that lacks its database says in one line what to set.
func TestNoDatabase(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"upsert": "DATABASE_URL", "databases": "SHOP_URL", "heartbeat": "HEARTBEAT_TOKEN"} {
		out, err := command(t.Context(), t, name, "SHOP_URL=", "HEARTBEAT_TOKEN=").CombinedOutput()
		require.Error(t, err)
		require.Equal(t, 1, strings.Count(string(out), "\n"), string(out))
		require.Contains(t, string(out), "set "+want)
	}
}
