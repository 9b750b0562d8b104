package enginetest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

type number struct {
	ID int64
	V  string
}

// pooled is a client whose flows read and write through one small pool.
type pooled struct {
	*testing.T
	watch  *pgxpool.Pool // of the test's own
	pool   *pgxpool.Pool
	client *dataflow.Client
	names  []string
}

const manyFlows = 4

// runtimes are both Runtimes.
var runtimes = map[string]dataflow.Runtime{"Heartbeat": dataflow.Heartbeat{}, "JobQueue": dataflow.JobQueue{}}

// sized returns a pool of size connections on the database of another.
func sized(t *testing.T, pool *pgxpool.Pool, size int32) *pgxpool.Pool {
	t.Helper()
	config := pool.Config()
	config.MaxConns, config.MinConns, config.MinIdleConns = size, 0, 0
	small, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(small.Close)
	return small
}

// onSmallPool returns a client with flows made by flow. Its lease is short.
func onSmallPool(t *testing.T, size int32, flow func(pool *pgxpool.Pool, i int) *dataflow.Flow) *pooled {
	t.Helper()
	p := &pooled{T: t, watch: template.Postgres(t)}
	for i := range manyFlows {
		_, err := p.watch.Exec(t.Context(), fmt.Sprintf(`create table target%d (id bigint primary key, v text not null)`, i))
		require.NoError(t, err)
	}
	p.pool = sized(t, p.watch, size)
	config := &dataflow.Config{Logger: slog.New(slog.DiscardHandler), Lease: 2 * time.Second, PollInterval: 100 * time.Millisecond}
	for i := range manyFlows {
		config.Flows = append(config.Flows, flow(p.pool, i))
		p.names = append(p.names, config.Flows[i].Name)
	}
	var err error
	p.client, err = dataflow.NewClient(dataflowpgx.New(p.pool), config)
	require.NoError(t, err)
	return p
}

func (p *pooled) start() {
	p.Helper()
	require.NoError(p, p.client.Start(p.Context()))
	p.Cleanup(func() { _ = p.client.Stop(context.WithoutCancel(p.Context())) })
}

// triggerAll starts a run of each flow.
func (p *pooled) triggerAll() []int64 {
	p.Helper()
	var ids []int64
	for _, name := range p.names {
		f, err := p.client.Flow(p.Context(), name)
		require.NoError(p, err)
		run, err := f.Runtime.ExecuteAt(p.Context(), f, time.Now())
		require.NoError(p, err)
		ids = append(ids, run.ID)
	}
	return ids
}

// requireWhole requires that each run has succeeded at its first attempt, and has written rows.
func (p *pooled) requireWhole(ids []int64, rows int) {
	p.Helper()
	for i, id := range ids {
		run, err := p.client.Wait(p.Context(), id)
		require.NoError(p, err)
		require.Equal(p, 1, run.Attempt, "waiting spends no attempt")
		require.Zero(p, run.Rescues, "no lease has lapsed")
		require.EqualValues(p, rows, run.Counters.Written)
		var n int
		require.NoError(p, p.watch.QueryRow(p.Context(), fmt.Sprintf(`select count(*) from target%d`, i)).Scan(&n))
		require.Equal(p, rows, n)
	}
}

func selectInto(rt dataflow.Runtime, rows int) func(*pgxpool.Pool, int) *dataflow.Flow {
	return func(pool *pgxpool.Pool, i int) *dataflow.Flow {
		return dataflow.NewFlow(fmt.Sprintf("flow%d", i),
			pgtable.Select[number](pool, fmt.Sprintf(`select n::bigint as id, 'value ' || n as v from generate_series(1, %d) n`, rows)),
			dataflow.Identity[number](), pgtable.Upsert[number](fmt.Sprintf("target%d", i), "id"), &dataflow.FlowOptions{Runtime: rt})
	}
}

// TestPool_ManyStreams has more flows than a pool can serve at once, each with a source that
// holds a connection to its last row.
func TestPool_ManyStreams(t *testing.T) {
	t.Parallel()
	for name, rt := range runtimes {
		for _, size := range []int32{2, 3, 4} {
			t.Run(fmt.Sprintf("%s/%d", name, size), func(t *testing.T) {
				t.Parallel()
				p := onSmallPool(t, size, selectInto(rt, 20_000))
				p.start()
				p.requireWhole(p.triggerAll(), 20_000)
			})
		}
	}
}

