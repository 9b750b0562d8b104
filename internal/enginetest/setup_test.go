package enginetest_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(workerEnv); url != "" {
		if err := worker(context.Background(), url); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if path := os.Getenv(sqliteWorkerEnv); path != "" {
		if err := sqliteWorker(context.Background(), path); err != nil {
			fmt.Fprintln(os.Stderr, "SQLite worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if url := os.Getenv(pollsEnv); url != "" {
		if err := wokenWorker(context.Background(), url); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if where := os.Getenv(callbackEnv); where != "" {
		if err := callbackWorker(context.Background(), where); err != nil {
			fmt.Fprintln(os.Stderr, "worker of callbacks:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if where := os.Getenv(groupEnv); where != "" {
		if err := groupWorker(context.Background(), where); err != nil {
			fmt.Fprintln(os.Stderr, "worker of a group:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if where := os.Getenv(zoneEnv); where != "" {
		if err := zoneWorker(context.Background(), where); err != nil {
			fmt.Fprintln(os.Stderr, "zone worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	dbtest.Waiting()
	os.Exit(dbtest.Main(m))
}

// dbT is a test on a fresh, migrated database of either kind.
type dbT struct {
	*testing.T
	driver dataflow.Driver
	// exec runs a statement that both databases understand.
	exec func(sql string) error
	// number returns the single number that a query yields, text the text.
	number func(sql string) int64
	text   func(sql string) string
	// inTx runs fn in a transaction of the caller's own, and commits it if fn
	// returns true.
	inTx func(fn func(tx dataflow.Tx, exec func(sql string)) bool)
	// river returns the River client of a client.
	river func(client *dataflow.Client) riverClient
	// joined makes the client use a River client of the caller's own.
	joined func(client *dataflow.Client, config *river.Config) riverClient
	// close closes the pool.
	close func()
	// isPostgres tells which database it is.
	isPostgres bool
}

// riverClient is a River client of either database.
type riverClient interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	Insert(ctx context.Context, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error)
	JobGet(ctx context.Context, id int64) (*rivertype.JobRow, error)
	JobCancel(ctx context.Context, id int64) (*rivertype.JobRow, error)
	Subscribe(kinds ...river.EventKind) (<-chan *river.Event, func())
}

// onBoth runs a test on Postgres and on SQLite, in parallel.
func onBoth(t *testing.T, fn func(t *dbT)) {
	t.Helper()
	t.Run("Postgres", func(t *testing.T) {
		t.Parallel()
		fn(migratedPostgres(t))
	})
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		fn(sqlite(t, migratedFile(t)))
	})
}

// template is a migrated Postgres database.
var template = dbtest.Template{Fill: func(ctx context.Context, pool *pgxpool.Pool) error {
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return client.Migrate(ctx)
}}

func migratedPostgres(t *testing.T) *dbT {
	t.Helper()
	return onPool(t, template.Postgres(t))
}

func migrated(t *dbT) *dbT {
	t.Helper()
	require.NoError(t, t.client(nil).Migrate(t.Context()))
	return t
}

// migratedSQLite is a migrated database, made once because that takes half a
// second under the race detector.
var migratedSQLite struct {
	once sync.Once
	file []byte
}

// migratedFile returns the path of a migrated SQLite database.
func migratedFile(t *testing.T) string {
	t.Helper()
	migratedSQLite.once.Do(func() {
		path := dbtest.SQLitePath(t)
		db := sqlite(t, path)
		migrated(db).close() // which moves the write-ahead log into the file
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		migratedSQLite.file = data
	})
	path := dbtest.SQLitePath(t)
	require.NoError(t, os.WriteFile(path, migratedSQLite.file, 0o600))
	return path
}

func onPool(t *testing.T, pool *pgxpool.Pool) *dbT {
	t.Helper()
	return &dbT{
		T: t, driver: dataflowpgx.New(pool), isPostgres: true,
		exec: func(sql string) error { _, err := pool.Exec(t.Context(), sql); return err },
		number: func(sql string) (n int64) {
			require.NoError(t, pool.QueryRow(t.Context(), sql).Scan(&n))
			return n
		},
		text: func(sql string) (s string) {
			require.NoError(t, pool.QueryRow(t.Context(), sql).Scan(&s))
			return s
		},
		river: func(client *dataflow.Client) riverClient {
			rc, err := dataflowpgx.RiverClient(client)
			require.NoError(t, err)
			return rc
		},
		joined: func(client *dataflow.Client, config *river.Config) riverClient {
			rc, err := river.NewClient(riverpgxv5.New(pool), config)
			require.NoError(t, err)
			require.NoError(t, dataflow.UseRiver(client, rc))
			return rc
		},
		close: pool.Close,
		inTx: func(fn func(tx dataflow.Tx, exec func(sql string)) bool) {
			tx, err := pool.Begin(t.Context())
			require.NoError(t, err)
			defer tx.Rollback(t.Context()) //nolint:errcheck // it may be committed
			if fn(dataflowpgx.Tx(tx), func(sql string) { _, err := tx.Exec(t.Context(), sql); require.NoError(t, err) }) {
				require.NoError(t, tx.Commit(t.Context()))
			}
		},
	}
}

func sqlite(t *testing.T, path string) *dbT {
	t.Helper()
	db := dbtest.OpenSQLite(t, path)
	return &dbT{
		T: t, driver: dataflowsqlite.New(db),
		exec: func(sql string) error { _, err := db.ExecContext(t.Context(), sql); return err },
		number: func(sql string) (n int64) {
			require.NoError(t, db.QueryRowContext(t.Context(), sql).Scan(&n))
			return n
		},
		text: func(sql string) (s string) {
			require.NoError(t, db.QueryRowContext(t.Context(), sql).Scan(&s))
			return s
		},
		river: func(client *dataflow.Client) riverClient {
			rc, err := dataflowsqlite.RiverClient(client)
			require.NoError(t, err)
			return rc
		},
		joined: func(client *dataflow.Client, config *river.Config) riverClient {
			rc, err := river.NewClient(riversqlite.New(db), config)
			require.NoError(t, err)
			require.NoError(t, dataflow.UseRiver(client, rc))
			return rc
		},
		close: func() { require.NoError(t, db.Close()) },
		inTx: func(fn func(tx dataflow.Tx, exec func(sql string)) bool) {
			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			defer tx.Rollback() //nolint:errcheck // it may be committed
			if fn(dataflowsqlite.Tx(tx), func(sql string) { _, err := tx.ExecContext(t.Context(), sql); require.NoError(t, err) }) {
				require.NoError(t, tx.Commit())
			}
		},
	}
}

// client returns a client that logs nothing and looks for work often. config may be
// nil.
func (t *dbT) client(config *dataflow.Config) *dataflow.Client {
	t.Helper()
	conf := dataflow.Config{}
	if config != nil {
		conf = *config
	}
	if conf.Logger == nil {
		conf.Logger = slog.New(slog.DiscardHandler)
	}
	if conf.PollInterval == 0 {
		conf.PollInterval = t.pollInterval()
	}
	if conf.River == nil {
		conf.River = t.quickRiver()
	}
	client, err := dataflow.NewClient(t.driver, &conf)
	require.NoError(t, err)
	return client
}

// pollInterval is how often to look for work: often, but not so often that it occupies
// SQLite's one connection.
func (t *dbT) pollInterval() time.Duration {
	if t.isPostgres {
		return 20 * time.Millisecond
	}
	return 250 * time.Millisecond
}

// quickRiver is a River configuration that looks for jobs often.
func (t *dbT) quickRiver() *river.Config {
	return &river.Config{FetchCooldown: 5 * time.Millisecond, FetchPollInterval: t.pollInterval()}
}

// withQueue is a River configuration that works a queue besides those of flows.
func (t *dbT) withQueue(name string) *river.Config {
	conf := t.quickRiver()
	conf.Queues = map[string]river.QueueConfig{name: {MaxWorkers: 2}}
	return conf
}

// logs keeps log lines as text.
type logs struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func newLogs() *logs { return &logs{} }

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// lines returns the library's lines that hold a text.
func (l *logs) lines(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.buf.String()) {
		if strings.Contains(line, `msg="dataflow: `) && strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// registered returns a client with these flows, registered and not started.
func (t *dbT) registered(flows ...*dataflow.Flow) *dataflow.Client {
	t.Helper()
	client := t.client(&dataflow.Config{Flows: flows})
	require.NoError(t, client.Register(t.Context()))
	return client
}

// started starts a client and stops it at the end of the test.
func (t *dbT) started(client *dataflow.Client) *dataflow.Client {
	t.Helper()
	require.NoError(t, client.Start(t.Context()))
	t.Cleanup(func() { t.stop(client) })
	return client
}

// stopper is a client, or a River client.
type stopper interface {
	Stop(ctx context.Context) error
}

// stop stops a client, within the test's patience.
func (t *dbT) stop(client stopper) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	require.NoError(t, client.Stop(ctx))
}

// execute starts a run of a flow, as its Runtime does.
func (t *dbT) execute(client *dataflow.Client, name string) (*dataflow.Run, error) {
	t.Helper()
	flow, err := client.Flow(t.Context(), name)
	require.NoError(t, err)
	return flow.Runtime.Execute(t.Context(), flow)
}

// table makes a table of numbers, which appendTo fills.
func (t *dbT) table(names ...string) {
	t.Helper()
	for _, name := range names {
		require.NoError(t, t.exec("create table "+name+" (n integer)"))
	}
}

// requireExactly checks that a table holds the numbers 1 to n, each once.
func (t *dbT) requireExactly(table string, n int64) {
	t.Helper()
	require.Equal(t, n, t.number("select count(*) from "+table), "rows in %s", table)
	require.Equal(t, n, t.number("select count(distinct n) from "+table+" where n between 1 and "+strconv.FormatInt(n, 10)), "numbers in %s", table)
}

// receive takes from a channel, within the test's patience.
func receive[T any](t *dbT, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		require.FailNow(t, "nothing came in time")
		panic("unreachable")
	}
}

// patience is how long a test waits for what must come, on the slowest machine.
const patience = 5 * time.Minute

// wait waits for a run, within the test's patience.
func (t *dbT) wait(client *dataflow.Client, id int64) (*dataflow.Run, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return client.Wait(ctx, id)
}

// jobT is a started client with its River client and their jobs and events.
type jobT struct {
	*dbT
	client *dataflow.Client
	river  riverClient
	ended  <-chan *river.Event // jobs that a worker has let go
	events <-chan *dataflow.Event
	logs   *logs
	early  map[int64][]*rivertype.JobRow // what next has seen and not returned
}

// working starts a client that works the default queue, besides those of flows.
func (t *dbT) working(flows ...*dataflow.Flow) *jobT {
	t.Helper()
	l := newLogs()
	client := t.client(&dataflow.Config{Flows: flows, Logger: l.logger(), River: t.withQueue(dataflow.DefaultQueue)})
	j := &jobT{dbT: t, client: client, river: t.river(client), logs: l, early: make(map[int64][]*rivertype.JobRow)}
	var cancel func()
	j.ended, cancel = j.river.Subscribe(river.EventKindJobCompleted, river.EventKindJobCancelled, river.EventKindJobFailed, river.EventKindJobSnoozed)
	t.Cleanup(cancel)
	j.events, cancel = client.Subscribe()
	t.Cleanup(cancel)
	t.started(client)
	return j
}

// insert adds a job to the default queue.
func (j *jobT) insert(args river.JobArgs) int64 {
	j.Helper()
	res, err := j.river.Insert(j.Context(), args, &river.InsertOpts{Queue: dataflow.DefaultQueue, MaxAttempts: 3})
	require.NoError(j, err)
	return res.Job.ID
}

// next waits until a worker has let the job go, and returns it as it was then.
func (j *jobT) next(id int64) *rivertype.JobRow {
	j.Helper()
	for len(j.early[id]) == 0 {
		job := receive(j.dbT, j.ended).Job
		j.early[job.ID] = append(j.early[job.ID], job)
	}
	job := j.early[id][0]
	j.early[id] = j.early[id][1:]
	return job
}

// event waits for an event of a kind.
func (j *jobT) event(kind dataflow.EventKind) *dataflow.Event {
	j.Helper()
	for {
		if e := receive(j.dbT, j.events); e.Kind == kind {
			return e
		}
	}
}
