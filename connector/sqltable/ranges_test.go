package sqltable_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// Several ranges of a table are worked at once by the same source and sink. Its key
// has two columns, and most rows are equal in the first. Each row arrives once in a
// target that only inserts.
func TestFlow_Ranges(t *testing.T) {
	t.Parallel()
	const rows = 100
	db := setup(t,
		`create table amount (id integer primary key, cents integer not null, day text not null)`,
		`with recursive s (n) as (select 1 union all select n + 1 from s where n < 100) insert into amount select n, n, '2024-01-0' || (1 + n / 45) from s`,
		`create table log (id integer, cents integer)`)
	source := sqltable.Keyset[amount](db, sqltable.Query{SQL: `select id, cents, day from amount`, Key: []string{"day", "id"}, PageSize: 17})
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Logger: slog.New(slog.DiscardHandler), Flows: []*dataflow.Flow{
		dataflow.NewFlow("log", source, dataflow.Identity[amount](), sqltable.Insert[amount]("log"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}, MaxBackfills: 4}),
	}})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	for _, c := range []struct {
		n, runs     int
		from, until string // null means none
		want        int
	}{
		{1, 1, "null", "null", rows},
		{2, 2, "null", "null", rows},
		{7, 7, "null", "null", rows},
		{rows + 50, rows, "null", "null", rows},
		{5, 5, `["'2024-01-01'", "20"]`, `["'2024-01-02'", "60"]`, 40},
		{5, 5, "null", `["'2024-01-02'", "60"]`, 60},
	} {
		_, err := db.ExecContext(t.Context(), `delete from log`)
		require.NoError(t, err)
		made, err := client.BackfillRanges(t.Context(), "log", c.n, &dataflow.BackfillParams{From: []byte(c.from), Until: []byte(c.until), Append: true})
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
		require.EqualValues(t, c.want, sum.Read, "%+v", c)
		var all, different int
		require.NoError(t, db.QueryRowContext(t.Context(), `select count(*), count(distinct id) from log join amount using (id, cents)`).Scan(&all, &different))
		require.Equal(t, []int{c.want, c.want}, []int{all, different}, "%+v", c)
	}
}
