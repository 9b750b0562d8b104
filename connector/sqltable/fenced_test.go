package sqltable_test

import (
	"fmt"
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

// The policy decides about each record that the other database refuses, and the others are written. The client is
// on Postgres, which does not know the errors of SQLite.
func TestTo_Policy(t *testing.T) {
	t.Parallel()
	type row struct {
		ID  int64
		Was string
		V   *string
	}
	text := func(s string) *string { return &s }
	for name, test := range map[string]struct {
		column string
		bad    *string
		says   string
		more   []string // statements
	}{
		"Null":        {"text not null", nil, "NOT NULL constraint failed", nil},
		"Check":       {"text check (v <> '2')", text("2"), "CHECK constraint failed", nil},
		"Type":        {"integer", text("two"), "cannot store TEXT value in INTEGER column", nil},
		"Key":         {"text references parent (id)", text("2"), "FOREIGN KEY constraint failed", nil},
		"DeferredKey": {"text references parent (id) deferrable initially deferred", text("2"), "FOREIGN KEY constraint failed", nil},
		"Trigger":     {"text", text("2"), "out of paper", []string{"create trigger odd before insert on t when new.v = '2' begin select raise(abort, 'out of paper'); end"}},
	} {
		for _, upsert := range []bool{false, true} {
			t.Run(fmt.Sprint(name, upsert), func(t *testing.T) {
				t.Parallel()
				other := setup(t, append([]string{
					"create table parent (id text primary key) strict", "insert into parent values ('1')",
					"create table t (id integer primary key, was text, v " + test.column + ") strict",
				}, test.more...)...)
				rows := make([]row, 300)
				for i := range rows {
					if rows[i] = (row{int64(i), "good", text("1")}); i%100 == 7 {
						rows[i] = row{int64(i), "bad", test.bad}
					}
				}
				target := sqltable.InsertTo[row](other, "t")
				if upsert {
					target = sqltable.UpsertTo[row](other, "t", "id")
				}
				flow := dataflow.NewFlow("f", memory.Slice(rows), dataflow.Identity[row](), target,
					&dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(3), Runtime: dataflow.Heartbeat{BatchSize: 250}})
				client, err := dataflow.NewClient(dataflowpgx.New(dbtest.Postgres(t)), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
				require.NoError(t, err)
				require.NoError(t, client.Migrate(t.Context()))
				require.NoError(t, client.Register(t.Context()))
				run, err := client.Trigger(t.Context(), "f", nil)
				require.NoError(t, err)
				require.Equal(t, dataflow.Counters{Read: 300, Written: 297, DeadLettered: 3}, run.Counters)
				letters, err := client.DeadLetters(t.Context(), &dataflow.DeadLetterListParams{})
				require.NoError(t, err)
				require.Len(t, letters, 3)
				require.Contains(t, letters[0].Error, test.says)
				var good, bad int
				require.NoError(t, other.QueryRowContext(t.Context(), "select count(*), count(case when was = 'bad' then 1 end) from t").Scan(&good, &bad))
				require.Equal(t, []int{297, 0}, []int{good, bad})
			})
		}
	}
}
