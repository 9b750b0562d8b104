package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/cli"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	dbtest.Waiting()
	code := dbtest.Main(m)
	_ = os.RemoveAll(programs)
	os.Exit(code)
}

// noon is the time of the database in tests with golden files.
var noon = time.Date(2031, 2, 3, 12, 5, 0, 0, time.UTC)

// cliT is a test with a database and a program that uses it.
type cliT struct {
	*testing.T
	url     string
	env     map[string]string
	program cli.Program
	in      string // the input that is typed
	ask     bool   // the input is a terminal
	live    bool   // the output is a terminal
}

// onBoth runs a test on an empty database of each kind.
func onBoth(t *testing.T, test func(t *cliT)) {
	t.Helper()
	t.Run("Postgres", func(t *testing.T) {
		t.Parallel()
		test(newCLI(t, dbtest.PostgresURL(t)))
	})
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(newCLI(t, dbtest.SQLitePath(t)))
	})
}

func newCLI(t *testing.T, url string) *cliT {
	t.Helper()
	return &cliT{T: t, url: url, env: map[string]string{"DATABASE_URL": url, "USER": "ann"}, program: cli.Program{
		Name: "shop",
		Configure: func(context.Context, cli.Database) (*dataflow.Config, error) {
			return &dataflow.Config{Flows: testFlows(), ID: "here", Clock: func() time.Time { return noon }, CodeVersion: "v7"}, nil
		},
	}}
}

// migrated makes the tables and registers the flows.
func (t *cliT) migrated() *cliT {
	t.Helper()
	t.ok("migrate", "up")
	return t
}

// empty makes the database without tables.
func (t *cliT) empty() {
	t.Helper()
	if !strings.HasPrefix(t.url, "postgres") {
		require.NoError(t, os.WriteFile(t.url, nil, 0o600))
	}
}

// plain is a program without flows on the same database.
func (t *cliT) plain() *cliT {
	other := *t
	other.program = cli.Program{Name: "dataflow", Configure: func(context.Context, cli.Database) (*dataflow.Config, error) {
		return &dataflow.Config{Clock: func() time.Time { return noon }}, nil
	}}
	return &other
}

// result is the output of a command and its exit code.
type result struct {
	out, err string
	code     int
}

// run runs a command.
func (t *cliT) run(args ...string) result {
	t.Helper()
	return t.runCtx(t.Context(), args...)
}

func (t *cliT) runCtx(ctx context.Context, args ...string) result {
	t.Helper()
	var out, stderr bytes.Buffer
	code := cli.Run(ctx, args, t.program, cli.Streams{
		In: strings.NewReader(t.in), Out: &out, Err: &stderr, Ask: t.ask, Live: t.live,
		Env: func(name string) string { return t.env[name] },
		Now: func() time.Time { return noon },
	})
	return result{out: out.String(), err: stderr.String(), code: code}
}

// ok runs a command that must succeed, and returns its output.
func (t *cliT) ok(args ...string) string {
	t.Helper()
	r := t.run(args...)
	require.Zero(t, r.code, "%q: %s%s", args, r.out, r.err)
	return r.out
}

// fails runs a command that must fail with a code, and returns its error output.
func (t *cliT) fails(code int, args ...string) string {
	t.Helper()
	r := t.run(args...)
	require.Equal(t, code, r.code, "%q: %s%s", args, r.out, r.err)
	require.NotEmpty(t, r.err, "%q", args)
	return r.err
}

// client returns a client of the database, for steps of a test that are not commands.
func (t *cliT) client(config *dataflow.Config) *dataflow.Client {
	t.Helper()
	config.Logger = slog.New(slog.DiscardHandler)
	var driver dataflow.Driver
	if strings.HasPrefix(t.url, "postgres") {
		pool, err := pgxpool.New(t.Context(), t.url)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		driver = dataflowpgx.New(pool)
	} else {
		driver = dataflowsqlite.New(dbtest.OpenSQLite(t, t.url))
	}
	client, err := dataflow.NewClient(driver, config)
	require.NoError(t, err)
	return client
}

// golden compares a transcript of commands, with their output and exit codes, with a file. The
// flag -update writes the file. The transcript is the same on both databases.
func (t *cliT) golden(name string, commands ...string) {
	t.Helper()
	var b strings.Builder
	for _, command := range commands {
		r := t.run(words(command)...)
		fmt.Fprintf(&b, "$ %s %s\n%s%s", t.program.Name, command, t.steady(r.out), t.steady(r.err))
		if r.code != 0 {
			fmt.Fprintf(&b, "[exit code %d]\n", r.code)
		}
		b.WriteString("\n")
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String(), "go test ./internal/cli -update writes %s", path)
}

