package pgtable_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// onSQLite returns a client on SQLite, whose driver cannot classify an error of
// Postgres.
func onSQLite(t *testing.T, flows ...*dataflow.Flow) *dataflow.Client {
	t.Helper()
	client, err := dataflow.NewClient(dataflowsqlite.New(dbtest.SQLite(t)), &dataflow.Config{Flows: flows, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	return client
}

// raises makes the first inserts into a table fail with an error code.
func raises(table, code string, times int) string {
	return fmt.Sprintf(`
		create sequence %[1]s_raised;
		create function %[1]s_raise() returns trigger language plpgsql as $$
		begin
			if nextval('%[1]s_raised') <= %[3]d then
				raise exception 'as if' using errcode = '%[2]s';
			end if;
			return new;
		end $$;
		create trigger raise before insert on %[1]s for each row execute function %[1]s_raise()`, table, code, times)
}

// A transient error of another database costs no attempt, whatever the client's own
// database is.
func TestInsertTo_Transient(t *testing.T) {
	t.Parallel()
	for code, passes := range map[string]bool{
		"40P01": true, "40001": true, "25006": true, "53300": true, "55P03": true, "57P01": true, "57P03": true, "58030": true, "08006": true,
		"23505": false, "22003": false, "42501": false,
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			times := 2
			if !passes {
				times = 1000 // a batch that was refused for its rows is written again in parts
			}
			pool := setup(t, `create table numbers (n bigint)`, raises("numbers", code, times))
			client := onSQLite(t, dataflow.NewFlow("far", memory.Slice(numberRows(20)), dataflow.Identity[number](), pgtable.InsertTo[number](pool, "numbers"),
				&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 7}, MaxAttempts: 1}))
			run, err := client.Trigger(t.Context(), "far", nil)
			require.Equal(t, passes, err == nil, "%v", err)
			var n int64
			require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from numbers`).Scan(&n))
			require.Equal(t, run.Counters.Written, n)
			require.Equal(t, passes, n == 20)
		})
	}
}

// A small statement of a source's or a target's own that takes too long for a moment costs no attempt.
func TestOwnStatements_InTheWay(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table numbers (n bigint)`, `create table source (n bigint primary key, at timestamptz not null default now())`, `insert into source select generate_series(1, 20)`,
		pgtable.CheckpointTable, raises("dataflow_sink_checkpoint", "57014", 2),
		`create schema mine`, `create sequence mine.tries`,
		`create function mine.clock_timestamp() returns timestamptz language plpgsql as $$ begin
			if nextval('mine.tries') <= 5 then raise 'as if' using errcode = '57014'; end if;
			return pg_catalog.clock_timestamp(); end $$`)
	config := pool.Config()
	config.ConnConfig.RuntimeParams["search_path"] = "mine, pg_catalog, public" // the guard asks for the time
	slow, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(slow.Close)
	client := onSQLite(t, dataflow.NewFlow("far", pgtable.Keyset[number](slow, pgtable.Query{SQL: `select n, at from source`, Key: []string{"at", "n"}}), dataflow.Identity[number](),
		pgtable.InsertTo[number](pool, "numbers"), &dataflow.FlowOptions{MaxAttempts: 1}))
	run, err := client.Trigger(t.Context(), "far", nil)
	require.NoError(t, err)
	require.Empty(t, run.Errors)
	require.Equal(t, dataflow.Counters{Read: 20, Written: 20}, run.Counters)
	var tries int64
	require.NoError(t, pool.QueryRow(t.Context(), `select last_value from mine.tries`).Scan(&tries))
	require.Greater(t, tries, int64(5))
}

// terminate breaks all connections of a pool, as a server restart does.
func terminate(ctx context.Context, pool *pgxpool.Pool) error {
	_, err := pool.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`)
	return err
}

// Connections that break between two batches or two pages cost no attempt: source
// and sink reconnect.
func TestConnectionsBreak(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table source (n bigint primary key)`, `insert into source select generate_series(1, 100)`, `create table sink (n bigint)`)
	other, err := pgxpool.NewWithConfig(t.Context(), pool.Config())
	require.NoError(t, err)
	t.Cleanup(other.Close)
	source := pgtable.Keyset[number](pool, pgtable.Query{SQL: `select n from source`, Key: []string{"n"}, PageSize: 10, LateCommits: pgtable.Unguarded{}})
	var broken atomic.Int64
	breaks := dataflow.Map(func(ctx context.Context, row number) (number, error) {
		if row.N%20 == 0 && broken.Add(1) <= 8 {
			return row, terminate(ctx, other)
		}
		return row, nil
	})
	client := onSQLite(t, dataflow.NewFlow("far", source, breaks, pgtable.InsertTo[number](pool, "sink"),
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, MaxAttempts: 1}))
	require.NoError(t, terminate(t.Context(), other), "before the claim")
	run, err := client.Trigger(t.Context(), "far", nil)
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 100, Written: 100}, run.Counters)
	var n, distinct int64
	require.NoError(t, pool.QueryRow(t.Context(), `select count(*), count(distinct n) from sink`).Scan(&n, &distinct))
	require.Equal(t, []int64{100, 100}, []int64{n, distinct})
}
