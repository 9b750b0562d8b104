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
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	startTimeout = 3 * time.Minute
	stopTimeout  = 2 * time.Minute
)

// script runs a server in the directory $2, with the programs in $1, until its standard input
// ends. This process holds the other end of that pipe, so the server also ends when this
// process is killed. TERM comes before QUIT, because a postgres that has not yet installed its
// handlers ignores QUIT, as background jobs do.
const script = `
bin=$1 dir=$2
trap 'cd /; rm -rf "$dir"' EXIT
"$bin/initdb" --pgdata="$dir/data" --auth=trust --no-sync --username=postgres --encoding=UTF8 --locale=C || exit 1
exec 3<&0
"$bin/postgres" -D "$dir/data" -k "$dir" -p 5432 -c listen_addresses= \
	-c fsync=off -c synchronous_commit=off -c full_page_writes=off \
	-c max_connections=400 -c max_prepared_transactions=16 -c shared_buffers=64MB -c min_wal_size=32MB -c max_wal_size=128MB -c jit=off \
	-c max_parallel_workers_per_gather=0 -c max_parallel_maintenance_workers=0 \
	-c timezone=UTC -c logging_collector=off 3<&- &
server=$!
{ read -r _ <&3; kill -TERM "$server"; kill -QUIT "$server"; } &
watcher=$!
wait "$server"
kill "$watcher" 2>/dev/null
`

// server is a running PostgreSQL, and the shell that controls it.
type server struct {
	url  *url.URL
	dir  string
	cmd  *exec.Cmd
	life io.Closer // The pipe to the shell. Closing it ends the server.

	exited  chan struct{} // Closed when the shell has ended and exitErr is set.
	exitErr error
}

// startServer starts a server with the programs in bin, and returns when it accepts connections.
func startServer(ctx context.Context, bin string) (*server, error) {
	owner, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := makeDir(owner)
	if err != nil {
		return nil, fmt.Errorf("make a directory for PostgreSQL: %w", err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	// The shell removes the file, but it can be read until it is closed here.
	defer func() { _ = log.Close() }()

	s, err := launch(ctx, bin, dir, owner, log)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start PostgreSQL: %w", err), os.RemoveAll(dir))
	}
	if err := s.ready(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start PostgreSQL from %s: %w; its log:\n%s", bin, err, tail(log)), s.stop())
	}
	return s, nil
}

// unprivileged returns the user to run the server as. It is nil for the user of this process.
// PostgreSQL refuses to run as root, so root gets another user.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(account.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(account.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, fmt.Errorf("PostgreSQL does not run as root, and there is neither a user postgres nor nobody "+
		"to run it as; test as another user, or set %s", urlEnv)
}

func launch(ctx context.Context, bin, dir string, owner *syscall.Credential, log *os.File) (*server, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script, "dfpg", bin, dir)
	cmd.Dir = dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "PG") // PGDATA, PGPORT and so on mean another server.
	}), "LC_ALL=C")
	cmd.Stdout, cmd.Stderr = log, log // Not ours: go test waits until every holder of its output has ended.
	// The shell is in a group of its own, so that Ctrl-C does not end it before it cleans up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner, Setpgid: true}
	life, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{
		url: &url.URL{
			Scheme: "postgres", User: url.User("postgres"), Path: "/postgres",
			RawQuery: url.Values{"host": {dir}, "port": {"5432"}, "sslmode": {"disable"}}.Encode(),
		},
		dir: dir, cmd: cmd, life: life, exited: make(chan struct{}),
	}
	go func() {
		defer close(s.exited)
		s.exitErr = cmd.Wait()
	}()
	return s, nil
}

// ready waits until the server accepts connections.
func (s *server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.url.String())
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it has ended: %w", errors.Join(s.exitErr, err))
		case <-ctx.Done():
			return fmt.Errorf("it accepts no connections after %v: %w", startTimeout, err)
		case <-ticker.C:
		}
	}
}

// stop stops the server, waits until it has ended, and removes its files.
func (s *server) stop() error {
	_ = s.life.Close()
	var err error
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		err = fmt.Errorf("PostgreSQL has not stopped after %v", stopTimeout)
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// tail returns the end of a file, or "" if it cannot be read.
func tail(file *os.File) string {
	const size = 4096
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	text, _ := io.ReadAll(io.NewSectionReader(file, max(0, info.Size()-size), size))
	return string(text)
}
