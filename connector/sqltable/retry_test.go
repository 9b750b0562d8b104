package sqltable_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// person is a row that refers to another row of its table.
type person struct {
	ID   int64
	Boss *int64
	Name string
}

// Rows that refer to rows of later batches are all written at the end of the run, and a dead
// letter does not replace the row that a newer record has written.
func TestRetryBadFor(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]dataflow.Target[person]{
		"Insert": sqltable.Insert[person]("people"), "Upsert": sqltable.Upsert[person]("people", "id"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 500
			rows := make([]person, n)
			for i := range rows {
				rows[i] = person{int64(i + 1), new(int64(n)), "n"}
			}
			rows[n-1].Boss = nil
			if name == "Upsert" {
				rows = append([]person{{2, new(int64(n)), "old"}}, rows...)
				rows[2].Boss = nil
			}
			db := setup(t, `create table people (id integer primary key, boss integer references people, name text not null)`)
			flow := dataflow.NewFlow("people", memory.Slice(rows), dataflow.Identity[person](), target,
				&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 1 + n/5}, OnBadRecord: dataflow.RetryBadFor(time.Hour, 1), MaxAttempts: 1})
			client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			require.NoError(t, client.Migrate(t.Context()))
			require.NoError(t, client.Register(t.Context()))
			run, err := client.Trigger(t.Context(), "people", nil)
			require.NoError(t, err)
			require.Greater(t, run.Counters.DeadLettered, int64(300))
			var count, old int
			require.NoError(t, db.QueryRowContext(t.Context(), `select count(*), count(*) filter (where name = 'old') from people`).Scan(&count, &old))
			require.Equal(t, []int{n, 0}, []int{count, old})
			open, err := client.DeadLetters(t.Context(), &dataflow.DeadLetterListParams{Open: true})
			require.NoError(t, err)
			require.Len(t, open, len(rows)-n, "the old row")
		})
	}
}
