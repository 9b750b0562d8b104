package enginetest_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// Each run of a call has its own outcome. What cannot be started does not stop the others, and
// what this process knew of a flow is not believed if it has changed.
func TestTriggerMany(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		flows := append(heartbeats(), named("plain", nil), named("moved", dataflow.JobQueue{}))
		t.registered(flows...)
		tool := t.client(nil)
		for _, name := range []string{"plain", "queued", "moved", "paused"} { // so that it knows them
			run, err := tool.Enqueue(t.Context(), name, nil)
			require.NoError(t, err)
			_, err = tool.Cancel(t.Context(), run.ID, "", "")
			require.NoError(t, err)
		}
		other := t.client(nil)
		_, err := other.Pause(t.Context(), "paused", "bob", "the disk is full")
		require.NoError(t, err)
		require.NoError(t, t.exec(`update dataflow_flow set runtime = '{"type":"heartbeat","enabled":true}' where name = 'moved'`))

		all, err := tool.TriggerMany(t.Context(), []dataflow.TriggerManyParams{
			{Flow: "plain", Options: &dataflow.TriggerOptions{Actor: "ann", Reason: "all"}},
			{Flow: "queued"},
			{Flow: "none"},
			{Flow: "off"},
			{Flow: "paused"},
			{Flow: "plain"},
			{Flow: "queued"},
			{Flow: "moved"},
			{Flow: "busy", Options: &dataflow.TriggerOptions{Params: []byte("{")}},
			{Flow: "busy", Options: &dataflow.TriggerOptions{At: someTime}},
		})
		require.NoError(t, err)
		require.Len(t, all, 10)
		for i, e := range all {
			require.Equal(t, e.Err == nil, e.Run != nil, "%d: %v", i, e.Err)
		}
		require.ErrorIs(t, all[2].Err, dataflow.ErrNotFound)
		requirePublic(t, all[2].Err)
		require.ErrorIs(t, all[3].Err, dataflow.ErrDisabled)
		require.ErrorContains(t, all[4].Err, "by bob: the disk is full")
		require.ErrorContains(t, all[8].Err, "is not JSON")
		require.Equal(t, "ann", all[0].Run.Actor)
		require.True(t, all[5].Run.Coalesced)
		require.Equal(t, all[0].Run.ID, all[5].Run.ID)
		require.True(t, all[6].Run.Coalesced)
		require.Equal(t, all[1].Run.RiverJobID, all[6].Run.RiverJobID)
		require.Zero(t, all[7].Run.RiverJobID, "it is no longer a flow with River jobs")
		for _, i := range []int{0, 1, 7, 9} {
			require.False(t, all[i].Run.Coalesced)
			stored, err := tool.Run(t.Context(), all[i].Run.ID)
			require.NoError(t, err)
			require.Equal(t, stored, all[i].Run)
		}
		job, err := t.river(tool).JobGet(t.Context(), all[1].Run.RiverJobID)
		require.NoError(t, err)
		require.Contains(t, string(job.EncodedArgs), "run_id")

		again, err := tool.TriggerMany(t.Context(), []dataflow.TriggerManyParams{{Flow: "plain"}, {Flow: "queued"}})
		require.NoError(t, err)
		for i, e := range again {
			require.True(t, e.Run.Coalesced)
			require.Equal(t, all[i].Run.ID, e.Run.ID)
		}
		none, err := tool.TriggerMany(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, none)
		_, err = tool.TriggerMany(t.Context(), make([]dataflow.TriggerManyParams, dataflow.TriggerManyMax+1))
		var bad *dataflow.ConfigError
		require.ErrorAs(t, err, &bad)
		requirePublic(t, err)
	})
}

// Of runs of one call that coalesce, the first is stored.
func TestTriggerMany_FirstIsStored(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(named("plain", nil))
		params := make([]dataflow.TriggerManyParams, 50)
		for i := range params {
			params[i] = dataflow.TriggerManyParams{Flow: "plain", Options: &dataflow.TriggerOptions{Actor: strconv.Itoa(i), At: someTime.Add(time.Duration(i%5) * time.Minute)}}
		}
		all, err := client.TriggerMany(t.Context(), params)
		require.NoError(t, err)
		for i, e := range all {
			stored, err := client.Run(t.Context(), e.Run.ID)
			require.NoError(t, err)
			require.Equal(t, strconv.Itoa(i%5), stored.Actor)
			require.Equal(t, stored.Actor, e.Run.Actor)
			require.Equal(t, i >= 5, e.Run.Coalesced)
		}
	})
}

// Two calls that ask for the same runs in opposite orders do not wait for each other, however many
// runs they are.
func TestTriggerMany_Crossing(t *testing.T) {
	t.Parallel()
	db := migratedPostgres(t)
	client := db.registered(named("plain", nil))
	up := make([]dataflow.TriggerManyParams, 2000)
	for i := range up {
		up[i] = dataflow.TriggerManyParams{Flow: "plain", Options: &dataflow.TriggerOptions{At: someTime.Add(time.Duration(i) * time.Minute)}}
	}
	down := slices.Clone(up)
	slices.Reverse(down)
	for range 3 {
		ended := make(chan error)
		for _, params := range [][]dataflow.TriggerManyParams{up, down} {
			go func() {
				_, err := client.TriggerMany(t.Context(), params)
				ended <- err
			}()
		}
		require.NoError(t, errors.Join(<-ended, <-ended))
		require.EqualValues(t, len(up), db.number("select count(*) from dataflow_run"))
		require.NoError(t, db.exec("delete from dataflow_run"))
	}
}

