package sqltable_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// The client and the sink use two databases, of one kind or of two.
func TestInsertTo_AnotherDatabase(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) (driver dataflow.Driver, exec func(sql string) error){
		"SQLite": func(t *testing.T) (dataflow.Driver, func(sql string) error) {
			t.Helper()
			db := dbtest.SQLite(t)
			return dataflowsqlite.New(db), func(sql string) error { _, err := db.ExecContext(t.Context(), sql); return err }
		},
		"Postgres": func(t *testing.T) (dataflow.Driver, func(sql string) error) {
			t.Helper()
			pool := dbtest.Postgres(t)
			return dataflowpgx.New(pool), func(sql string) error { _, err := pool.Exec(t.Context(), sql); return err }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			driver, exec := open(t)
			other := setup(t, `create table numbers (n integer)`)
			rows := make([]number, 100)
			for i := range rows {
				rows[i].N = int64(i + 1)
			}
			flow := dataflow.NewFlow("far", memory.Slice(rows), dataflow.Identity[number](), sqltable.InsertTo[number](other, "numbers"),
				&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 7}})
			client, err := dataflow.NewClient(driver, &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			require.NoError(t, client.Migrate(ctx))
			require.NoError(t, client.Register(ctx))
			requireAll := func() {
				t.Helper()
				var n, distinct int
				require.NoError(t, other.QueryRowContext(ctx, `select count(*), count(distinct n) from numbers`).Scan(&n, &distinct))
				require.Equal(t, []int{100, 100}, []int{n, distinct})
			}
			for range 2 {
				_, err = client.Trigger(ctx, "far", nil)
				require.NoError(t, err)
				requireAll()
			}

			// As if the process had been killed between the sink's commit and the
			// client's: the client's checkpoint lacks the last batch.
			require.NoError(t, exec(`update dataflow_checkpoint set cursor = '91'`))
			run, err := client.Trigger(ctx, "far", nil)
			require.NoError(t, err)
			require.JSONEq(t, `100`, string(run.ToCursor))
			requireAll()
		})
	}
}

func TestInsertTo_Refused(t *testing.T) {
	t.Parallel()
	flow := dataflow.NewFlow("far", memory.Slice([]number{{N: 1}}), dataflow.Identity[number](), sqltable.UpsertTo[number](nil, "a.b.c"), nil)
	_, err := dataflow.NewClient(dataflowsqlite.New(dbtest.SQLite(t)), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
	require.ErrorContains(t, err, `Flows["far"].Target.db: it is nil`)
	require.ErrorContains(t, err, `Flows["far"].Target.table: a.b.c has 3 parts`)
	require.ErrorContains(t, err, `Flows["far"].Target.key: `)
}
