package sqltable_test

import (
	"context"
	"database/sql"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

type number struct {
	N int64 `db:"n"`
}

// manyReaders returns a database, and a second pool for it with several
// connections.
func manyReaders(t *testing.T, statements ...string) (db, readers *sql.DB) {
	t.Helper()
	path := dbtest.SQLitePath(t)
	db, readers = dbtest.OpenSQLite(t, path), dbtest.OpenSQLite(t, path)
	readers.SetMaxOpenConns(4)
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return db, readers
}

// selected reads a source to its end.
func selected[T any](t *testing.T, source dataflow.Source[T, dataflow.NoCursor]) ([]T, error) {
	t.Helper()
	var rows []T
	for item, err := range source.Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
		if err != nil {
			return rows, err
		}
		rows = append(rows, item.Value)
	}
	return rows, nil
}

func TestSelect_AnyStatement(t *testing.T) {
	t.Parallel()
	type sum struct {
		Who   string `db:"Who \"is\" it"`
		Total int64
		Last  *time.Time
	}
	_, db := manyReaders(t, `create table "order" ("user" text, cents bigint, at datetime)`,
		`insert into "order" values ('a', 1, null), ('b', 5, '2026-01-02'), ('b', 6, '2026-01-03T04:05Z'), ('c', 2, null)`)
	got, err := selected(t, sqltable.Select[sum](db, `
		with o as (select * from "order" where cents > ?1)
		select max(at) as last, "user" as "Who ""is"" it", sum(cents) as total from o group by 2 order by 3 desc limit 2; -- and no more`, 1))
	require.NoError(t, err)
	at := time.Date(2026, 1, 3, 4, 5, 0, 0, time.UTC)
	require.Equal(t, []sum{{Who: "b", Total: 11, Last: &at}, {Who: "c", Total: 2}}, got)
}

const endless = `with recursive n (n) as (select 1 union all select n + 1 from n) select n from n`

// Rows arrive while the statement still runs, and a reader that stops does not wait
// for the rest. This statement never ends.
func TestSelect_Streams(t *testing.T) {
	t.Parallel()
	_, db := manyReaders(t)
	var got []int64
	for item, err := range sqltable.Select[number](db, endless).Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
		require.NoError(t, err)
		if got = append(got, item.Value.N); len(got) == 3 {
			break
		}
	}
	require.Equal(t, []int64{1, 2, 3}, got)
	require.Zero(t, db.Stats().InUse)
}

func TestSelect_Errors(t *testing.T) {
	t.Parallel()
	one, db := manyReaders(t, `create table numbers (n bigint)`)
	for query, want := range map[string][]string{
		`select n, n as m from numbers`: {`query "select n, n as m from numbers"`, "columns without a field: m"},
		`select 1 as "N"`:               {"columns without a field: N", "fields without a column: n (field N)"},
		`select n, n from numbers`:      {`two columns named "n"`},
		`select n from figures`:         {"no such table: figures"},
	} {
		_, err := selected(t, sqltable.Select[number](db, query))
		for _, part := range want {
			require.ErrorContains(t, err, part)
		}
	}
	for field, source := range map[string]dataflow.Source[number, dataflow.NoCursor]{
		"db: it is nil: create it with sql.Open": sqltable.Select[number](nil, `select 1 as n`), "db: it has one connection": sqltable.Select[number](one, `select 1 as n`),
		"query: it is empty": sqltable.Select[number](db, " \n"),
	} {
		_, err := selected(t, source)
		require.ErrorContains(t, err, field)
		require.True(t, dataflow.IsPermanent(err))
	}
}

// The flow writes to the database that it reads while the statement is running. A
// target that only appends is refused. An upsert writes nothing new the second
// time.
func TestSelect_Targets(t *testing.T) {
	t.Parallel()
	db, readers := manyReaders(t, `create table numbers (n bigint primary key)`)
	client := func(target dataflow.Target[number]) (*dataflow.Client, error) {
		source := sqltable.Select[number](readers, `select * from (`+endless+`) limit ?`, 5000)
		return dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Logger: slog.New(slog.DiscardHandler), Flows: []*dataflow.Flow{
			dataflow.NewFlow("numbers", source, dataflow.Identity[number](), target, &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 500}}),
		}})
	}
	_, err := client(sqltable.Insert[number]("numbers"))
	require.ErrorContains(t, err, "it only appends, and the source has no cursor")
	c, err := client(sqltable.Upsert[number]("numbers", "n"))
	require.NoError(t, err)
	require.NoError(t, c.Migrate(t.Context()))
	require.NoError(t, c.Register(t.Context()))
	for _, want := range []dataflow.Counters{{Read: 5000, Written: 5000}, {Read: 5000, Redundant: 5000}} {
		run, err := c.Trigger(t.Context(), "numbers", nil)
		require.NoError(t, err)
		require.Equal(t, want, run.Counters)
	}
}

// endsAfterLook is a context that ends just after somebody has asked whether it has.
type endsAfterLook struct {
	context.Context //nolint:containedctx // it is one itself
	cancel          context.CancelFunc
	armed           atomic.Bool
}

// Err implements context.Context.
func (c *endsAfterLook) Err() error {
	if !c.armed.CompareAndSwap(true, false) {
		return c.Context.Err()
	}
	c.cancel()
	time.Sleep(100 * time.Millisecond) // until database/sql has closed the rows
	return nil
}

// A row that cannot be read because the context has ended is no bad record.
func TestSelect_CancelledIsNoBadRecord(t *testing.T) {
	t.Parallel()
	_, db := manyReaders(t)
	source := sqltable.Select[struct{ N int }](db, series, 9)
	ended, cancel := context.WithCancel(t.Context())
	defer cancel()
	ctx := &endsAfterLook{Context: ended, cancel: cancel}
	var last error
	for _, err := range source.Read(ctx, dataflow.Request[dataflow.NoCursor]{}) {
		var bad *dataflow.RecordError
		require.NotErrorAs(t, err, &bad)
		last = err
		ctx.armed.Store(err == nil)
	}
	require.ErrorIs(t, last, context.Canceled)
	require.False(t, ctx.armed.Load())
}