// What the database refuses of one run does not harm the others.
func TestTriggerMany_Unstorable(t *testing.T) {
	t.Parallel()
	db := migratedPostgres(t)
	client := db.registered(named("plain", nil), named("queued", dataflow.JobQueue{}))
	all, err := client.TriggerMany(t.Context(), []dataflow.TriggerManyParams{
		{Flow: "plain", Options: &dataflow.TriggerOptions{Actor: "a\x00b"}}, {Flow: "queued"},
	})
	require.NoError(t, err)
	require.Nil(t, all[0].Run)
	require.ErrorContains(t, all[0].Err, "0x00")
	require.NoError(t, all[1].Err)
	require.Positive(t, all[1].Run.RiverJobID)
}

// counting counts the messages to the server: statements, and batches of them.
type counting struct{ n atomic.Int64 }

func (c *counting) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.n.Add(1)
	return ctx
}
func (*counting) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (c *counting) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	c.n.Add(1)
	return ctx
}
func (*counting) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (*counting) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

// Trigger sends as many messages as River's Insert: the begin together with the run, the job, and
// the commit. TriggerTx sends one more than InsertTx, and TriggerMany sends them for all its runs.
func TestTrigger_Messages(t *testing.T) {
	t.Parallel()
	config := template.Postgres(t).Config()
	c := &counting{}
	config.ConnConfig.Tracer = c
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer pool.Close()
	db := onPool(t, pool)
	client := db.registered(named("a", dataflow.JobQueue{}), named("b", dataflow.JobQueue{}), named("c", dataflow.JobQueue{}), named("d", dataflow.JobQueue{}))
	_, err = client.Trigger(t.Context(), "a", nil) // River looks at the server, and may notify
	require.NoError(t, err)

	c.n.Store(0)
	_, err = client.Trigger(t.Context(), "b", nil)
	require.NoError(t, err)
	require.LessOrEqual(t, c.n.Load(), int64(4), "a notification of River's is one")
	c.n.Store(0)
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = client.TriggerTx(t.Context(), dataflowpgx.Tx(tx), "c", nil)
	require.NoError(t, err)
	require.NoError(t, tx.Commit(t.Context()))
	require.LessOrEqual(t, c.n.Load(), int64(5))
	c.n.Store(0)
	_, err = client.TriggerMany(t.Context(), []dataflow.TriggerManyParams{{Flow: "d"}, {Flow: "d", Options: &dataflow.TriggerOptions{At: someTime}}})
	require.NoError(t, err)
	require.LessOrEqual(t, c.n.Load(), int64(7))
}

// Runs are asked for in each of pgx's modes of execution, and ticks are fired.
func TestTrigger_Modes(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			config := template.Postgres(t).Config()
			config.ConnConfig.DefaultQueryExecMode = mode
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			require.NoError(t, err)
			t.Cleanup(pool.Close)
			db := onPool(t, pool)
			c := newClock()
			c.set(minute(5))
			client := db.onClock(c, named("f", dataflow.JobQueue{Interval: 10 * time.Minute}), named("g", dataflow.Heartbeat{Interval: 10 * time.Minute}),
				named("h", dataflow.JobQueue{Interval: 10 * time.Minute}), named("i", dataflow.Heartbeat{Interval: 10 * time.Minute}))
			require.NoError(t, client.Register(t.Context()))
			for range 2 {
				for _, name := range []string{"f", "g"} {
					_, err := client.Enqueue(t.Context(), name, nil)
					require.NoError(t, err)
					_, err = client.Enqueue(t.Context(), name, &dataflow.TriggerOptions{At: someTime, Actor: "o'brien\\", Reason: "a"})
					require.NoError(t, err)
				}
				all, err := client.TriggerMany(t.Context(), []dataflow.TriggerManyParams{{Flow: "f"}, {Flow: "g"}, {Flow: "g", Options: &dataflow.TriggerOptions{At: someTime.Add(time.Hour), Actor: "o'\\{\"", Reason: ","}}})
				require.NoError(t, err)
				for _, e := range all {
					require.NoError(t, e.Err)
				}
			}
			c.set(minute(10))
			_, err = client.Tick(t.Context())
			require.NoError(t, err)
			require.Equal(t, int64(2), db.number("select count(*) from dataflow_run where trigger = 'schedule'"))
			require.Equal(t, int64(0), db.number("select count(*) from dataflow_run r where queue <> '' and not exists (select from river_job j where j.id = r.river_job_id)"))
			_, err = client.Pause(t.Context(), "g", "ann", "")
			require.NoError(t, err)
			_, err = client.Enqueue(t.Context(), "g", nil)
			require.ErrorIs(t, err, dataflow.ErrDisabled)
		})
	}
}
