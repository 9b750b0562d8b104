package pgtable_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

const (
	// stressEnv is how long the writers of TestGuard_Stress write, such as 60s.
	stressEnv = "DATAFLOW_STRESS"
	writers   = 12
)

// stress runs 12 writers while incremental flows read.
type stress struct {
	t        *testing.T
	pool     *pgxpool.Pool // the flows' pool
	client   *dataflow.Client
	duration time.Duration // how long the writers write
	hold     time.Duration // the longest time that a transaction is kept open
	every    time.Duration // the longest time between two runs
	writing  chan struct{} // closed when the writers have ended

	mu        sync.Mutex // guards the fields below
	committed int
	longest   time.Duration // the longest transaction
}

// stressFlow is a flow that copies each version of a ticket that it reads.
type stressFlow struct {
	name  string
	guard pgtable.Guard
	key   []string
	runs  atomic.Int64
}

// TestGuard_Stress reads a table while 12 writers fill it. Some writers keep their
// transactions open.
func TestGuard_Stress(t *testing.T) {
	t.Parallel()
	s := &stress{t: t, duration: 1500 * time.Millisecond, hold: 500 * time.Millisecond, every: 200 * time.Millisecond, writing: make(chan struct{})}
	lag := 2 * time.Second
	if v := os.Getenv(stressEnv); v != "" {
		var err error
		s.duration, err = time.ParseDuration(v)
		require.NoError(t, err)
		s.hold, s.every, lag = 3*time.Second, 500*time.Millisecond, 6*time.Second
	}
	guarded := []*stressFlow{
		{name: "guard_default", key: []string{"at", "id"}},
		{name: "guard_open", guard: pgtable.OpenTransactions{UTC: true, Grace: 100 * time.Millisecond}, key: []string{"utc", "id"}},
		{name: "guard_xid8", guard: pgtable.XID8{Column: "txid"}, key: []string{"txid", "id"}},
		{name: "guard_lag", guard: pgtable.Lag{By: lag}, key: []string{"at", "id"}},
	}
	plain := []*stressFlow{
		{name: "plain_at", guard: pgtable.Unguarded{}, key: []string{"at", "id"}},
		{name: "plain_id", key: []string{"id"}},
	}
	url := dbtest.PostgresURL(t)
	s.pool = open(t, url, pgx.QueryExecModeCacheStatement, map[string]string{"application_name": "flows"}, ticketTable)
	s.start(append(plain, guarded...))
	s.write(url)

	for _, f := range guarded {
		if f.name == "guard_lag" && s.longest >= lag {
			t.Logf("%s: not checked, because a transaction took %v", f.name, s.longest)
			continue
		}
		until(t, func() bool { s.run(f); return s.missed(f) == 0 })
		s.run(f)
		s.report(f)
		require.Zero(t, s.doubled(f), f.name)
	}
	for _, f := range plain {
		s.run(f)
		s.report(f) // the number of missed rows depends on the timing
	}
}

