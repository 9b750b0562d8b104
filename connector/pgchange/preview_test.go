package pgchange_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgchange"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// A preview makes no slot, moves none, and ends. While a run reads
// the slot, it is refused, and the run goes on.
func TestStream_Preview(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := startServer(t)
	from := s.create("source", itemTable, `insert into item values (1, 'a'), (2, 'b')`, `create publication p for table item`)
	to := s.create("target", itemTable)
	options := pgchange.Options{Publication: "p", Slot: "s", ChunkSize: 1}
	newClient := func() *dataflow.Client {
		flow := dataflow.NewFlow("copy", pgchange.Stream[item1](from, options), dataflow.Identity[change[item1]](), pgtable.Apply[item1]("item", "id"), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}})
		client, err := dataflow.NewClient(dataflowpgx.New(to), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: quiet})
		require.NoError(t, err)
		return client
	}
	client := newClient()
	require.NoError(t, client.Migrate(ctx))
	require.NoError(t, client.Register(ctx))
	names := func() []string {
		t.Helper()
		report, err := client.DryRun(ctx, "copy", nil)
		require.NoError(t, err)
		names := []string{}
		for _, r := range report.Records {
			var c change[item1]
			require.NoError(t, json.Unmarshal(r.Before, &c))
			names = append(names, string(c.Op)+" "+c.New.Name)
		}
		return names
	}
	require.Equal(t, []string{"insert a", "insert b"}, names())
	require.Empty(t, rows(t, from, `select 1 from pg_replication_slots`))

	worker := newClient()
	require.NoError(t, worker.Start(ctx))
	_, err := worker.Trigger(ctx, "copy", nil)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return len(rows(t, to, `select 1 from dataflow_checkpoint where cursor::jsonb ? 'loaded'`)) == 1
	}, patience, poll)
	require.Equal(t, []string{"2"}, rows(t, to, `select count(*) from item`))
	reader := rows(t, from, `select active_pid from pg_replication_slots`)
	_, err = client.DryRun(ctx, "copy", nil)
	require.ErrorContains(t, err, `slot "s" is in use by process`)
	require.Equal(t, reader, rows(t, from, `select active_pid from pg_replication_slots`), "the run still reads")
	require.NoError(t, worker.Stop(context.WithoutCancel(ctx)))
	idle(t, from)

	exec(t, from, `update item set name = 'c' where id = 1`)
	at := rows(t, from, `select confirmed_flush_lsn from pg_replication_slots`)
	require.Equal(t, []string{"update c"}, names())
	idle(t, from) // the server needs a moment to see that the preview has gone
	require.Equal(t, []string{"update c"}, names())
	require.Equal(t, at, rows(t, from, `select confirmed_flush_lsn from pg_replication_slots`))
	require.Equal(t, "a b", strings.Join(rows(t, to, `select name from item order by id`), " "))
}
