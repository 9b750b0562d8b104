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

// A flow reads from a hot standby that ends its statements, because vacuum on the primary
// removes rows that they may see. The run goes on from its page and spends no attempt. The log
// says what to set.
func TestStandby_ConflictWithRecovery(t *testing.T) {
	t.Parallel()
	primary := dbtest.StartServer(t)
	standby := primary.Standby(t)
	connect := func(server *dbtest.Server) *pgxpool.Pool {
		pool, err := pgxpool.New(t.Context(), server.URL())
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		return pool
	}
	pool, reading := connect(primary), connect(standby)
	for _, sql := range []string{"alter system set max_standby_streaming_delay = 0", "select pg_reload_conf()"} {
		_, err := reading.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	d := migrated(onPool(t, pool))
	const rows = 2000
	failoverTables(t, pool, "copy")
	_, err := pool.Exec(t.Context(), "delete from source where n > $1", rows)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), "create table churn as select 1 as n")
	require.NoError(t, err)
	there := func() bool {
		var n int
		return reading.QueryRow(t.Context(), "select count(*) from churn").Scan(&n) == nil
	}
	require.Eventually(t, there, patience, 20*time.Millisecond)

	source := pgtable.Keyset[copied](reading, pgtable.Query{SQL: "select n from source where pg_sleep(0.004) is not null", Key: []string{"n"}, PageSize: 50, LateCommits: pgtable.Unguarded{}})
	const trouble = "trouble that should pass; going on at the last checkpoint"
	logs := newLogs()
	client := d.client(&dataflow.Config{Logger: logs.logger(), Flows: []*dataflow.Flow{
		dataflow.NewFlow("copy", source, dataflow.Identity[copied](), pgtable.Insert[copied]("copy"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 50}}),
	}})
	require.NoError(t, client.Start(t.Context()))
	run, err := client.Enqueue(t.Context(), "copy", nil)
	require.NoError(t, err)

	conflicts := func() (n int64) {
		conn, err := pgx.Connect(t.Context(), standby.URL())
		require.NoError(t, err)
		defer conn.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // it was only to be asked
		if err := conn.QueryRow(t.Context(), "select confl_snapshot from pg_stat_database_conflicts where datname = current_database()").Scan(&n); err != nil {
			return 0 // it met a conflict itself
		}
		return n
	}
	require.Eventually(t, func() bool {
		for _, sql := range []string{"update churn set n = n + 1", "vacuum churn"} {
			_, err := pool.Exec(t.Context(), sql)
			require.NoError(t, err)
		}
		return conflicts() >= 3 && len(logs.lines(trouble)) > 0 // others than the flow's queries meet some
	}, patience, 150*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	run, err = client.Wait(ctx, run.ID)
	require.NoError(t, err)
	require.Equal(t, 1, run.Attempt)
	require.Empty(t, run.Errors)
	d.requireExactly("copy", rows)
	said := logs.lines(trouble)
	require.NotEmpty(t, said)
	require.Contains(t, said[0], "set hot_standby_feedback = on or raise max_standby_streaming_delay")
	require.NoError(t, client.Stop(t.Context()))
}
