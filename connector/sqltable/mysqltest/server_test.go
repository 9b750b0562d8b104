//go:build unix

package mysqltest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

const (
	dsnEnv     = "DATAFLOW_TEST_MYSQL_DSN"
	requireEnv = "DATAFLOW_TEST_REQUIRE_MYSQL"
)

// places are where packages install the server, besides PATH.
// scripts/ensure-mariadb.sh has the same list.
var places = []string{"/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/opt/mariadb*/bin"}

// script runs a server in the directory $2 until its standard input ends. That also
// happens when the process at the other end is killed.
const script = `
server=$1 dir=$2
trap 'cd /; rm -rf "$dir"' EXIT
"$3" --no-defaults --auth-root-authentication-method=normal --skip-test-db --datadir="$dir/data" --innodb-log-file-size=16M || exit 1
exec 3<&0
"$server" --no-defaults --datadir="$dir/data" --tmpdir="$dir" --socket="$dir/socket" --pid-file="$dir/pid" --skip-networking \
	--innodb-log-file-size=16M --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=0 --innodb-flush-method=nosync --skip-log-bin \
	--max-connections=400 --character-set-server=utf8mb4 3<&- &
server=$!
{ read -r _ <&3; kill -TERM "$server"; } &
watcher=$!
wait "$server"
kill "$watcher" 2>/dev/null
`

func TestMain(m *testing.M) {
	if err := mysql.SetLogger(&mysql.NopLogger{}); err != nil { // some tests break connections on purpose
		panic(err)
	}
	code := dbtest.Main(m)
	if err := private.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "mysqltest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// private is the server of this test binary, used if no other is given.
var private server

type server struct {
	once   sync.Once
	config *mysql.Config
	err    error
	life   io.Closer
	dir    string

	exited  chan struct{} // closed once the shell has ended and exitErr is set
	exitErr error
}

var errNoServer = fmt.Errorf("no MariaDB or MySQL to test with: %s is not set, and there is no mariadbd beside mariadb-install-db; "+
	"set %[1]s to a server on which the tests may create databases, like root:password@tcp(localhost:3306)/, "+
	"or `apt-get install mariadb-server`, or run scripts/ensure-mariadb.sh, which does so where it can", dsnEnv)

// find returns the paths of the server and of the program that creates its files.
func find() (server, install string, err error) {
	for _, place := range places {
		dirs, _ := filepath.Glob(place)
		for _, dir := range dirs {
			_ = os.Setenv("PATH", os.Getenv("PATH")+string(os.PathListSeparator)+dir)
		}
	}
	server, serverErr := exec.LookPath("mariadbd")
	install, installErr := exec.LookPath("mariadb-install-db")
	if serverErr != nil || installErr != nil {
		return "", "", errNoServer
	}
	return server, install, nil
}

// unprivileged returns the user to run the server as: nil for this process's user,
// or another one if that is root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"mysql", "nobody"} {
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
	return nil, errors.New("MariaDB does not run as root, and there is neither a user mysql nor nobody to run it as")
}

func (s *server) start(ctx context.Context) (*mysql.Config, error) {
	s.once.Do(func() {
		if dsn := os.Getenv(dsnEnv); dsn != "" {
			s.config, s.err = mysql.ParseDSN(dsn)
			return
		}
		s.err = s.launch(context.WithoutCancel(ctx))
	})
	return s.config, s.err
}

func (s *server) launch(ctx context.Context) error {
	program, install, err := find()
	if err != nil {
		return err
	}
	owner, err := unprivileged()
	if err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "dfmy"); err != nil {
		return err
	}
	if owner != nil {
		if err := os.Chown(s.dir, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script, "dfmy", program, s.dir, install)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log // Not this process's output: go test waits for every process that holds it.
	// In its own process group, so that Ctrl-C does not kill the shell before it cleans up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner, Setpgid: true}
	if s.life, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func() {
		defer close(s.exited)
		s.exitErr = cmd.Wait()
	}()
	s.config = mysql.NewConfig()
	s.config.User, s.config.Net, s.config.Addr = "root", "unix", filepath.Join(s.dir, "socket")
	if err := s.ready(ctx); err != nil {
		said, _ := os.ReadFile(log.Name())
		return errors.Join(fmt.Errorf("start %s: %w; its log:\n%s", program, err, said[max(0, len(said)-4096):]), s.stop())
	}
	return nil
}

// ready waits until the server accepts connections.
func (s *server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	connector, err := mysql.NewConnector(s.config)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it has ended: %w", errors.Join(s.exitErr, err))
		case <-ctx.Done():
			return fmt.Errorf("it takes no connections: %w", err)
		case <-ticker.C:
		}
	}
}

// stop stops the server, if it runs, and waits until it has ended.
func (s *server) stop() error {
	if s.life == nil {
		return nil
	}
	_ = s.life.Close()
	s.life = nil
	var err error
	select {
	case <-s.exited:
	case <-time.After(2 * time.Minute):
		err = errors.New("MariaDB has not stopped after a minute")
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// config returns the settings of an empty database, which is dropped when the test
// ends. Its session follows the package documentation.
func config(t *testing.T) *mysql.Config {
	t.Helper()
	c, err := private.start(t.Context())
	if errors.Is(err, errNoServer) && os.Getenv(requireEnv) == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
	var suffix [8]byte
	_, _ = rand.Read(suffix[:])
	name := "dataflow_test_" + hex.EncodeToString(suffix[:])
	c = c.Clone()
	c.DBName, c.ParseTime, c.Params = "", true, map[string]string{"time_zone": "'+00:00'"}
	admin := opened(t, c)
	_, err = admin.ExecContext(t.Context(), "create database "+name+" character set utf8mb4 collate utf8mb4_general_ci")
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := admin.ExecContext(context.WithoutCancel(t.Context()), "drop database "+name)
		require.NoError(t, err)
	})
	c = c.Clone()
	c.DBName = name
	return c
}

// opened returns a pool with these settings, closed when the test ends.
func opened(t *testing.T, c *mysql.Config) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", c.FormatDSN())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// setup returns a database in which the statements were executed.
func setup(t *testing.T, statements ...string) *sql.DB {
	t.Helper()
	db := opened(t, config(t))
	execAll(t, db, statements...)
	return db
}

func execAll(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}
