//go:build unix

package dbtest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	pgBouncerEnv     = "DATAFLOW_TEST_PGBOUNCER"
	needPgBouncerEnv = "DATAFLOW_TEST_REQUIRE_PGBOUNCER"
)

// pgBouncerPlaces are where packages install the program. scripts/ensure-pgbouncer.sh has the
// same list.
var pgBouncerPlaces = []string{"/usr/sbin/pgbouncer", "/usr/local/bin/pgbouncer", "/opt/homebrew/bin/pgbouncer"}

// PgBouncer starts PgBouncer in transaction mode before the database of a URL that a function
// of this package returned, with four server processes. It returns the URL through PgBouncer,
// which ends with the test. settings are further lines of its configuration. It keeps no
// prepared statements, as no PgBouncer before 1.21 does.
//
// Without the program, it skips the test, or fails it if DATAFLOW_TEST_REQUIRE_PGBOUNCER is
// set, as scripts/test.sh does.
func PgBouncer(tb testing.TB, connString string, settings ...string) string {
	tb.Helper()
	program := findPgBouncer(tb)
	if version := pgBouncerVersion(tb, program); newerPgBouncer.MatchString(version) {
		settings = append([]string{"max_prepared_statements = 0"}, settings...)
	}
	return startPgBouncer(tb, program, connString, settings)
}

func pgBouncerVersion(tb testing.TB, program string) string {
	tb.Helper()
	said, err := exec.CommandContext(tb.Context(), program, "--version").Output()
	require.NoError(tb, err)
	version, _, _ := strings.Cut(string(said), "\n")
	return version
}

var newerPgBouncer = regexp.MustCompile(`PgBouncer 1\.(2[1-9]|[3-9]\d)`)

// NewerPgBouncer is [PgBouncer] for a test that needs 1.21 or later. It skips the test if the
// program is older.
func NewerPgBouncer(tb testing.TB, connString string, settings ...string) string {
	tb.Helper()
	program := findPgBouncer(tb)
	if version := pgBouncerVersion(tb, program); !newerPgBouncer.MatchString(version) {
		tb.Skipf("it needs PgBouncer 1.21 or later, which %s names; there is %s", pgBouncerEnv, version)
	}
	return startPgBouncer(tb, program, connString, settings)
}

func startPgBouncer(tb testing.TB, program, connString string, settings []string) string {
	tb.Helper()
	server, err := url.Parse(connString)
	require.NoError(tb, err)
	owner, err := unprivileged()
	require.NoError(tb, err)
	dir, err := makeDir(owner)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })

	host, port, database := server.Hostname(), server.Port(), filepath.Base(server.Path)
	if given := server.Query().Get("host"); given != "" {
		host, port = given, server.Query().Get("port")
	}
	if port == "" {
		port = "5432"
	}
	password, _ := server.User.Password()
	to := fmt.Sprintf("host=%s port=%s dbname=%s user=%s", host, port, database, server.User.Username())
	if password != "" {
		to += " password=" + password
	}
	config := fmt.Sprintf(`[databases]
%s = %s
[pgbouncer]
pool_mode = transaction
default_pool_size = 4
max_client_conn = 200
auth_type = any
listen_addr =
listen_port = 6432
unix_socket_dir = %s
`, database, to, dir)
	for _, line := range settings {
		config += line + "\n"
	}
	file := filepath.Join(dir, "pgbouncer.ini")
	require.NoError(tb, os.WriteFile(file, []byte(config), 0o644)) //nolint:gosec // another user reads it
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(tb, err)
	defer log.Close() //nolint:errcheck // it was only handed on

	// The shell ends PgBouncer when this process does, even if it is killed.
	cmd := exec.Command("/bin/sh", "-c", `"$1" -q "$2" & read -r _; kill -TERM $!; wait $!`, "dfpgb", program, file) //nolint:noctx // it ends with the test
	(&Server{dir: dir, owner: owner}).own(cmd)
	cmd.Stdout, cmd.Stderr = log, log
	life, err := cmd.StdinPipe()
	require.NoError(tb, err)
	require.NoError(tb, cmd.Start())
	tb.Cleanup(func() {
		_ = life.Close()
		_ = cmd.Wait()
	})
	require.Eventually(tb, func() bool {
		conn, err := net.Dial("unix", filepath.Join(dir, ".s.PGSQL.6432")) //nolint:noctx // it is on this machine
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, startTimeout, 10*time.Millisecond, "PgBouncer does not start: %s", dir)
	through := url.URL{
		Scheme: "postgres", User: server.User, Path: "/" + database,
		RawQuery: url.Values{"host": {dir}, "port": {"6432"}, "sslmode": {"disable"}}.Encode(),
	}
	return through.String()
}

func findPgBouncer(tb testing.TB) string {
	tb.Helper()
	if given := os.Getenv(pgBouncerEnv); given != "" {
		return given
	}
	if found, err := exec.LookPath("pgbouncer"); err == nil {
		return found
	}
	for _, place := range pgBouncerPlaces {
		if _, err := exec.LookPath(place); err == nil {
			return place
		}
	}
	const missing = "there is no PgBouncer: `apt-get install pgbouncer`, or run scripts/ensure-pgbouncer.sh"
	require.Empty(tb, os.Getenv(needPgBouncerEnv), missing)
	tb.Skip(missing)
	return ""
}
