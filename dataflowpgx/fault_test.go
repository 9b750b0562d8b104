package dataflowpgx_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// faults is what the engine does about each decision.
var faults = map[sqlstate.Decision]dataflow.Fault{
	sqlstate.Record: dataflow.FaultData, sqlstate.Batch: dataflow.FaultTooMuch, sqlstate.Conflict: dataflow.FaultConflict,
	sqlstate.Connection: dataflow.FaultUnavailable, sqlstate.Permanent: dataflow.FaultPermanent, sqlstate.Attempt: dataflow.FaultOther,
}

// Each state of the table, raised by the server in a statement and at a commit, is the fault
// that the table decides.
func TestClassify_Raised(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(*pgxpool.Config) {})
	store, p := claimed(t, pool)
	exec(t, pool, `create table raising (code text)`,
		`create function raise_it() returns trigger language plpgsql as $$ begin raise exception 'as if' using errcode = new.code; end $$`,
		`create constraint trigger raise_it after insert on raising deferrable initially deferred for each row execute function raise_it()`)
	for _, state := range sqlstate.Table() {
		for _, at := range []string{"", "; set constraints all immediate"} {
			_, err := commit(t, store, p, fmt.Sprintf("insert into raising values ('%s')%s", state.Code, at))
			var pe *pgconn.PgError
			require.ErrorAs(t, err, &pe)
			require.Equal(t, state.Code, pe.Code)
			require.Equal(t, faults[state.Decision], store.Classify(err), "%s %s: %v", state.Code, state.Name, err)
		}
	}
}

// Errors with their real causes.
func TestClassify_Real(t *testing.T) {
	t.Parallel()
	const long = `(select string_agg(md5(i::text), '') from generate_series(1, 200) i)`
	for name, c := range map[string]struct {
		setup []string
		do    string
		code  string
		fault dataflow.Fault
	}{
		"value of another type":         {do: `select 'x'::int`, code: "22P02", fault: dataflow.FaultData},
		"number that is too large":      {do: `select 99999::smallint`, code: "22003", fault: dataflow.FaultData},
		"division by zero":              {do: `select 1/0`, code: "22012", fault: dataflow.FaultData},
		"unique":                        {do: `insert into t values (1), (1)`, code: "23505", fault: dataflow.FaultData},
		"not null":                      {do: `insert into t values (null)`, code: "23502", fault: dataflow.FaultData},
		"check":                         {do: `insert into t values (-1)`, code: "23514", fault: dataflow.FaultData},
		"foreign key":                   {do: `insert into child values (7)`, code: "23503", fault: dataflow.FaultData},
		"foreign key at the commit":     {do: `insert into late values (7)`, code: "23503", fault: dataflow.FaultData},
		"exclusion":                     {do: `insert into room values ('[1,5)'), ('[2,3)')`, code: "23P01", fault: dataflow.FaultData},
		"view with check option":        {do: `insert into small values (100)`, code: "44000", fault: dataflow.FaultData},
		"value too long for an index":   {do: `insert into words values (` + long + `)`, code: "54000", fault: dataflow.FaultData},
		"raised by a function":          {do: `do $$ begin raise 'no'; end $$`, code: "P0001", fault: dataflow.FaultData},
		"code of one's own":             {do: `do $$ begin raise sqlstate 'U0001'; end $$`, code: "U0001", fault: dataflow.FaultData},
		"key twice in a statement":      {do: `insert into t values (1), (1) on conflict (n) do update set n = excluded.n`, code: "21000", fault: dataflow.FaultData},
		"no partition":                  {do: `insert into parted values (1)`, code: "23514", fault: dataflow.FaultData},
		"statement timeout":             {do: `set local statement_timeout = 1; select pg_sleep(10)`, code: "57014", fault: dataflow.FaultTooMuch},
		"temporary files":               {do: `set local work_mem = 64; set local temp_file_limit = 1; select count(*) from (select i from generate_series(1, 200000) i order by md5(i::text)) q`, code: "53400", fault: dataflow.FaultTooMuch},
		"lock timeout":                  {do: `set local lock_timeout = 1; lock table locked`, code: "55P03", fault: dataflow.FaultConflict},
		"read only":                     {do: `set local transaction_read_only = on; insert into t values (1)`, code: "25006", fault: dataflow.FaultUnavailable},
		"backend terminated":            {do: `select pg_terminate_backend(pg_backend_pid())`, code: "57P01", fault: dataflow.FaultUnavailable},
		"no privilege":                  {do: `set local role pg_monitor; select * from t`, code: "42501", fault: dataflow.FaultOther},
		"no table":                      {do: `select * from nowhere`, code: "42P01", fault: dataflow.FaultOther},
		"no unique index":               {do: `insert into child values (1) on conflict (n) do nothing`, code: "42P10", fault: dataflow.FaultOther},
		"syntax":                        {do: `selec 1`, code: "42601", fault: dataflow.FaultPermanent},
		"rules do not upsert":           {do: `insert into ruled values (1) on conflict (n) do update set n = 1`, code: "0A000", fault: dataflow.FaultPermanent},
		"commit in a function":          {do: `do $$ begin commit; end $$`, code: "2D000", fault: dataflow.FaultPermanent},
		"statement in a failed one":     {do: `spoilt`, code: "25P02", fault: dataflow.FaultOther},
		"update without an old row key": {setup: []string{`create publication p for table nokey`}, do: `update nokey set n = 2`, code: "55000", fault: dataflow.FaultOther},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := newPool(t, func(*pgxpool.Config) {})
			store, p := claimed(t, pool)
			exec(t, pool, append([]string{
				`create table t (n int primary key check (n >= 0))`, `create table child (n int references t)`,
				`create table late (n int references t deferrable initially deferred)`, `create table room (r int4range, exclude using gist (r with &&))`,
				`create view small as select n from t where n < 10 with check option`, `create table words (w text)`, `create index on words (w)`,
				`create table parted (n int) partition by list (n)`, `create table locked (n int)`, `create table nokey (n int)`,
				`create table ruled (n int primary key)`, `create rule no as on insert to ruled do instead insert into nokey values (1)`,
			}, c.setup...)...)
			holder, err := pool.Begin(t.Context())
			require.NoError(t, err)
			t.Cleanup(func() { _ = holder.Rollback(context.WithoutCancel(t.Context())) })
			_, err = holder.Exec(t.Context(), `lock table locked`)
			require.NoError(t, err)
			_, err = commitOf(t, store, p, func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), c.do)
				if c.do == "spoilt" {
					require.Error(t, err)
					_, err = tx.Exec(t.Context(), "select 1")
				}
				return err
			})
			var pe *pgconn.PgError
			require.ErrorAs(t, err, &pe)
			require.Equal(t, c.code, pe.Code, "%v", err)
			require.Equal(t, c.fault, store.Classify(err), "%v", err)
		})
	}
}

