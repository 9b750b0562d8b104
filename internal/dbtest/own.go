//go:build unix

package dbtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// Server is a PostgreSQL server of a test's own. The test may stop and start it as it likes.
// As in production, an immediate stop loses nothing that was committed.
type Server struct {
	bin, dir string
	owner    *syscall.Credential
}

// ownScript makes the data of a server by the command $3 …, and keeps the directory $2 of the
// server until its standard input ends. That also happens when the process at the other end is
// killed.
const ownScript = `
bin=$1 dir=$2
shift 2
trap '"$bin/pg_ctl" stop --pgdata="$dir/data" --mode=immediate >/dev/null 2>&1; cd /; rm -rf "$dir"' EXIT
"$@" || exit 1
echo ready >&3
exec 3>&-
read -r _
`

// ownOptions turn off fsync, which is needed only if the machine crashes.
const ownOptions = `-k %s -p 5432 -c listen_addresses= -c fsync=off -c max_connections=400 -c shared_buffers=64MB ` +
	`-c min_wal_size=32MB -c max_wal_size=128MB -c jit=off -c timezone=UTC -c logging_collector=off`

// StartServer starts a server for one test, even if DATAFLOW_TEST_DATABASE_URL names another
// one. The server ends with the test. It skips the test if DATAFLOW_TEST_DATABASE_URL is set and
// this machine has no PostgreSQL. It skips the test with -short too.
func StartServer(tb testing.TB) *Server {
	tb.Helper()
	skipShort(tb)
	bin, err := findBin(tb.Context(), places)
	if err != nil && os.Getenv(urlEnv) != "" {
		tb.Skipf("%s is set, and there are no programs on this machine for a server of the test's own", urlEnv)
	}
	require.NoError(tb, err)
	s := newServer(tb, bin, func(data string) []string {
		return []string{filepath.Join(bin, "initdb"), "--pgdata=" + data, "--auth=trust", "--no-sync", "--username=postgres", "--encoding=UTF8", "--locale=C"}
	})
	s.Start(tb)
	return s
}

// newServer returns a server whose data a command makes.
func newServer(tb testing.TB, bin string, command func(data string) []string) *Server {
	tb.Helper()
	owner, err := unprivileged()
	require.NoError(tb, err)
	dir, err := makeDir(owner)
	require.NoError(tb, err)
	s := &Server{bin: bin, dir: dir, owner: owner}
	life, err := s.keep(tb.Context(), command(s.data()))
	if err != nil {
		tb.Fatal("dbtest: make a server:", errors.Join(err, os.RemoveAll(dir)))
	}
	tb.Cleanup(func() { require.NoError(tb, life()) })
	return s
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// copyScript copies the data of a running server from $1 to $2. Files may go meanwhile. The copy
// has no slots.
const copyScript = `cp -a "$1" "$2" 2>/dev/null; cd "$2" && rm -rf postmaster.* pg_replslot/* && touch standby.signal && test -s global/pg_control`

// Standby starts a streaming standby of the server, with these settings, such as
// "hot_standby_feedback = on". It ends with the test. It needs none of the programs that clients
// have.
func (s *Server) Standby(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	ctx := tb.Context()
	conn, err := pgx.Connect(ctx, s.URL()) // which must stay until the copy is made
	require.NoError(tb, err)
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the backup has ended
	var version int
	require.NoError(tb, conn.QueryRow(ctx, "select current_setting('server_version_num')::integer").Scan(&version))
	begin, end := "pg_backup_start('dbtest', true)", "pg_backup_stop(false)"
	if version < 150000 {
		begin, end = "pg_start_backup('dbtest', true, false)", "pg_stop_backup(false, false)"
	}
	_, err = conn.Exec(ctx, "select "+begin)
	require.NoError(tb, err)
	standby := newServer(tb, s.bin, func(data string) []string { return []string{"/bin/sh", "-c", copyScript, "dfpg", s.data(), data} })
	var label string
	require.NoError(tb, conn.QueryRow(ctx, "select labelfile from "+end).Scan(&label))
	standby.write(tb, "backup_label", label)
	standby.write(tb, "postgresql.auto.conf", strings.Join(append(settings, fmt.Sprintf("primary_conninfo = 'host=%s port=5432 user=postgres dbname=postgres'", s.dir)), "\n")+"\n")
	standby.Start(tb)
	return standby
}

// write adds text to a file of the server's data.
func (s *Server) write(tb testing.TB, name, text string) {
	tb.Helper()
	path := filepath.Join(s.data(), name)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(tb, err)
	_, err = f.WriteString(text)
	require.NoError(tb, errors.Join(err, f.Close()))
	if s.owner != nil {
		require.NoError(tb, os.Chown(path, int(s.owner.Uid), int(s.owner.Gid)))
	}
}

// Promote makes a standby a primary, and returns when it accepts writes.
func (s *Server) Promote(tb testing.TB) {
	tb.Helper()
	s.control(tb, "promote", "--wait")
}

// keep makes the server's files by a command. It returns a function that stops the server and
// removes them.
func (s *Server) keep(ctx context.Context, command []string) (end func() error, err error) {
	args := append([]string{"-c", ownScript, "dfpg", s.bin, s.dir}, command...)
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/bin/sh", args...)
	s.own(cmd)
	ready, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = ready.Close() }()
	cmd.ExtraFiles = []*os.File{writer}
	life, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	_ = writer.Close()
	if err != nil {
		return nil, err
	}
	end = func() error {
		_ = life.Close()
		_ = cmd.Wait()
		return os.RemoveAll(s.dir)
	}
	if said, err := io.ReadAll(ready); err != nil || len(said) == 0 {
		return nil, errors.Join(fmt.Errorf("%s failed", command[0]), err, end())
	}
	return end, nil
}

// own makes a command run as the server's user.
func (s *Server) own(cmd *exec.Cmd) {
	cmd.Dir = s.dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "PG") }), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner, Setpgid: true}
}

// URL is the URL of the server's database postgres, with a superuser.
func (s *Server) URL() string {
	u := url.URL{
		Scheme: "postgres", User: url.User("postgres"), Path: "/postgres",
		RawQuery: url.Values{"host": {s.dir}, "port": {"5432"}, "sslmode": {"disable"}}.Encode(),
	}
	return u.String()
}

// Socket is the path of the server's socket.
func (s *Server) Socket() string { return filepath.Join(s.dir, ".s.PGSQL.5432") }

// Log is what the server has logged so far.
func (s *Server) Log(tb testing.TB) string {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, "log"))
	require.NoError(tb, err)
	return string(data)
}

// Start starts a stopped server, and returns when the server accepts connections.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	s.control(tb, "start", "--wait", "--log="+filepath.Join(s.dir, "log"), "--options="+fmt.Sprintf(ownOptions, s.dir))
}

// StopImmediately stops the server in mode immediate: its clients lose their connections at
// once, and it recovers from its write-ahead log at the next start.
func (s *Server) StopImmediately(tb testing.TB) {
	tb.Helper()
	s.control(tb, "stop", "--wait", "--mode=immediate")
}

func (s *Server) control(tb testing.TB, action string, args ...string) {
	tb.Helper()
	args = append([]string{action, "--silent", "--pgdata=" + s.data()}, args...)
	cmd := exec.CommandContext(tb.Context(), filepath.Join(s.bin, "pg_ctl"), args...)
	s.own(cmd)
	// The command gets no output of ours: the server would inherit it, and go test waits until
	// every holder of its output has ended.
	require.NoError(tb, cmd.Run(), "pg_ctl %s", action)
}