// start runs each flow again and again until the writers have ended.
func (s *stress) start(flows []*stressFlow) {
	var all []*dataflow.Flow
	for _, f := range flows {
		exec(s.t, s.pool, `create table `+f.name+` (id bigint, version int)`)
		all = append(all, dataflow.NewFlow(f.name, ticketPages(s.pool, 100, f.guard, f.key...), dataflow.Identity[ticket](),
			pgtable.Insert[ticket](f.name), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 100}}))
	}
	var err error
	s.client, err = dataflow.NewClient(dataflowpgx.New(s.pool), &dataflow.Config{Flows: all, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(s.t, err)
	require.NoError(s.t, s.client.Migrate(s.t.Context()))
	require.NoError(s.t, s.client.Start(s.t.Context()))
	s.t.Cleanup(func() { require.NoError(s.t, s.client.Stop(context.WithoutCancel(s.t.Context()))) })
	var wg sync.WaitGroup
	s.t.Cleanup(wg.Wait)
	for _, f := range flows {
		wg.Go(func() {
			for {
				select {
				case <-s.writing:
					return
				case <-time.After(s.every/5 + rand.N(s.every*4/5)):
					s.run(f)
				}
			}
		})
	}
}

// run runs a flow once.
func (s *stress) run(f *stressFlow) {
	flow, err := s.client.Flow(s.t.Context(), f.name)
	if err == nil {
		_, err = flow.Runtime.Execute(s.t.Context(), flow)
	}
	if err != nil && !errors.Is(err, dataflow.ErrAlreadyRunning) {
		s.t.Errorf("%s: %v", f.name, err)
	}
	f.runs.Add(1)
}

// missed counts the tickets whose last version a flow has not read. A key of the ID
// alone does not follow versions.
func (s *stress) missed(f *stressFlow) (n int) {
	condition := `l.id = t.id and l.version = t.version`
	if f.key[0] == "id" {
		condition = `l.id = t.id`
	}
	require.NoError(s.t, s.pool.QueryRow(s.t.Context(), `select count(*) from ticket t where not exists (select from `+f.name+` l where `+condition+`)`).Scan(&n))
	return n
}

// doubled counts the versions that a flow has read more than once.
func (s *stress) doubled(f *stressFlow) (n int) {
	require.NoError(s.t, s.pool.QueryRow(s.t.Context(), `select count(*) - count(distinct (id, version)) from `+f.name).Scan(&n))
	return n
}

func (s *stress) report(f *stressFlow) {
	var rows, copied int
	require.NoError(s.t, s.pool.QueryRow(s.t.Context(), `select (select count(*) from ticket), (select count(*) from `+f.name+`)`).Scan(&rows, &copied))
	missed := s.missed(f)
	s.t.Logf("%-14s %d transactions (the longest %v), %d rows, %d runs, %d versions copied: missed %d (%.2f %%), doubled %d", f.name,
		s.committed, s.longest.Round(time.Millisecond), rows, f.runs.Load(), copied, missed, 100*float64(missed)/float64(rows), s.doubled(f))
}

// write runs the writers.
func (s *stress) write(url string) {
	defer close(s.writing)
	var wg sync.WaitGroup
	end := time.Now().Add(s.duration)
	for range writers {
		wg.Go(func() {
			conn, err := pgx.Connect(s.t.Context(), url)
			if err != nil {
				s.t.Error(err)
				return
			}
			defer func() { _ = conn.Close(s.t.Context()) }()
			for err == nil && time.Now().Before(end) {
				err = s.transact(conn)
			}
			if err != nil {
				s.t.Error(err)
			}
		})
	}
	wg.Wait()
}

// count counts a committed transaction.
func (s *stress) count(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.committed++
	s.longest = max(s.longest, took)
}

// transact runs one transaction, or two of which the second begins at the end of
// the first. One in eight is kept open.
func (s *stress) transact(conn *pgx.Conn) error {
	var failed error
	do := func(sql string, args ...any) {
		if failed == nil {
			_, failed = conn.Exec(s.t.Context(), sql, args...)
		}
	}
	keepOpen := func(n int) {
		if n == 0 {
			do(`select pg_sleep($1)`, (rand.Float64()*0.9+0.1)*s.hold.Seconds())
		}
	}
	began := time.Now()
	done := func(end string) {
		do(end)
		s.count(time.Since(began))
		began = time.Now()
	}
	rows := func() {
		hold := rand.N(24)
		keepOpen(hold) // before the first write
		do(`insert into ticket (version) select 1 from generate_series(1, $1::int)`, 1+rand.N(3))
		keepOpen(hold - 1)
		do(`update ticket set version = version + 1, at = now(), utc = now() at time zone 'UTC', txid = pg_current_xact_id()
			where id = (select id from ticket where id >= random() * (select max(id) from ticket) order by id limit 1 for update skip locked)`)
		keepOpen(hold - 2)
	}
	if rand.N(4) == 0 {
		do(`insert into ticket (version) select 1 from generate_series(1, $1::int)`, 1+rand.N(3))
		s.count(time.Since(began))
		return failed
	}
	do(`begin`)
	rows()
	switch rand.N(10) {
	case 0:
		do(`rollback`)
		return failed
	case 1, 2:
		done(`commit and chain`)
		rows()
	}
	done(`commit`)
	return failed
}