// TestPool_One has flows that need one connection at a time on a pool of one.
func TestPool_One(t *testing.T) {
	t.Parallel()
	for name, rt := range runtimes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := onSmallPool(t, 1, func(pool *pgxpool.Pool, i int) *dataflow.Flow {
				return dataflow.NewFlow(fmt.Sprintf("flow%d", i),
					pgtable.Keyset[number](pool, pgtable.Query{SQL: `select n::bigint as id, 'value ' || n as v from generate_series(1, 5000) n`, Key: []string{"id"}}),
					dataflow.Identity[number](), pgtable.Upsert[number](fmt.Sprintf("target%d", i), "id"), &dataflow.FlowOptions{Runtime: rt})
			})
			p.start()
			p.requireWhole(p.triggerAll(), 5000)
		})
	}
}

// TestPool_OneIsTooFew refuses a flow that could never run.
func TestPool_OneIsTooFew(t *testing.T) {
	t.Parallel()
	small := sized(t, template.Postgres(t), 1)
	_, err := dataflow.NewClient(dataflowpgx.New(small), &dataflow.Config{Flows: []*dataflow.Flow{selectInto(nil, 1)(small, 0)}})
	var ce *dataflow.ConfigError
	require.ErrorAs(t, err, &ce)
	require.Equal(t, `Flows["flow0"]`, ce.Field)
	require.Contains(t, ce.Reason, `its pool has 1 connection, and a run needs 2: it holds 1 until its last record, and needs another for its checkpoints meanwhile: make the pool larger (pool_max_conns=3`)

	two := sized(t, small, 2)
	_, err = dataflow.NewClient(dataflowpgx.New(two), &dataflow.Config{Flows: []*dataflow.Flow{selectInto(nil, 1)(two, 0)}})
	require.NoError(t, err)
	_, err = dataflow.NewClient(dataflowpgx.New(two), &dataflow.Config{Flows: []*dataflow.Flow{selectInto(nil, 1)(small, 0)}})
	require.NoError(t, err, "a source may hold the only connection of another pool")
}

// TestPool_Func has functions that ask the pool during the checkpoint's transaction.
func TestPool_Func(t *testing.T) {
	t.Parallel()
	for name, rt := range runtimes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := onSmallPool(t, 3, func(pool *pgxpool.Pool, i int) *dataflow.Flow {
				write := func(ctx context.Context, tx pgx.Tx, rows []number) error {
					for _, r := range rows {
						var v string
						if err := pool.QueryRow(ctx, `select 'value ' || $1::bigint`, r.ID).Scan(&v); err != nil {
							return err
						}
						if _, err := tx.Exec(ctx, fmt.Sprintf(`insert into target%d values ($1, $2)`, i), r.ID, v); err != nil {
							return err
						}
					}
					return nil
				}
				return dataflow.NewFlow(fmt.Sprintf("flow%d", i),
					pgtable.Keyset[number](pool, pgtable.Query{SQL: `select n::bigint as id, '' as v from generate_series(1, 300) n`, Key: []string{"id"}}),
					dataflow.Identity[number](), pgtable.Func(write), &dataflow.FlowOptions{Runtime: rt})
			})
			p.start()
			ids := p.triggerAll()
			for _, id := range ids {
				run, err := p.client.Wait(t.Context(), id)
				require.NoError(t, err)
				require.Empty(t, run.Errors)
				require.EqualValues(t, 300, run.Counters.Written)
			}
		})
	}
}

