//go:build unix

package week_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// workerEnv turns the test binary into a worker. It holds the worker's id and version, and the
// kind and the URL of its database, separated by spaces.
const workerEnv = "DATAFLOW_WEEK_WORKER"

func (n napping) Read(ctx context.Context, _ dataflow.Request[dataflow.NoCursor]) iter.Seq2[dataflow.Item[int, dataflow.NoCursor], error] {
	return func(func(dataflow.Item[int, dataflow.NoCursor], error) bool) {
		if n.takes > 0 {
			pause(ctx, n.takes)
		}
	}
}

// work is the main of a worker process: a client that works until its standard input is closed.
func work(ctx context.Context, text string) error {
	var id, version, kind, address string
	if _, err := fmt.Sscan(text, &id, &version, &kind, &address); err != nil {
		return err
	}
	driver, err := open(ctx, kind, address)
	if err != nil {
		return err
	}
	client, err := dataflow.NewClient(driver, &dataflow.Config{
		ID: id, CodeVersion: version, Flows: secondsOf(version), Lease: 2 * time.Second, MaxWorkers: 30,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	fmt.Println("started")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return client.Stop(ctx)
}

func open(ctx context.Context, kind, address string) (dataflow.Driver, error) {
	switch kind {
	case onPostgres:
		pool, err := pgxpool.New(ctx, address)
		if err != nil {
			return nil, err
		}
		return dataflowpgx.New(pool), nil
	case onSQLite:
		db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: address}).EscapedPath()+
			"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)&_pragma=synchronous(normal)")
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(1)
		return dataflowsqlite.New(db), nil
	default:
		return nil, errors.New("unknown kind of database: " + kind)
	}
}

// lived is the life of a worker process.
type lived struct {
	*seconds
	id       string
	cmd      *exec.Cmd
	in       io.WriteCloser
	from, to time.Time // it was certainly alive in between
}

func (l *lived) launch(version string) {
	l.Helper()
	l.cmd = exec.CommandContext(l.Context(), os.Args[0])
	l.cmd.Env = append(os.Environ(), workerEnv+"="+strings.Join([]string{l.id, version, l.kind, l.url}, " "), "GORACE=atexit_sleep_ms=0")
	l.cmd.Stderr = os.Stderr
	out, err := l.cmd.StdoutPipe()
	require.NoError(l, err)
	l.in, err = l.cmd.StdinPipe()
	require.NoError(l, err)
	require.NoError(l, l.cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(l, err)
	require.Equal(l, "started\n", line)
	l.from, l.to = now(), now().Add(24*time.Hour)
}

// kill ends a process by SIGKILL.
func (l *lived) kill() {
	l.Helper()
	l.to = now()
	require.NoError(l, l.cmd.Process.Kill())
	require.Error(l, l.cmd.Wait())
}

// stop ends a process as a service ends, by Client.Stop.
func (l *lived) stop() {
	l.Helper()
	l.to = now()
	require.NoError(l, l.in.Close())
	require.NoError(l, l.cmd.Wait())
}

func now() time.Time { return time.Now() }
