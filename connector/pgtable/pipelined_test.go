package pgtable_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// Some batches meet keys of the batch before, which is still being committed. The
// table and the counters are the same as if the batches were written in sequence. A
// table with a trigger is written in sequence. So are batches in a transaction with one
// snapshot, if an upsert looks first which rows exist.
func TestUpsert_Pipelined(t *testing.T) {
	t.Parallel()
	for level, sizes := range map[string][]int{"read committed": {20, 200, 1500}, "repeatable read": {200}, "serializable": {200}} {
		if dbtest.Race {
			sizes = []int{200}
		}
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			testPipelined(t, level, sizes) // with arrays and with COPY
		})
	}
}

func testPipelined(t *testing.T, level string, sizes []int) {
	t.Helper()
	pool := setupMode(t, pgx.QueryExecModeCacheStatement, map[string]string{"default_transaction_isolation": level}, `create table ahead (id bigint primary key, cents bigint not null)`, `create table apart (id bigint primary key, cents bigint not null)`,
		`create table numbered (id bigint primary key, cents bigint not null, n bigserial)`,
		`create function nothing() returns trigger language plpgsql as 'begin return new; end'`,
		`create trigger nothing before insert on apart for each row execute function nothing()`)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	amounts := make([]amount, 2_000+6_000*len(sizes))
	for i := range amounts {
		// Keys are new at first. Later, most repeat a recent key, half of those with the same value.
		amounts[i] = amount{ID: int64(i), Cents: int64(i)}
		if i > len(amounts)/4 && r.IntN(3) > 0 {
			amounts[i] = amounts[i-1-r.IntN(500)]
			amounts[i].Cents += int64(r.IntN(2))
		}
	}
	for _, size := range sizes {
		var runs []*dataflow.Run
		for _, table := range []string{"ahead", "apart", "numbered"} {
			_, err := pool.Exec(t.Context(), "truncate "+table)
			require.NoError(t, err)
			name := fmt.Sprintf("%s %d", table, size)
			flow := dataflow.NewFlow(name, memory.Slice(amounts), dataflow.Identity[amount](), pgtable.Upsert[amount](table, "id"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: size}})
			client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
			require.NoError(t, err)
			require.NoError(t, client.Migrate(t.Context()))
			require.NoError(t, client.Register(t.Context()))
			run, err := client.Trigger(t.Context(), name, nil)
			require.NoError(t, err, "seed %d", seed)
			runs = append(runs, run)
		}
		require.Equal(t, runs[1].Counters, runs[0].Counters, "seed %d, batches of %d", seed, size)
		require.Equal(t, runs[1].Counters, runs[2].Counters, "seed %d, batches of %d", seed, size)
		require.Positive(t, runs[0].Counters.Redundant)
		require.Positive(t, runs[0].Counters.Updated)
		var wrong int
		require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from ahead full join apart using (id) full join numbered using (id)
			where ahead.cents is distinct from apart.cents or numbered.cents is distinct from apart.cents`).Scan(&wrong))
		require.Zero(t, wrong, "seed %d, batches of %d", seed, size)
	}
}

// An exhausted pool makes a flow slow, but does not block it.
func TestInsert_PipelinedOnSmallPools(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table amount (id bigint primary key, cents bigint not null)`, `insert into amount select n, n from generate_series(1, 5000) n`)
	for _, conns := range []int32{1, 2} {
		config := pool.Config()
		config.MaxConns = conns
		small, err := pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		t.Cleanup(small.Close)
		var flows []*dataflow.Flow
		for i := range 2 {
			table := fmt.Sprintf("copy_%d_%d", conns, i)
			_, err := pool.Exec(t.Context(), `create table `+table+` (id bigint primary key, cents bigint not null)`)
			require.NoError(t, err)
			source := pgtable.Keyset[amount](small, pgtable.Query{SQL: `select id, cents from amount`, Key: []string{"id"}, PageSize: 70, LateCommits: pgtable.Unguarded{}})
			flows = append(flows, dataflow.NewFlow(table, source, dataflow.Identity[amount](), pgtable.Insert[amount](table), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 50}}))
		}
		client, err := dataflow.NewClient(dataflowpgx.New(small), &dataflow.Config{Flows: flows})
		require.NoError(t, err)
		require.NoError(t, client.Migrate(t.Context()))
		require.NoError(t, client.Register(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		errs := make(chan error)
		for _, flow := range flows {
			go func() {
				_, err := client.Trigger(ctx, flow.Name, nil)
				errs <- err
			}()
		}
		require.NoError(t, errors.Join(<-errs, <-errs))
		for _, flow := range flows {
			var n int
			require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from `+flow.Name).Scan(&n))
			require.Equal(t, 5000, n)
		}
	}
}

// If the first of two records with one key is rejected for another reason, the
// second is not a duplicate.
func TestInsert_KeyOfARefusedRecord(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table place (id bigint primary key)`, `insert into place values (1)`,
		`create table visit (id bigint primary key, cents bigint references place)`)
	var amounts []amount
	for id := range int64(200) {
		amounts = append(amounts, amount{ID: id, Cents: 1})
	}
	amounts = append(amounts, amount{ID: 500, Cents: 99}, amount{ID: 500, Cents: 1})
	flow := dataflow.NewFlow("visits", memory.Slice(amounts), dataflow.Identity[amount](), pgtable.Insert[amount]("visit"),
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 1000}, OnBadRecord: dataflow.DeadLetterUpTo(5)})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	run, err := client.Trigger(t.Context(), "visits", nil)
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 202, Written: 201, DeadLettered: 1}, run.Counters)
	var place int64
	require.NoError(t, pool.QueryRow(t.Context(), `select cents from visit where id = 500`).Scan(&place))
	require.EqualValues(t, 1, place)
}
