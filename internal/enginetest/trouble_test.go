//go:build unix

package enginetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// hurt is a server on which a flow copies rows as the role app, while something happens to
// them.
type hurt struct {
	*testing.T
	server *dbtest.Server
	admin  func(sql string)
}

// troubleRows are copied by COPY and by upserts.
const troubleRows = 3000

// Whatever passes by itself does not end a run, and each row arrives once.
func TestTrouble(t *testing.T) {
	t.Parallel()
	short := func() { <-time.After(2 * time.Second) }
	long := func() { <-time.After(5 * time.Second) } // until after the second attempt has begun
	for name, c := range map[string]struct {
		happens  func(t *hurt)
		attempts int // at most; 0: it spends none
	}{
		"Restart": {happens: func(t *hurt) {
			t.server.StopImmediately(t)
			short()
			t.server.Start(t)
		}},
		"Terminate": {happens: func(t *hurt) {
			for range 20 {
				t.admin("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
				<-time.After(100 * time.Millisecond)
			}
		}},
		"StatementTimeout": {happens: func(t *hurt) {
			t.admin("alter role app set statement_timeout = 1")
			t.admin("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
			short()
			t.admin("alter role app reset statement_timeout")
			t.admin("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
		}, attempts: 2},
		"IdleInTransaction": {happens: func(t *hurt) {
			t.admin("alter role app set idle_in_transaction_session_timeout = 1")
			t.admin("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
			short()
			t.admin("alter role app reset idle_in_transaction_session_timeout")
			t.admin("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
		}},
		"LockTimeout": {happens: func(t *hurt) {
			t.admin("alter role app set lock_timeout = 100")
			t.admin("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
			t.admin("begin; lock table copied, upserted in access exclusive mode; select pg_sleep(2); commit")
		}},
		"Grant": {happens: func(t *hurt) {
			t.admin("revoke insert on copied, upserted from app")
			short()
			t.admin("grant insert on copied, upserted to app")
		}, attempts: 3},
		"MaxConnections": {happens: func(t *hurt) {
			t.admin("alter role app connection limit 0")
			t.admin("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
			short()
			t.admin("alter role app connection limit -1")
		}},
		"ReadOnly": {happens: func(t *hurt) {
			t.admin("alter system set default_transaction_read_only = on")
			t.admin("select pg_reload_conf()")
			short()
			t.admin("alter system reset default_transaction_read_only")
			t.admin("select pg_reload_conf()")
		}},
		"TableAway": {happens: func(t *hurt) {
			t.admin("alter table copied rename to copied_old; alter table upserted rename to upserted_old")
			long()
			t.admin("alter table copied_old rename to copied; alter table upserted_old rename to upserted")
		}, attempts: 3},
		"TableSwapped": {happens: func(t *hurt) {
			t.admin(`begin;
				lock table copied, upserted in access exclusive mode;
				create table copied_new (like copied including all); insert into copied_new select * from copied;
				create table upserted_new (like upserted including all); insert into upserted_new select * from upserted;
				grant all on copied_new, upserted_new to app;
				alter table copied rename to copied_old; alter table copied_new rename to copied;
				alter table upserted rename to upserted_old; alter table upserted_new rename to upserted;
				commit`)
		}},
		"ColumnAway": {happens: func(t *hurt) {
			t.admin("alter table copied rename n to m; alter table upserted rename n to m")
			long()
			t.admin("alter table copied rename m to n; alter table upserted rename m to n")
		}, attempts: 3},
		"IndexAway": {happens: func(t *hurt) {
			t.admin("alter table copied drop constraint copied_pkey; alter table upserted drop constraint upserted_pkey")
			long()
			t.admin("alter table copied add primary key (n); alter table upserted add primary key (n)")
		}, attempts: 3},
		"ColumnAdded": {happens: func(t *hurt) {
			for range 3 {
				t.admin("alter table copied add extra text; alter table upserted add extra text; alter table source add extra text")
				t.admin("alter table copied drop extra; alter table upserted drop extra; alter table source drop extra")
			}
		}},
		"Vacuum": {happens: func(t *hurt) {
			for _, table := range []string{"source", "copied", "upserted"} {
				t.admin("vacuum full " + table)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := dbtest.StartServer(t)
			tr := &hurt{T: t, server: server, admin: func(sql string) {
				conn, err := pgx.Connect(t.Context(), server.URL())
				require.NoError(t, err)
				defer conn.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // it was only to say something
				_, err = conn.PgConn().Exec(t.Context(), sql).ReadAll()
				require.NoError(t, err, sql)
			}}
			tr.admin("create role app login; grant create on schema public to app; grant create on database postgres to app")
			config, err := pgxpool.ParseConfig(server.URL())
			require.NoError(t, err)
			config.ConnConfig.User, config.MaxConns = "app", 8
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			require.NoError(t, err)
			t.Cleanup(pool.Close)
			d := migrated(onPool(t, pool))
			tr.admin("create table source (n bigint primary key); insert into source select generate_series(1, 3000)")
			tr.admin("create table copied (n bigint primary key); create table upserted (n bigint primary key); grant all on source, copied, upserted to app")
			flow := func(name string, to dataflow.Target[copied], rt dataflow.Runtime) *dataflow.Flow {
				return dataflow.NewFlow(name, failoverSource(pool), dataflow.RateLimit[copied](800), to, &dataflow.FlowOptions{Runtime: rt})
			}
			logs := newLogs()
			client := d.client(&dataflow.Config{Logger: logs.logger(), Flows: []*dataflow.Flow{
				flow("copied", pgtable.Insert[copied]("copied"), dataflow.Heartbeat{BatchSize: 20}),
				flow("upserted", pgtable.Upsert[copied]("upserted", "n"), dataflow.JobQueue{BatchSize: 20}),
			}})
			require.NoError(t, client.Start(t.Context()))
			ids := make(map[string]int64)
			for _, name := range []string{"copied", "upserted"} {
				run, err := client.Enqueue(t.Context(), name, nil)
				require.NoError(t, err)
				ids[name] = run.ID
			}
			watch, err := pgxpool.New(t.Context(), server.URL())
			require.NoError(t, err)
			t.Cleanup(watch.Close)
			count := func(table string) (n int64) {
				if err := watch.QueryRow(t.Context(), "select count(*) from "+table).Scan(&n); err != nil {
					return -1
				}
				return n
			}
			require.Eventually(t, func() bool { return count("copied") > 0 && count("upserted") > 0 }, patience, 20*time.Millisecond)
			c.happens(tr)
			for name, id := range ids {
				var run *dataflow.Run
				require.Eventually(t, func() bool {
					var err error
					run, err = client.Run(t.Context(), id)
					return err == nil && run.State.Finished()
				}, patience, 100*time.Millisecond, name)
				require.Equal(t, dataflow.RunSuccess, run.State, "%s: %s", name, run.Error)
				require.LessOrEqual(t, run.Attempt, 1+c.attempts, "%s: %v", name, run.Errors)
				require.EqualValues(t, troubleRows, run.Counters.Written, name)
				require.EqualValues(t, troubleRows, count(name), name)
			}
			require.NoError(t, client.Stop(context.WithoutCancel(t.Context())))
		})
	}
}
