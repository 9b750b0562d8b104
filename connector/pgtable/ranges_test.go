package pgtable_test

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// Several ranges of a table are worked at once by the same source and sink. Its key
// has two columns, and most rows are equal in the first. Each row arrives once in a
// target that only inserts. A target with a key holds the last of two writes.
func TestFlow_Ranges(t *testing.T) {
	t.Parallel()
	const rows = 240
	pool := setup(t,
		`create table amount (id bigint primary key, cents bigint not null, day date not null)`,
		`insert into amount select n, n, date '2024-01-01' + (n / 100)::int from generate_series(1, 240) n`,
		`create table log (id bigint, cents bigint)`, `create table total (id bigint primary key, cents bigint not null)`, `create table far (id bigint, cents bigint)`)
	source := pgtable.Keyset[amount](pool, pgtable.Query{SQL: `select id, cents, day from amount`, Key: []string{"day", "id"}, PageSize: 17, LateCommits: pgtable.Unguarded{}})
	opts := &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, MaxBackfills: 4}
	flows := map[string]*dataflow.Flow{
		"log":   dataflow.NewFlow("log", source, dataflow.Identity[amount](), pgtable.Insert[amount]("log"), opts),
		"total": dataflow.NewFlow("total", source, dataflow.Identity[amount](), pgtable.Upsert[amount]("total", "id"), opts),
		"far":   dataflow.NewFlow("far", source, dataflow.Identity[amount](), pgtable.InsertTo[amount](pool, "far"), opts),
	}
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Logger: slog.New(slog.DiscardHandler), Flows: []*dataflow.Flow{flows["log"], flows["total"], flows["far"]}})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	for name := range flows {
		for _, c := range []struct {
			n, runs     int
			from, until string // null means none
			want        int
		}{
			{1, 1, "null", "null", rows},
			{2, 2, "null", "null", rows},
			{7, 7, "null", "null", rows},
			{rows + 50, rows, "null", "null", rows},
			{5, 5, `["2024-01-01", "40"]`, `["2024-01-02", "0"]`, 59},
			{5, 5, "null", `["2024-01-02", "120"]`, 120},
		} {
			_, err := pool.Exec(t.Context(), `truncate `+name)
			require.NoError(t, err)
			made, err := client.BackfillRanges(t.Context(), name, c.n, &dataflow.BackfillParams{From: []byte(c.from), Until: []byte(c.until), Append: true})
			require.NoError(t, err)
			require.Len(t, made, c.runs)
			var sum dataflow.Counters
			for worked := made; len(worked) > 0; { // some runs may have to wait for the next tick
				worked, err = client.Tick(t.Context())
				require.NoError(t, err)
				for _, run := range worked {
					require.Equal(t, dataflow.RunSuccess, run.State, run.Error)
					sum = sum.Add(run.Counters)
				}
			}
			require.EqualValues(t, c.want, sum.Read, "%s: %+v", name, c)
			var all, different int
			require.NoError(t, pool.QueryRow(t.Context(), fmt.Sprintf(`select count(*), count(distinct id) from %s join amount using (id, cents)`, name)).Scan(&all, &different))
			require.Equal(t, []int{c.want, c.want}, []int{all, different}, "%s: %+v", name, c)
		}
	}
}