var (
	// A line of progress comes only where the machine is slow.
	slowly   = regexp.MustCompile(`(?m)^ *[0-9]+ %  .*\n`)
	database = regexp.MustCompile(`Postgres, dataflow_test_\w+|SQLite, [^:"\n]*\.db`)
	versions = regexp.MustCompile(`dataflow \S+, River \S+, go\S+; (Postgres|SQLite) [^"\n]*`)
	pooler   = regexp.MustCompile(`(?m)^(?:pooler|server|tables) .*\n|  \{\n    "check": "(?:pooler|server|tables)",\n.*\n.*\n  \},\n`)
	poolSize = regexp.MustCompile(`a pool of \d+ connections?`)
	working  = regexp.MustCompile(`(?m)^run \d+ .* in_progress .*\n`)
	jobID    = regexp.MustCompile(`"river_job_id": \d+`)
)

// steady replaces what differs between databases, machines and times.
func (t *cliT) steady(text string) string {
	text = slowly.ReplaceAllString(text, "")
	text = database.ReplaceAllString(text, "DATABASE")
	text = versions.ReplaceAllString(text, "VERSIONS")
	text = pooler.ReplaceAllString(text, "") // SQLite has none
	text = poolSize.ReplaceAllString(text, "a pool of N connections")
	text = working.ReplaceAllString(text, "")
	return jobID.ReplaceAllString(text, `"river_job_id": 1`)
}

// words splits a command as a shell would. It knows only double quotes.
func words(command string) []string {
	var all []string
	for i, part := range strings.Split(command, `"`) {
		if i%2 == 1 {
			all = append(all, part)
		} else {
			all = append(all, strings.Fields(part)...)
		}
	}
	return all
}

// testFlows are the flows of the test program.
func testFlows() []*dataflow.Flow {
	return []*dataflow.Flow{
		dataflow.NewFlow("orders", count{to: 5}, dataflow.Filter(func(n int64) bool { return n != 3 }), dataflow.ToTx(discard{}),
			&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Hour}}),
		dataflow.NewFlow("broken", count{to: 5}, dataflow.Map(fail), dataflow.ToTx(discard{}),
			&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}}),
		dataflow.NewFlow("nightly", count{to: 5}, dataflow.Identity[int64](), dataflow.ToTx(discard{}),
			&dataflow.FlowOptions{Runtime: dataflow.JobQueue{Queue: "etl", Schedule: dataflow.Schedule{Cron: "30 2 * * *", TimeZone: "Europe/Berlin"}}}),
	}
}

func fail(context.Context, int64) (int64, error) {
	return 0, dataflow.Permanent(errors.New("the shop is\x1b[31m closed"))
}

// count is a source of the numbers from 1. Its cursor is the last number.
type count struct {
	to   int64
	pace time.Duration
}

func (c count) Read(ctx context.Context, r dataflow.Request[int64]) iter.Seq2[dataflow.Item[int64, int64], error] {
	return func(yield func(dataflow.Item[int64, int64], error) bool) {
		for n := r.From + 1; n <= c.end(r); n++ {
			if c.pace > 0 {
				select {
				case <-ctx.Done():
				case <-time.After(c.pace):
				}
			}
			if !yield(dataflow.Item[int64, int64]{Value: n, Cursor: n, Resume: true}, ctx.Err()) {
				return
			}
		}
	}
}

// CheckRequest accepts any Until, and a number as parameters.
func (c count) CheckRequest(r dataflow.Request[int64]) error {
	var n int64
	if r.Params != nil && json.Unmarshal(r.Params, &n) != nil {
		return &dataflow.ConfigError{Field: "Params", Reason: string(r.Params) + " is no number"}
	}
	return nil
}

func (c count) Count(_ context.Context, r dataflow.Request[int64]) (int64, error) {
	return c.end(r) - r.From, nil
}

func (c count) Split(_ context.Context, r dataflow.Request[int64], n int) (cuts []int64, err error) {
	records := c.end(r) - r.From
	for i := int64(1); i < min(records, int64(n)); i++ {
		cuts = append(cuts, r.From+records*i/min(records, int64(n)))
	}
	return cuts, nil
}

// SeekTime dates the numbers: 1 is the first of February 2031, 2 the second.
func (c count) SeekTime(_ context.Context, _ dataflow.Request[int64], before time.Time) (int64, bool, error) {
	first := time.Date(2031, 2, 1, 0, 0, 0, 0, time.UTC)
	if !before.After(first) {
		return 0, false, nil
	}
	return min(int64(before.Add(-1).Sub(first)/(24*time.Hour))+1, c.to), true, nil
}

// end is where a read ends.
func (c count) end(r dataflow.Request[int64]) int64 {
	if r.Bounded {
		return min(c.to, r.Until)
	}
	return c.to
}

type discard struct{}

func (discard) WriteTx(context.Context, []int64) error { return nil }