// Two transactions that change the same rows, and a transaction that is silent for too long.
func TestClassify_Others(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(*pgxpool.Config) {})
	store := newStore(t, pool)
	exec(t, pool, `create table t (n int)`, `insert into t values (1)`)
	tx, err := pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `select from t`)
	require.NoError(t, err)
	exec(t, pool, `update t set n = 2`)
	_, err = tx.Exec(t.Context(), `update t set n = 3`)
	require.True(t, sqlstate.Has(err, "40001"), "%v", err)
	require.Equal(t, dataflow.FaultConflict, store.Classify(err))
	require.NoError(t, tx.Rollback(t.Context()))

	_, err = commitOf(t, store, nil, func(tx pgx.Tx) error {
		_, err = tx.Exec(t.Context(), `set local idle_in_transaction_session_timeout = 1`)
		require.NoError(t, err)
		pid := tx.Conn().PgConn().PID()
		require.Eventually(t, func() bool {
			var gone bool
			return pool.QueryRow(t.Context(), `select not exists (select from pg_stat_activity where pid = $1)`, pid).Scan(&gone) == nil && gone
		}, 2*time.Minute, 10*time.Millisecond)
		_, err := tx.Exec(t.Context(), `select 1`)
		return err
	})
	require.ErrorContains(t, err, "idle_in_transaction_session_timeout")
	require.ErrorContains(t, err, "Config.Lease")
	require.Equal(t, dataflow.FaultUnavailable, store.Classify(err))
}

// A statement whose own context ends is tried again, like one whose connection broke, but nobody blames the network.
func TestClassify_ContextOfAStatement(t *testing.T) {
	t.Parallel()
	store := newStore(t, newPool(t, func(*pgxpool.Config) {}))
	for name, patience := range map[string]time.Duration{"during the statement": 50 * time.Millisecond, "before the statement": -1} {
		_, err := commitOf(t, store, nil, func(tx pgx.Tx) error {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := tx.Exec(ctx, `select pg_sleep(60)`)
			return err
		})
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		require.NotContains(t, err.Error(), "the connection broke", name)
		require.Equal(t, dataflow.FaultUnavailable, store.Classify(err), name)
	}
}

// The plan of a prepared statement that a migration has made stale.
func TestClassify_StalePlan(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(config *pgxpool.Config) { config.MaxConns = 1 })
	store := newStore(t, pool)
	exec(t, pool, `create table t (n int)`)
	read := func() error {
		_, err := pool.Exec(t.Context(), `select * from t where n > $1`, 1)
		return err
	}
	require.NoError(t, read())
	exec(t, pool, `alter table t alter n type bigint`)
	err := read()
	require.True(t, sqlstate.Has(err, "0A000"), "%v", err)
	require.Equal(t, dataflow.FaultStale, store.Classify(err))
	require.NoError(t, read())
}

func exec(t *testing.T, pool *pgxpool.Pool, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		_, err := pool.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}
