package dataflowpgx_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// trips counts the messages to the server that are waited for.
type trips struct{ atomic.Int64 }

func (n *trips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if ctx.Err() == nil && !strings.HasPrefix(data.SQL, "-- name: PGNotifyMany") { // else nothing is sent, or it is River's note
		n.Add(1)
	}
	return ctx
}
func (*trips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (n *trips) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	n.Add(1)
	return ctx
}
func (*trips) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (*trips) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

// emptySource has no records.
type emptySource struct{}

func (emptySource) Read(context.Context, dataflow.Request[int64]) iter.Seq2[dataflow.Item[int64, int64], error] {
	return func(func(dataflow.Item[int64, int64], error) bool) {}
}

// queued is a flow whose runs are River jobs, and its client, which does not work them.
type queued struct {
	*dataflow.Client
	*trips

	pool *pgxpool.Pool
}

func newQueued(t *testing.T, mode pgx.QueryExecMode, rc *river.Config) *queued {
	t.Helper()
	q := &queued{trips: &trips{}}
	q.pool = newPool(t, func(config *pgxpool.Config) {
		config.ConnConfig.Tracer, config.ConnConfig.DefaultQueryExecMode, config.MaxConns = q.trips, mode, 1
	})
	flow := dataflow.NewFlow("orders", emptySource{}, dataflow.Identity[int64](),
		dataflow.ToTx(dataflow.TxSinkFunc[int64](func(context.Context, []int64) error { return nil })), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}})
	if rc == nil {
		rc = &river.Config{}
	}
	rc.Logger = slog.New(slog.DiscardHandler)
	var err error
	q.Client, err = dataflow.NewClient(dataflowpgx.New(q.pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: rc.Logger, River: rc})
	require.NoError(t, err)
	require.NoError(t, q.Migrate(t.Context()))
	require.NoError(t, q.Register(t.Context()))
	return q
}

func (q *queued) exec(t *testing.T, sql string) {
	t.Helper()
	_, err := q.pool.Exec(t.Context(), sql)
	require.NoError(t, err)
}

// requireStored fails unless there are so many runs, and as many jobs, which name each other.
func (q *queued) requireStored(t *testing.T, want int) {
	t.Helper()
	var runs, jobs, pairs int
	require.NoError(t, q.pool.QueryRow(t.Context(), `select (select count(*) from dataflow_run), (select count(*) from river_job),
		(select count(*) from dataflow_run r join river_job j on j.id = r.river_job_id and j.args->>'run_id' = r.id::text)`).Scan(&runs, &jobs, &pairs))
	require.Equal(t, []int{want, want, want}, []int{runs, jobs, pairs})
}

// The commit of a run and its job takes no message of its own.
func TestTrigger_Trips(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			q := newQueued(t, mode, nil)
			fewest := int64(100)
			for range 8 { // the first ones look at the server
				before := q.Load()
				_, err := q.Enqueue(t.Context(), "orders", &dataflow.TriggerOptions{Reason: "a reason"})
				require.NoError(t, err)
				fewest = min(fewest, q.Load()-before)
				q.exec(t, "update dataflow_run set unique_key = id") // the next one does not coalesce
			}
			require.Equal(t, int64(2), fewest)
			q.requireStored(t, 8)
			_, err := q.Enqueue(t.Context(), "orders", nil)
			require.NoError(t, err)
			run, err := q.Enqueue(t.Context(), "orders", nil)
			require.NoError(t, err)
			require.True(t, run.Coalesced)
			q.requireStored(t, 9)
		})
	}
}

// failure is how a test lets a trigger of the database refuse a row, at once or at the commit.
const failure = `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused for a test'; end $$;`

func TestTrigger_Fails(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]string{
		"job":    "create trigger refuse before insert on river_job for each row execute function refuse()",
		"commit": "create constraint trigger refuse after insert on river_job deferrable initially deferred for each row execute function refuse()",
		"run":    "create constraint trigger refuse after insert on dataflow_run deferrable initially deferred for each row execute function refuse()",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := newQueued(t, pgx.QueryExecModeCacheStatement, nil)
			q.exec(t, failure)
			q.exec(t, refuse)
			for range 2 {
				_, err := q.Enqueue(t.Context(), "orders", nil)
				require.ErrorContains(t, err, "refused for a test")
				require.ErrorContains(t, err, `flow "orders"`)
			}
			q.requireStored(t, 0)
			q.exec(t, "drop function refuse cascade")
			_, err := q.Enqueue(t.Context(), "orders", nil)
			require.NoError(t, err, "the only connection is whole")
			q.requireStored(t, 1)
		})
	}
}

// late fails after River has inserted a job.
type late struct{ river.MiddlewareDefaults }

var errLate = errors.New("a middleware's own trouble")

func (*late) InsertMany(ctx context.Context, _ []*rivertype.JobInsertParams, insert func(context.Context) ([]*rivertype.JobInsertResult, error)) ([]*rivertype.JobInsertResult, error) {
	if _, err := insert(ctx); err != nil {
		return nil, err
	}
	return nil, errLate
}

// A service's middleware can still refuse a job that is inserted already: the commit waits for it.
func TestTrigger_Middleware(t *testing.T) {
	t.Parallel()
	for name, rc := range map[string]*river.Config{
		"middleware":     {Middleware: []rivertype.Middleware{&late{}}},
		"job middleware": {JobInsertMiddleware: []rivertype.JobInsertMiddleware{&late{}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := newQueued(t, pgx.QueryExecModeCacheStatement, rc)
			_, err := q.Enqueue(t.Context(), "orders", nil)
			require.ErrorIs(t, err, errLate)
			q.requireStored(t, 0)
		})
	}
}

// The commit that the server has answered counts, whatever becomes of the connection. A run has its job, and a job its run,
// wherever a connection ends.
func TestTrigger_Terminated(t *testing.T) {
	t.Parallel()
	q := newQueued(t, pgx.QueryExecModeCacheStatement, nil)
	ctx := t.Context()
	var wg sync.WaitGroup
	failed := make(map[string]error)
	stop := make(chan struct{})
	pool := newPool(t, func(config *pgxpool.Config) { config.ConnConfig.Database = q.pool.Config().ConnConfig.Database })
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(rand.N(25 * time.Millisecond)):
				_, _ = pool.Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'")
			}
		}
	})
	const calls = 600
	for i := range calls {
		reason := fmt.Sprintf("call %d", i)
		if _, err := q.Enqueue(ctx, "orders", &dataflow.TriggerOptions{At: time.Now().Add(time.Duration(i) * time.Hour), Reason: reason}); err != nil {
			failed[reason] = err
		}
	}
	close(stop)
	wg.Wait()
	rows, err := pool.Query(ctx, "select reason from dataflow_run where named_in_job")
	require.NoError(t, err)
	stored, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(stored), calls-len(failed))
	t.Logf("%d of %d calls failed", len(failed), calls)
	for _, reason := range stored {
		var pe *pgconn.PgError
		require.NotErrorAs(t, failed[reason], &pe, "%s is stored, and its call was told that it is not", reason)
	}
	var pairs int
	require.NoError(t, pool.QueryRow(ctx, "select count(*) from dataflow_run r join river_job j on j.id = r.river_job_id and j.args->>'run_id' = r.id::text").Scan(&pairs))
	require.Len(t, stored, pairs)
}
