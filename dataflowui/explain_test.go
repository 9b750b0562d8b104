package dataflowui_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowui"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// sqlHistory makes 2,000 flows, of which 20 fail, with 200,000 ended runs and as much else that
// gathers over time. All dead letters are of one flow, and all audit entries but one of another.
const sqlHistory = `
set session_replication_role = replica;
insert into dataflow_flow (name, source, sink, runtime, guarantee, failures, last_error)
select 'flow ' || lpad(i::text, 5, '0'), '{}', '{}', '{"type": "heartbeat", "interval": 60}', 'exactly_once', (i % 100 = 0)::integer, case when i % 100 = 0 then 'no' else '' end
from generate_series(1, 2000) i;
insert into dataflow_run (flow_id, trigger, state, scheduled_for, run_after, created_at, started_at, ended_at, max_attempts, attempt)
select 1 + i % 2000, 'schedule', (array['success', 'failed', 'cancelled'])[1 + (i % 7) / 5], t, t, t, t, t, 5, 1
from (select i, now() - i * interval '1 minute' as t from generate_series(1, 200000) i) ended;
insert into dataflow_run (flow_id, trigger, state, scheduled_for, run_after, created_at, started_at, ended_at, max_attempts, attempt, scope)
select 5, 'backfill', 'success', t, t, t, t, t, 5, 1, case when i % 100 = 1 then i::text else (i - (i - 1) % 100) || '/' || 1 + (i - 1) % 100 end
from (select i, now() - i * interval '1 minute' as t from generate_series(1, 20000) i) ended;
insert into dataflow_tick (flow_id, first_at, last_at, reason)
select 1 + i % 2000, t, t, 'overlap' from (select i, now() - i * interval '1 hour' as t from generate_series(1, 100000) i) skipped;
insert into dataflow_dead_letter (flow_id, run_id, stage, key, error, created_at, state, closed_at)
select 2, i, 'write', 'k', 'no', now(), 'resolved', now() from generate_series(1, 50000) i;
insert into dataflow_audit (at, actor, action, flow_id, reason) select now(), 'ann', 'pause', 1 + (i = 1)::integer, '' from generate_series(1, 50000) i;
insert into dataflow_cursor_change (flow_id, seq, created_at) select 1, i, now() from generate_series(1, 50000) i;
set session_replication_role = origin;
analyze;
`

// traced is a statement with its arguments.
type traced struct {
	sql  string
	args []any
}

// tracer collects statements.
type tracer struct {
	mu   sync.Mutex
	seen []traced // guarded by mu
}

func (t *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = append(t.seen, traced{data.SQL, data.Args})
	return ctx
}

func (t *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// bigTables are those that gather rows over time.
var bigTables = regexp.MustCompile(`Seq Scan on (dataflow_(run|dead_letter|tick|audit|cursor_change))\b`)

// No statement of any page reads more of what has ended than it shows, by the plan for its
// arguments and by the plan that does not know them.
func TestNew_Explain(t *testing.T) {
	t.Parallel()
	pool := dbtest.Postgres(t)
	statements := new(tracer)
	conf := pool.Config()
	conf.ConnConfig.Tracer = statements
	watched, err := pgxpool.NewWithConfig(t.Context(), conf)
	require.NoError(t, err)
	t.Cleanup(watched.Close)
	client, err := dataflow.NewClient(dataflowpgx.New(watched), &dataflow.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	_, err = pool.Exec(t.Context(), sqlHistory)
	require.NoError(t, err)
	ui, err := dataflowui.New(client, nil)
	require.NoError(t, err)
	for _, page := range []string{
		"/", "/?state=trouble", "/?state=active", "/?state=overdue", "/?q=flow+01000", "/?after=flow+01500", "/flows/flow%2000001", "/flows/flow%2000002", "/flows/flow%2000100", "/flows/flow%2000005",
		"/flows/flow%2000001/cursor", "/flows/flow%2000001/cursor?before=20000", "/skipped-ticks", "/skipped-ticks?flow=flow+00700", "/skipped-ticks?before=777",
		"/runs?flow=flow+00005&backfill=10001", "/runs?trigger=backfill&state=failed",
		"/runs", "/runs?flow=flow+00700", "/runs?state=failed", "/runs?state=in_progress", "/runs?flow=flow+00700&state=failed&before=150000", "/runs/77777",
		"/dead-letters", "/dead-letters?state=all", "/dead-letters?state=discarded", "/dead-letters?flow=flow+00002", "/dead-letters?flow=flow+00700&state=all", "/dead-letters?run=77", "/dead-letters/777",
		"/workers", "/audit", "/audit?flow=flow+00002", "/audit?actor=nobody", "/audit?flow=flow+00700&actor=ann", "/audit?before=777",
	} {
		statements.mu.Lock()
		statements.seen = nil
		statements.mu.Unlock()
		w := httptest.NewRecorder()
		ui.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, page, http.NoBody))
		require.Equal(t, http.StatusOK, w.Code, "%s: %s", page, w.Body)
		statements.mu.Lock()
		seen := statements.seen
		statements.mu.Unlock()
		require.NotEmpty(t, seen, page)
		require.Less(t, len(seen), 30, "statements of %s", page)
		for _, s := range seen {
			if begin := strings.TrimSpace(s.sql); strings.HasPrefix(begin, "select") || strings.HasPrefix(begin, "with") {
				requireCheap(t, pool, page, s)
			}
		}
	}
}

func requireCheap(t *testing.T, pool *pgxpool.Pool, page string, s traced) {
	t.Helper()
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		tx, err := pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), "set local plan_cache_mode = "+mode)
		require.NoError(t, err)
		rows, err := tx.Query(t.Context(), "explain (analyze, costs off, timing off) "+s.sql, s.args...)
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err, s.sql)
		require.NoError(t, tx.Rollback(t.Context()))
		plan := fmt.Sprintf("%s, %s: %s\n%s", page, mode, s.sql, strings.Join(lines, "\n"))
		require.NotRegexp(t, bigTables, plan)
		for _, found := range regexp.MustCompile(`(?:actual rows|Rows Removed by Filter: |Rows Removed by Index Recheck: )=?(\d+)`).FindAllStringSubmatch(plan, -1) {
			n, err := strconv.ParseFloat(found[1], 64)
			require.NoError(t, err)
			require.LessOrEqual(t, n, 3000.0, plan)
		}
	}
}
