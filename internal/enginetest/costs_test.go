package enginetest_test

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// quiet is a source that has nothing new.
type quiet struct{}

func (quiet) Read(context.Context, dataflow.Request[int64]) iter.Seq2[dataflow.Item[int, int64], error] {
	return func(yield func(dataflow.Item[int, int64], error) bool) {
		yield(dataflow.Item[int, int64]{Cursor: 7, Mark: true}, nil)
	}
}

// statements counts the statements that are sent to Postgres, by their first words.
type statements struct {
	mu   sync.Mutex // guards sent
	sent map[string]int64
}

func (s *statements) count(sql string) {
	words := strings.Fields(sql)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[strings.Join(words[:min(len(words), 12)], " ")]++
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.count(data.SQL)
	return ctx
}

func (*statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (*statements) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

func (s *statements) TraceBatchQuery(_ context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	s.count(data.SQL)
}

func (*statements) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// total is how many statements were sent.
func (s *statements) total() (n int64, list string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, sql := range slices.SortedFunc(maps.Keys(s.sent), func(a, b string) int { return cmp.Compare(s.sent[b], s.sent[a]) }) {
		n += s.sent[sql]
		lines = append(lines, fmt.Sprintf("%6d %s", s.sent[sql], sql))
	}
	return n, strings.Join(lines, "\n")
}

const idleFlowCount = 200

// idleFlows is the configuration of a client with flows that find nothing.
func idleFlows() *dataflow.Config {
	conf := &dataflow.Config{
		Logger: slog.New(slog.DiscardHandler), MaxWorkers: 100,
		River: &river.Config{FetchCooldown: time.Millisecond, FetchPollInterval: 100 * time.Millisecond},
	}
	for i := range idleFlowCount {
		conf.Flows = append(conf.Flows, dataflow.NewFlow(fmt.Sprint("flow ", i), quiet{}, dataflow.Identity[int](), dataflow.ToTx(discard{}),
			&dataflow.FlowOptions{Runtime: dataflow.JobQueue{}}))
	}
	return conf
}

// cost is what work costs a server.
type cost struct {
	statements, commits, wal int64
	list                     string // of the statements
}

// worked starts a client on a pool of its own, works the runs that wait, and stops it. Nobody
// else may use the server meanwhile.
func (t *dbT) worked(url string, conf *dataflow.Config, runs int) cost {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	counted := &statements{sent: make(map[string]int64)}
	config.ConnConfig.Tracer, config.MaxConns = counted, 4
	before := t.served()
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer pool.Close()
	client, err := dataflow.NewClient(dataflowpgx.New(pool), conf)
	require.NoError(t, err)
	ended, stop := client.Subscribe(dataflow.EventRunSucceeded, dataflow.EventRunFailed)
	defer stop()
	require.NoError(t, client.Start(t.Context()))
	for range runs {
		require.Equal(t, dataflow.EventRunSucceeded, receive(t, ended).Kind)
	}
	t.stop(client)
	pool.Close()
	after := t.served()
	n, list := counted.total()
	return cost{statements: n, commits: after.commits - before.commits, wal: after.wal - before.wal, list: list}
}

// served is what the server has done so far. A connection tells of its commits when it ends, at
// the latest.
func (t *dbT) served() cost {
	t.Helper()
	require.Eventually(t, func() bool {
		return t.number("select count(*) from pg_stat_activity where datname = 'postgres'") == 0
	}, patience, time.Millisecond)
	return cost{
		commits: t.number("select xact_commit from pg_stat_database where datname = 'postgres'"),
		wal:     t.number("select (pg_current_wal_insert_lsn() - '0/0')::bigint"),
	}
}

// What a run of a JobQueue flow that finds nothing costs the database, with River's own share.
// It depends little on how fast the machine is: on a slow one, fewer runs are claimed together and
// ended together. Without groups, a run has two commits.
func TestCosts_JobQueue(t *testing.T) {
	t.Parallel()
	const flows, waves = idleFlowCount, 5
	server := dbtest.StartServer(t)
	config, err := pgxpool.ParseConfig(server.URL())
	require.NoError(t, err)
	config.ConnConfig.Database = "template1" // so that looking at the other database costs it nothing
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer pool.Close()
	own := onPool(t, pool)
	triggered := func(from, to int) {
		other, err := pgxpool.New(t.Context(), server.URL())
		require.NoError(t, err)
		defer other.Close()
		client := migrated(onPool(t, other)).registered(idleFlows().Flows...)
		for wave := from; wave < to; wave++ {
			for i := range flows {
				_, err := client.Trigger(t.Context(), fmt.Sprint("flow ", i), &dataflow.TriggerOptions{At: time.Unix(int64(wave), 0)})
				require.NoError(t, err)
			}
		}
	}
	triggered(0, 1)
	own.worked(server.URL(), idleFlows(), flows) // which stores the cursors
	idle := own.worked(server.URL(), idleFlows(), 0)
	triggered(1, 1+waves)
	got := own.worked(server.URL(), idleFlows(), flows*waves)
	each := func(got, idle int64) float64 { return float64(got-idle) / (flows * waves) }
	t.Logf("a run: %.2f statements, %.2f commits, %.0f bytes of WAL; all statements:\n%s",
		each(got.statements, idle.statements), each(got.commits, idle.commits), each(got.wal, idle.wal), got.list)
	require.LessOrEqual(t, each(got.statements, idle.statements), 1.5)
	require.LessOrEqual(t, each(got.commits, idle.commits), 0.5)
	require.LessOrEqual(t, each(got.wal, idle.wal), 5000.0)
}
