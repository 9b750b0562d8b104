package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// Databases that older versions of the library have made are migrated to this one, and their runs
// go on. testdata/upgrade holds their dumps: they were made by a process that was killed while it
// worked the flows "loop" and "queue", after those of "short" and "quick" or while they waited. The
// transform refuses each tenth number.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	for _, version := range []int{1, 4} {
		for _, kind := range []string{"postgres", "sqlite"} {
			t.Run(fmt.Sprintf("%s from %d", kind, version), func(t *testing.T) {
				t.Parallel()
				dump, err := os.ReadFile(fmt.Sprintf("testdata/upgrade/%s-%d.sql", kind, version))
				require.NoError(t, err)
				upgraded(t, kind, string(dump), version)
			})
		}
	}
}

func upgraded(t *testing.T, kind, dump string, version int) {
	t.Helper()
	var d *dbT
	if kind == "postgres" {
		pool := dbtest.Postgres(t)
		conn, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		_, err = conn.Conn().PgConn().Exec(t.Context(), dump).ReadAll()
		conn.Release()
		require.NoError(t, err)
		d = onPool(t, pool)
	} else {
		d = sqlite(t, dbtest.SQLitePath(t))
		require.NoError(t, d.exec(dump))
	}
	refuse := dataflow.Map(func(_ context.Context, n int) (int, error) {
		if n%10 == 7 {
			return n, errors.New("it ends with seven")
		}
		return n, nil
	})
	flow := func(name string, rt dataflow.Runtime, n int) *dataflow.Flow {
		return dataflow.NewFlow(name, numbers{n: n}, refuse, appendTo("copies_"+name), &dataflow.FlowOptions{Runtime: rt, OnBadRecord: dataflow.DeadLetterUpTo(1000)})
	}
	client := d.client(&dataflow.Config{Flows: []*dataflow.Flow{
		flow("loop", dataflow.Heartbeat{BatchSize: 10}, 300), flow("queue", dataflow.JobQueue{BatchSize: 10}, 300),
		flow("short", dataflow.JobQueue{}, 20), flow("quick", dataflow.Heartbeat{}, 20),
	}})
	require.ErrorContains(t, client.Start(t.Context()), fmt.Sprintf("are at version %d, and this program needs", version))
	require.NoError(t, client.Migrate(t.Context()))
	history, err := client.Runs(t.Context(), nil)
	require.NoError(t, err)
	d.started(client)
	for _, run := range history {
		run, err := d.wait(client, run.ID)
		require.NoError(t, err)
		require.Equal(t, dataflow.RunSuccess, run.State)
	}
	for name, n := range map[string]int{"loop": 300, "queue": 300, "short": 20, "quick": 20} {
		place, err := client.Cursor(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, strconv.Itoa(n), string(place.Cursor), name)
		require.EqualValues(t, n-n/10, d.number("select count(*) from copies_"+name), name)
		require.EqualValues(t, n-n/10, d.number("select count(distinct n) from copies_"+name), name)
		why, err := client.Why(t.Context(), name)
		require.NoError(t, err)
		require.NotEmpty(t, why.Causes)
		if version == 1 { // its process dropped bad records
			continue
		}
		letters, err := client.DeadLetters(t.Context(), &dataflow.DeadLetterListParams{Flow: name, Open: true})
		require.NoError(t, err)
		require.Len(t, letters, n/10, name)
	}
	read := d.number("select sum(read) from dataflow_run")
	require.EqualValues(t, 640, read, "the counters go on, too")
}

// After a migration down and up again, what the flows' code declares is stored anew, although it is the same code.
func TestUpgrade_DownAndUp(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		register := func() *dataflow.Client {
			report := dataflow.NewFlow("report", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{After: dataflow.After{Flow: "orders"}, Group: "shop"})
			client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{plain("orders"), report}, Groups: map[string]int{"shop": 3}, CodeVersion: "v1"})
			require.NoError(t, client.Register(t.Context()))
			return client
		}
		client := register()
		for _, version := range []int{14, 10, 1} {
			require.NoError(t, client.MigrateDown(t.Context(), version))
			require.NoError(t, client.Migrate(t.Context()))
			client = register()
			require.EqualValues(t, 1, t.number("select count(*) from dataflow_flow f join dataflow_after a on a.flow_id = f.id where name = 'report' and upstream = 'orders'"), version)
			require.EqualValues(t, 1, t.number("select count(*) from dataflow_flow f join dataflow_group g on g.name = f.group_name where f.name = 'report' and max_runs = 3"), version)
		}
	})
}