// held returns flows whose transforms wait until the channel is closed, or their context is
// done.
func heldBy(rt dataflow.Runtime, begun chan<- string, goOn <-chan struct{}) func(*pgxpool.Pool, int) *dataflow.Flow {
	return func(pool *pgxpool.Pool, i int) *dataflow.Flow {
		name := fmt.Sprintf("flow%d", i)
		wait := dataflow.Map(func(ctx context.Context, n number) (number, error) {
			if n.ID == 1 {
				begun <- name
			}
			select {
			case <-goOn:
				return n, nil
			case <-ctx.Done():
				return n, ctx.Err()
			}
		})
		return dataflow.NewFlow(name, pgtable.Select[number](pool, `select n::bigint as id, 'v' as v from generate_series(1, 1000) n`),
			wait, pgtable.Upsert[number](fmt.Sprintf("target%d", i), "id"), &dataflow.FlowOptions{Runtime: rt})
	}
}

// pending returns the runs that wait, after as many as fit have begun.
func (p *pooled) pending(ids []int64, begun <-chan string, fit int) (waiting, working []int64) {
	p.Helper()
	for range fit {
		<-begun
	}
	require.Eventually(p, func() bool {
		waiting, working = nil, nil
		for _, id := range ids {
			run, err := p.client.Run(p.Context(), id)
			require.NoError(p, err)
			switch {
			case run.State == dataflow.RunInProgress:
				working = append(working, id)
			case run.State == dataflow.RunPending && run.WaitsFor != "":
				waiting = append(waiting, id)
			}
		}
		return len(working) == fit && len(waiting) == len(ids)-fit
	}, patience, 20*time.Millisecond)
	return waiting, working
}

// TestPool_Full has two runs in progress that hold what a pool of four can spare, and two that
// wait: they say for what, can be cancelled, and start once there is room.
func TestPool_Full(t *testing.T) {
	t.Parallel()
	for name, rt := range runtimes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun, goOn := make(chan string, manyFlows), make(chan struct{})
			p := onSmallPool(t, 4, heldBy(rt, begun, goOn))
			p.start()
			ids := p.triggerAll()
			waiting, working := p.pending(ids, begun, 2)

			run, err := p.client.Run(t.Context(), waiting[0])
			require.NoError(t, err)
			require.Zero(t, run.Attempt)
			require.NotNil(t, run.WaitsSince)
			why, err := p.client.Why(t.Context(), run.FlowName)
			require.NoError(t, err)
			require.Equal(t, dataflow.CauseNoConnection, why.Causes[0].Code)
			require.Regexp(t, fmt.Sprintf(`^Run %d has waited since .* for connections: on worker .*, the pool of connections has no room for the run: of 4, other runs hold 2`, run.ID), why.Causes[0].Text)

			_, err = p.client.Cancel(t.Context(), waiting[0], "ops", "not today")
			require.NoError(t, err)
			_, err = p.client.Cancel(t.Context(), working[0], "ops", "not today")
			require.NoError(t, err)
			_, err = p.client.Wait(t.Context(), working[0])
			require.ErrorContains(t, err, "not today")
			<-begun // of the last run, which has the connection of the cancelled one
			close(goOn)
			for _, id := range []int64{working[1], waiting[1]} {
				run, err := p.client.Wait(t.Context(), id)
				require.NoError(t, err)
				require.EqualValues(t, 1000, run.Counters.Written)
				require.Empty(t, run.WaitsFor)
			}
		})
	}
}

// TestPool_StopWhileFull stops a client whose pool is full. Another process works what is left.
func TestPool_StopWhileFull(t *testing.T) {
	t.Parallel()
	for name, rt := range runtimes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun, goOn := make(chan string, 3*manyFlows), make(chan struct{})
			p := onSmallPool(t, 4, heldBy(rt, begun, goOn))
			p.start()
			ids := p.triggerAll()
			p.pending(ids, begun, 2)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			require.NoError(t, p.client.Stop(ctx))
			require.Eventually(t, func() bool { return p.pool.Stat().AcquiredConns() == 0 }, patience, 10*time.Millisecond, "pgx closes what was interrupted in the background")

			other := sized(t, p.watch, 4)
			config := &dataflow.Config{Logger: slog.New(slog.DiscardHandler)}
			for i := range manyFlows {
				config.Flows = append(config.Flows, heldBy(rt, begun, goOn)(other, i))
			}
			var err error
			p.client, err = dataflow.NewClient(dataflowpgx.New(other), config)
			require.NoError(t, err)
			close(goOn)
			p.start()
			p.requireWhole(ids, 1000)
		})
	}
}

