package sqltable_test

import (
	"context"
	"database/sql"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/reconcile"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// numbers are the numbers from 1 to 3000.
const numbers = `with recursive s (n) as (select 1 union all select n + 1 from s where n < 3000) `

// runGone runs a flow that removes what is gone, to its end.
func runGone(t *testing.T, db *sql.DB, c *reconcile.Comparison, to dataflow.Target[reconcile.Difference], opts *dataflow.FlowOptions) (*dataflow.Run, error) {
	t.Helper()
	flow := dataflow.NewFlow("gone", c, dataflow.Identity[reconcile.Difference](), to, opts)
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Start(t.Context()))
	defer func() { require.NoError(t, client.Stop(context.WithoutCancel(t.Context()))) }()
	f, err := client.Flow(t.Context(), "gone")
	require.NoError(t, err)
	return f.Runtime.Execute(t.Context(), f)
}

func countRows(t *testing.T, db *sql.DB, query string) (n int64) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), query).Scan(&n))
	return n
}

// The source, the target and the client share a pool of one connection.
func TestKeys_OneConnection(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"text": "'it''s ' || n", "real": "n + 0.5", "time": "strftime('%Y-%m-%d %H:%M:%f000000Z', n * 100000, 'unixepoch')",
		"mixed": "case n % 3 when 0 then n when 1 then 'a' || n else cast(n as blob) end",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			declared := "text"
			if name != "text" && name != "time" {
				declared = "" // SQLite keeps each value as it is
			}
			db := setup(t, `create table orders (part integer, id `+declared+`, primary key (part, id))`, `create table copies (part integer, id `+declared+`, deleted_at text, primary key (part, id))`,
				numbers+`insert into orders select n % 3, `+value+` from s where n % 1499 <> 0`, numbers+`insert into copies (part, id) select n % 3, `+value+` from s where n not in (77, 78)`)
			key := []string{"part", "id"}
			source, target := reconcile.Table{Name: "orders", Key: key}, reconcile.Table{Name: "main.copies", Key: key, Where: "deleted_at is null"}
			c := reconcile.New(sqltable.Keys(db, source), sqltable.Keys(db, target), nil)
			for range 2 {
				_, err := runGone(t, db, c, c.Mark("deleted_at"), nil)
				require.NoError(t, err)
				require.EqualValues(t, 2, countRows(t, db, `select count(*) from copies where deleted_at like '____-__-__ __:__:__._________Z'`))
			}
			target.Where = ""
			c = reconcile.New(sqltable.Keys(db, source), sqltable.Keys(db, target), nil)
			run, err := runGone(t, db, c, c.Delete(), nil)
			require.NoError(t, err)
			require.Equal(t, dataflow.Counters{Read: 2, Written: 2}, run.Counters)
			require.Equal(t, []int64{2996, 0}, []int64{countRows(t, db, `select count(*) from copies`), countRows(t, db, `select count(*) from copies where (part, id) not in (select part, id from orders)`)})
		})
	}
}

func TestKeys_Refused(t *testing.T) {
	t.Parallel()
	db := setup(t, `create table orders (id text primary key)`, `create table copies (id text collate nocase primary key)`, `create table lines (id text references copies (id))`)
	for _, statement := range []string{numbers + `insert into orders select 'a' || n from s where n > 3`, numbers + `insert into copies select 'a' || n from s`, `insert into lines values ('a2')`, `pragma foreign_keys = on`} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	source, target := reconcile.Table{Name: "orders", Key: []string{"id"}}, reconcile.Table{Name: "copies", Key: []string{"id"}}
	c := reconcile.New(sqltable.Keys(db, source), sqltable.Keys(db, target), nil)
	_, err := runGone(t, db, c, c.Delete(), &dataflow.FlowOptions{MaxAttempts: 1})
	require.ErrorContains(t, err, "by which different texts may be equal")

	target.SameSpelling = true
	c = reconcile.New(sqltable.Keys(db, source), sqltable.Keys(db, target), nil)
	run, err := runGone(t, db, c, c.Delete(), &dataflow.FlowOptions{MaxAttempts: 1, OnBadRecord: dataflow.SkipUpTo(1)})
	require.NoError(t, err)
	require.Equal(t, dataflow.Counters{Read: 3, Written: 2, Dropped: 1}, run.Counters, "another table refers to one")
	require.EqualValues(t, 2998, countRows(t, db, `select count(*) from copies`))
}

// An empty source empties nothing.
func TestKeys_EmptySource(t *testing.T) {
	t.Parallel()
	db := setup(t, `create table orders (id integer primary key)`, `create table copies (id integer primary key)`, numbers+`insert into copies select n from s`)
	c := reconcile.New(sqltable.Keys(db, reconcile.Table{Name: "orders", Key: []string{"id"}}), sqltable.Keys(db, reconcile.Table{Name: "copies", Key: []string{"id"}}), nil)
	_, err := runGone(t, db, c, c.Delete(), &dataflow.FlowOptions{MaxAttempts: 1})
	require.ErrorContains(t, err, "3000 of the 3000 rows of copies (target) are gone")
	require.EqualValues(t, 3000, countRows(t, db, `select count(*) from copies`))
}
