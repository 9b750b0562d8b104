//go:build unix && chaos

package chaos_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// stage is a database with a target and an event log. Its client starts runs there, but works
// none.
type stage struct {
	*testing.T
	kind   kind
	url    string
	db     *sql.DB
	client *dataflow.Client
	flows  []flowSettings

	elsewhere   *sql.DB // the second database, if a flow has its target there
	elsewhereAt string
}

// newStage makes a stage in a fresh database.
func newStage(t *testing.T, k kind, flows []flowSettings) *stage {
	t.Helper()
	if k == onSQLite {
		return stageAt(t, k, dbtest.SQLitePath(t), flows)
	}
	return stageAt(t, k, dbtest.PostgresURL(t), flows)
}

func stageAt(t *testing.T, k kind, url string, flows []flowSettings) *stage {
	t.Helper()
	s := &stage{T: t, kind: k, url: url, flows: flows}
	p := place{kind: k, orders: &orders{}}
	var driver dataflow.Driver
	switch k {
	case onSQLite:
		s.db = dbtest.OpenSQLite(t, url)
		driver = dataflowsqlite.New(s.db)
	default:
		s.db, p.pool = openPool(t, url)
		driver = dataflowpgx.New(p.pool)
	}
	if slices.ContainsFunc(flows, func(f flowSettings) bool { return f.Elsewhere }) {
		s.elsewhereAt = dbtest.PostgresURL(t)
		s.elsewhere, p.elsewhere = openPool(t, s.elsewhereAt)
		_, err := s.elsewhere.ExecContext(t.Context(), elsewhereSQL)
		require.NoError(t, err)
	}
	settings := workerSettings{Kind: k, Flows: flows}
	client, err := dataflow.NewClient(driver, &dataflow.Config{
		ID: "stage", Flows: settings.flows(p), Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	s.client = client
	require.NoError(t, client.Migrate(t.Context()))
	if k == onSQLite {
		s.exec(auditSQLite)
	} else {
		s.exec(auditPostgres)
		s.exec(rivalSQL)
		s.exec(followSQL)
		s.exec(versionSQL + copySQL)
	}
	require.NoError(t, client.Register(t.Context()))
	return s
}

// openPool opens a database of Postgres.
func openPool(t *testing.T, url string) (*sql.DB, *pgxpool.Pool) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	require.NoError(t, err)
	db := stdlib.OpenDBFromPool(pool)
	t.Cleanup(func() { require.NoError(t, db.Close()); pool.Close() })
	return db, pool
}

func (s *stage) exec(statement string) {
	s.Helper()
	_, err := s.db.ExecContext(s.Context(), statement)
	require.NoError(s, err, statement)
}

// number returns the single number that a query yields.
func (s *stage) number(query string) int64 { s.Helper(); return s.numberIn(s.db, query) }

func (s *stage) numberIn(db *sql.DB, query string) (n int64) {
	s.Helper()
	require.NoError(s, db.QueryRowContext(s.Context(), query).Scan(&n), query)
	return n
}

// start adds runs of each flow. They are due at once and not coalesced.
func (s *stage) start(runs int) {
	s.Helper()
	for i := range runs {
		for _, f := range s.flows {
			s.startOne(f.Name, i)
		}
	}
}

func (s *stage) startOne(name string, i int) *dataflow.Run {
	s.Helper()
	run, err := s.client.Trigger(s.Context(), name, &dataflow.TriggerOptions{At: time.Unix(int64(i), 0)})
	require.NoError(s, err)
	require.False(s, run.Coalesced)
	return run
}

const unfinished = `select count(*) from dataflow_run where state in ('pending', 'in_progress')`

const checkpoints = `select count(*) from chaos_log where event = 'checkpoint'`

// patience is how long a test waits for what must come, on the slowest machine.
const patience = 3 * time.Minute

// within polls until a condition holds. If that takes longer than d, it shows the runs that have
// not ended, and fails the test.
func (s *stage) within(d time.Duration, what string, holds func() bool) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), d)
	defer cancel()
	for !holds() {
		if !pause(ctx, 50*time.Millisecond) {
			s.dump()
			s.Fatalf("not within %s: %s", d, what)
		}
	}
}

// finished waits until all runs have ended.
func (s *stage) finished(d time.Duration) {
	s.Helper()
	s.within(d, "all runs have ended", func() bool { return s.number(unfinished) == 0 })
}

// dump shows the runs that have not ended, and their River jobs.
func (s *stage) dump() {
	s.Helper()
	rows, err := s.db.QueryContext(context.WithoutCancel(s.Context()), `
		select r.id, r.flow_id, r.state, r.worker, r.attempt, r.rescues, r.lease_no, coalesce(cast(r.lease_until as text), ''),
			cast(r.run_after as text), r.error, coalesce(r.river_job_id, 0), coalesce(cast(j.state as text), ''), coalesce(j.attempt, 0), coalesce(cast(j.attempted_at as text), '')
		from dataflow_run r left join river_job j on j.id = r.river_job_id
		where r.state in ('pending', 'in_progress') order by r.id limit 20`)
	if err != nil {
		s.Logf("dump: %v", err)
		return
	}
	defer rows.Close() //nolint:errcheck // only to be read
	for rows.Next() {
		var run, flow, lease, job int64
		var attempt, rescues, jobAttempt int
		var state, worker, until, after, message, jobState, jobAt string
		if err := rows.Scan(&run, &flow, &state, &worker, &attempt, &rescues, &lease, &until, &after, &message, &job, &jobState, &jobAttempt, &jobAt); err != nil {
			s.Logf("dump: %v", err)
			return
		}
		s.Logf("run %d of flow %d: %s, worker %s, attempt %d, %d rescues, lease %d until %s, run after %s, error %q; job %d: %s, attempt %d at %s",
			run, flow, state, worker, attempt, rescues, lease, until, after, message, job, jobState, jobAttempt, jobAt)
	}
	if err := rows.Err(); err != nil {
		s.Logf("dump: %v", err)
	}
}

// holder returns a worker that has a run now, or "" if there is none.
func (s *stage) holder() string {
	s.Helper()
	var worker string
	err := s.db.QueryRowContext(s.Context(), `select coalesce(max(worker), '') from dataflow_run where state = 'in_progress'`).Scan(&worker)
	require.NoError(s, err)
	return worker
}

// note adds an event of the test's own to the log.
func (s *stage) note(event, worker string) {
	s.Helper()
	s.exec(fmt.Sprintf(`insert into chaos_log (event, worker) values ('%s', '%s')`, event, worker))
}