// TestPool_Execute has callers who wait for the connections of their runs, in a process that
// starts no client.
func TestPool_Execute(t *testing.T) {
	t.Parallel()
	p := onSmallPool(t, 4, selectInto(dataflow.Heartbeat{}, 5000))
	require.NoError(t, p.client.Register(t.Context()))
	ids, errs := make([]int64, manyFlows), make([]error, manyFlows)
	var all sync.WaitGroup
	for i, name := range p.names {
		all.Go(func() {
			f, err := p.client.Flow(t.Context(), name)
			if err == nil {
				var run *dataflow.Run
				if run, err = f.Runtime.Execute(t.Context(), f); err == nil {
					ids[i] = run.ID
				}
			}
			errs[i] = err
		})
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	p.requireWhole(ids, 5000)
}

// TestPool_ExecuteIsCancelled ends the wait of a caller: by a cancel of the run, and by the
// caller's own context.
func TestPool_ExecuteIsCancelled(t *testing.T) {
	t.Parallel()
	begun, goOn := make(chan string, manyFlows), make(chan struct{})
	p := onSmallPool(t, 3, heldBy(dataflow.Heartbeat{}, begun, goOn))
	require.NoError(t, p.client.Register(t.Context()))
	execute := func(ctx context.Context, i int) <-chan error {
		f, err := p.client.Flow(ctx, p.names[i])
		require.NoError(t, err)
		outcome := make(chan error, 1)
		go func() {
			_, err := f.Runtime.Execute(ctx, f)
			outcome <- err
		}()
		return outcome
	}
	first := execute(t.Context(), 0)
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	second, third := execute(t.Context(), 1), execute(ctx, 2)
	var waiting []*dataflow.Run
	require.Eventually(t, func() bool {
		runs, err := p.client.Runs(t.Context(), &dataflow.RunListParams{States: []dataflow.RunState{dataflow.RunPending}})
		require.NoError(t, err)
		waiting = runs
		return len(runs) == 2 && runs[0].WaitsFor != "" && runs[1].WaitsFor != ""
	}, patience, 20*time.Millisecond)
	for _, run := range waiting {
		if run.FlowName == p.names[1] {
			_, err := p.client.Cancel(t.Context(), run.ID, "ops", "not today")
			require.NoError(t, err)
		}
	}
	require.ErrorContains(t, <-second, "not today")
	cancel()
	err := <-third
	require.ErrorIs(t, err, dataflow.ErrStopped)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, dataflow.ErrPoolFull)
	close(goOn)
	require.NoError(t, <-first)
}

// TestPool_Tick has a tick that works all due runs before it returns.
func TestPool_Tick(t *testing.T) {
	t.Parallel()
	p := onSmallPool(t, 4, selectInto(dataflow.Heartbeat{}, 5000))
	require.NoError(t, p.client.Register(t.Context()))
	ids := p.triggerAll()
	_, err := p.client.Tick(t.Context())
	require.NoError(t, err)
	p.requireWhole(ids, 5000)
}

