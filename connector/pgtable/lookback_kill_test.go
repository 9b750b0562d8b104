package pgtable_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// These make the test binary a worker of a flow that looks back; their value is the database's URL.
const (
	lookbackEnv   = "PGTABLE_TEST_LOOKBACK_WORKER"
	lookbackToEnv = "PGTABLE_TEST_LOOKBACK_TO_WORKER"
)

// logRows appends the rows to the table log, and so shows how often each arrives.
func logRows(ctx context.Context, tx pgx.Tx, rows []Customer) error {
	for _, row := range rows {
		if _, err := tx.Exec(ctx, `insert into log (id) values ($1)`, row.ID); err != nil {
			return err
		}
	}
	return nil
}

func lookbackClient(pool *pgxpool.Pool) (*dataflow.Client, error) {
	return clientLookingBack(pool, pgtable.Func(logRows))
}

func lookbackToClient(pool *pgxpool.Pool) (*dataflow.Client, error) {
	return clientLookingBack(pool, pgtable.FuncTo(pool, logRows))
}

func clientLookingBack(pool *pgxpool.Pool, to dataflow.Target[Customer]) (*dataflow.Client, error) {
	source := pgtable.Keyset[Customer](pool, pgtable.Query{
		SQL: "select id, name, updated_at from customers", Key: []string{"updated_at", "id"}, PageSize: 3, Lookback: 10 * time.Hour, LateCommits: pgtable.Unguarded{},
	})
	flow := dataflow.NewFlow("customers", source, dataflow.Identity[Customer](), to, &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 4}})
	return dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{
		Flows: []*dataflow.Flow{flow}, Lease: time.Second, PollInterval: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
}

// Processes are killed while they write rows of a lookback, and rows after it. Each row arrives once, in
// order, a late one too, and the counters are exact.
func TestKeyset_LookbackKilled(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		env       string
		newClient func(*pgxpool.Pool) (*dataflow.Client, error)
		at        []int // the row at which the process is killed
	}{{lookbackEnv, lookbackClient, []int{3, 11}}, {lookbackToEnv, lookbackToClient, []int{7, 15}}} {
		t.Run(test.env, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			pool := setup(t, customerTables, `create table log (n serial, id bigint)`, fmt.Sprintf(hourly, 1, 20),
				`create function waits() returns trigger language plpgsql as $$ declare rows bigint := (select count(*) from log); begin
					perform pg_advisory_xact_lock(k.n) from killed k where k.n = rows; return null;
				end $$`, `create table killed (n bigint)`, `create trigger waits after insert on log for each row execute function waits()`)
			client, err := test.newClient(pool)
			require.NoError(t, err)
			require.NoError(t, client.Migrate(ctx))
			require.NoError(t, client.Register(ctx))
			run, err := client.Trigger(ctx, "customers", nil)
			require.NoError(t, err)
			require.Equal(t, dataflow.Counters{Read: 20, Written: 20}, run.Counters)
			for _, statement := range []string{`truncate log`, `insert into customers values (101, 'late', '2024-01-01 18:30Z')`, fmt.Sprintf(hourly, 21, 24)} {
				exec(t, pool, statement)
			}
			run, err = client.Trigger(ctx, "customers", &dataflow.TriggerOptions{At: time.Unix(1, 0)})
			require.NoError(t, err)
			for _, n := range test.at {
				exec(t, pool, fmt.Sprintf(`insert into killed values (%d)`, n))
				held, err := pool.Begin(ctx)
				require.NoError(t, err)
				_, err = held.Exec(ctx, `select pg_advisory_xact_lock($1)`, n)
				require.NoError(t, err)
				killWaiting(t, pool, test.env)
				require.NoError(t, held.Rollback(ctx))
				require.Equal(t, []string{fmt.Sprint(n / 4 * 4)}, texts(t, pool, `select count(*)::text from log`), "whole batches")
			}
			require.NoError(t, client.Start(ctx))
			run, err = client.Wait(ctx, run.ID)
			require.NoError(t, err)
			require.GreaterOrEqual(t, run.LeaseNumber, int64(3), "three processes had the run; on a slow machine, a lease may lapse besides")
			require.Equal(t, dataflow.Counters{Read: 16, Written: 16, ReadAgain: 12}, run.Counters)
			ids := []string{"10", "11", "12", "13", "14", "15", "16", "17", "18", "101", "19", "20", "21", "22", "23", "24"}
			require.Equal(t, ids, texts(t, pool, `select id::text from log order by n`))
			require.NotContains(t, string(run.ToCursor), "again")
			run, err = client.Trigger(ctx, "customers", nil)
			require.NoError(t, err)
			run, err = client.Wait(ctx, run.ID)
			require.NoError(t, err)
			require.NoError(t, client.Stop(ctx))
			require.Equal(t, dataflow.Counters{Read: 12, Written: 12, ReadAgain: 12}, run.Counters, "the next run looks back from the end")
			require.Equal(t, slices.Concat(ids, ids[4:]), texts(t, pool, `select id::text from log order by n`))
		})
	}
}