// TestPool_OwnConnection has a service that uses all connections of its pool for longer than a
// lease. The lease is renewed, and the run can be cancelled.
func TestPool_OwnConnection(t *testing.T) {
	t.Parallel()
	begun, goOn := make(chan string, manyFlows), make(chan struct{})
	p := onSmallPool(t, 2, func(pool *pgxpool.Pool, i int) *dataflow.Flow {
		return dataflow.NewFlow(fmt.Sprintf("flow%d", i), heldSource{begun: begun, goOn: goOn}, dataflow.Identity[number](), pgtable.Upsert[number](fmt.Sprintf("target%d", i), "id"), nil)
	})
	p.start()
	ids := p.triggerAll()
	for range ids {
		<-begun
	}
	var taken []*pgxpool.Conn
	for range 2 {
		c, err := p.pool.Acquire(t.Context())
		require.NoError(t, err)
		taken = append(taken, c)
	}
	before, err := p.leaseUntil(ids[0])
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		now, err := p.leaseUntil(ids[0])
		require.NoError(t, err)
		return now.Sub(before) > 2*time.Second
	}, patience, 50*time.Millisecond)
	_, err = p.client.Cancel(t.Context(), ids[1], "ops", "not today")
	require.NoError(t, err)
	_, err = p.client.Wait(t.Context(), ids[1])
	require.ErrorContains(t, err, "not today")
	why, err := p.client.Why(t.Context(), p.names[0])
	require.NoError(t, err)
	require.True(t, why.Running)
	close(goOn)
	for _, c := range taken {
		c.Release()
	}
	_, err = p.client.Wait(t.Context(), ids[0])
	require.NoError(t, err)
	run, err := p.client.Run(t.Context(), ids[0])
	require.NoError(t, err)
	require.Zero(t, run.Rescues)
	require.NoError(t, p.client.Stop(t.Context()))
	p.pool.Close()
	require.Eventually(t, func() bool { // a server process ends a moment after its connection
		var left int32
		require.NoError(t, p.watch.QueryRow(t.Context(), `select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend'`).Scan(&left))
		return left <= p.watch.Stat().TotalConns()
	}, patience, 20*time.Millisecond, "the connection of its own is closed")
}

func (p *pooled) leaseUntil(id int64) (at time.Time, err error) {
	err = p.watch.QueryRow(p.Context(), `select lease_until from dataflow_run where id = $1`, id).Scan(&at)
	return at, err
}

// TestPool_Needs counts what flows need.
func TestPool_Needs(t *testing.T) {
	t.Parallel()
	small := sized(t, template.Postgres(t), 4)
	var log bytes.Buffer
	config := &dataflow.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	for i := range manyFlows {
		config.Flows = append(config.Flows, selectInto(nil, 1)(small, i))
	}
	client, err := dataflow.NewClient(dataflowpgx.New(small), config)
	require.NoError(t, err)
	needs := client.PoolNeeds()
	require.Len(t, needs, 1)
	require.Equal(t, 4, needs[0].Size)
	require.Equal(t, 2, needs[0].Least)
	require.Equal(t, 6, needs[0].AllAtOnce)
	require.True(t, needs[0].Short())
	require.Equal(t, `a pool of 4 connections: its flows need 2 to run one at a time, and 6 to run all at once (`+
		`1 for the source of flow "flow0" (pgtable.select), from the first record to the last; `+
		`1 for the source of flow "flow1" (pgtable.select), from the first record to the last; `+
		`1 for the source of flow "flow2" (pgtable.select), from the first record to the last; `+
		`1 for the source of flow "flow3" (pgtable.select), from the first record to the last; `+
		`2 that no run holds, one of them for checkpoints)`, needs[0].String())
	require.Contains(t, log.String(), "the pool is too small for all flows at once, so that some runs wait")

	log.Reset()
	config.Flows = config.Flows[:2]
	_, err = dataflow.NewClient(dataflowpgx.New(small), config)
	require.NoError(t, err)
	two := sized(t, small, 2)
	config.Flows = []*dataflow.Flow{selectInto(nil, 1)(two, 0)}
	_, err = dataflow.NewClient(dataflowpgx.New(two), config)
	require.NoError(t, err)
	require.Empty(t, log.String())

	// Of several pools, each says whose it is.
	client, err = dataflow.NewClient(dataflowpgx.New(small), config)
	require.NoError(t, err)
	needs = client.PoolNeeds()
	require.Len(t, needs, 2)
	require.Empty(t, needs[0].UsedBy)
	require.Contains(t, needs[1].String(), `a pool of 2 connections, that of the source of flow "flow0": its flows need`)
}

// heldSource yields one record, and then waits.
type heldSource struct {
	begun chan<- string
	goOn  <-chan struct{}
}

func (s heldSource) Read(ctx context.Context, _ dataflow.Request[int]) iter.Seq2[dataflow.Item[number, int], error] {
	return func(yield func(dataflow.Item[number, int], error) bool) {
		s.begun <- ""
		select {
		case <-s.goOn:
		case <-ctx.Done():
			return
		}
		yield(dataflow.Item[number, int]{Value: number{ID: 1, V: "v"}, Cursor: 1, Resume: true}, nil)
	}
}
