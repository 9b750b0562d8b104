package sqltable_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/reconcile"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

func readGone(t *testing.T, c *reconcile.Comparison) (gone []string, at reconcile.Cursor, err error) {
	t.Helper()
	for item, err := range c.Read(t.Context(), dataflow.Request[reconcile.Cursor]{}) {
		if err != nil {
			return gone, at, err
		}
		if !item.Mark {
			gone = append(gone, item.Key)
		}
		if item.Mark || item.Resume {
			at = item.Cursor
		}
	}
	return gone, at, nil
}

// SQLite finds a table whatever the case of its name.
func TestKeys_OtherCaseOfName(t *testing.T) {
	t.Parallel()
	db := setup(t, `create table orders (id text primary key)`, `create table Copies (id text collate nocase primary key)`, `insert into orders values ('a1')`, `insert into copies values ('A1')`)
	c := reconcile.New(sqltable.Keys(db, reconcile.Table{Name: "orders", Key: []string{"id"}}), sqltable.Keys(db, reconcile.Table{Name: "copies", Key: []string{"id"}}), &reconcile.Options{MaxGone: 1})
	_, _, err := readGone(t, c)
	require.ErrorContains(t, err, "by which different texts may be equal")
}

// A view orders texts as its table does.
func TestKeys_ViewOfCollation(t *testing.T) {
	t.Parallel()
	const name = `case when n % 2 = 0 then 'A' else 'a' end || n`
	db := setup(t, `create table t (id text collate nocase primary key)`, `create view orders as select id from t`, `create table copies (id text primary key)`,
		numbers+`insert into t select `+name+` from s`, numbers+`insert into copies select `+name+` from s`,
		numbers+`insert into copies select case when n % 400 = 0 then 'A' else 'a' end || n || 'x' from s where n % 200 = 0`)
	c := reconcile.New(sqltable.Keys(db, reconcile.Table{Name: "orders", Key: []string{"id"}}), sqltable.Keys(db, reconcile.Table{Name: "copies", Key: []string{"id"}}), &reconcile.Options{MaxGone: 1})
	gone, at, err := readGone(t, c)
	require.NoError(t, err)
	require.Len(t, gone, 15)
	require.True(t, at.Pages)
}

// Numbers and texts of the same digits have different orders.
func TestKeys_NumbersAsTexts(t *testing.T) {
	t.Parallel()
	db := setup(t, `create table orders (id integer primary key)`, `create table copies (id text primary key)`,
		numbers+`insert into orders select n * 7 from s`, `insert into copies select id from orders`, `delete from orders where id % 20 = 0`)
	c := reconcile.New(sqltable.Keys(db, reconcile.Table{Name: "orders", Key: []string{"id"}}), sqltable.Keys(db, reconcile.Table{Name: "copies", Key: []string{"id"}}), &reconcile.Options{MaxGone: 1})
	gone, at, err := readGone(t, c)
	require.NoError(t, err)
	require.Len(t, gone, 150)
	require.EqualValues(t, 3000, at.TargetRows)
}

// A column may store a value as another one, which the source would not find.
func TestKeys_Affinity(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ source, target, value, refused string }{
		"digits":  {"text", "integer", "'01'", "it is SQLite's integer, and stores some values of SQLite's text as others"},
		"any":     {"", "text", "1", "it is SQLite's text, and stores some values of SQLite's untyped as others"},
		"times":   {"datetime", "datetime", "'2024-01-01'", "it is SQLite's datetime, whose times may be written in several ways"},
		"numbers": {"integer", "varchar(9)", "1", ""},
		"reals":   {"bigint", "real", "1", ""},
		"kept":    {"text", "blob", "'01'", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := setup(t, `create table orders (id `+test.source+` primary key)`, `create table copies (id `+test.target+` primary key)`, `insert into orders values (`+test.value+`)`, `insert into copies select id from orders`)
			c := reconcile.New(sqltable.Keys(db, reconcile.Table{Name: "orders", Key: []string{"id"}}), sqltable.Keys(db, reconcile.Table{Name: "copies", Key: []string{"id"}}), &reconcile.Options{MaxGone: 1})
			gone, _, err := readGone(t, c)
			require.Empty(t, gone, "the source has each row")
			if test.refused == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.refused)
			}
		})
	}
}

// A name may be that of a temporary table, or of one in an attached database.
func TestKeys_CollationElsewhere(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		create  []string
		refused bool
	}{
		"attached":       {[]string{`attach ':memory:' as other`, `create table other.copies (id text collate nocase primary key)`}, true},
		"temporary":      {[]string{`create temp table copies (id text collate nocase primary key)`}, true},
		"hidden":         {[]string{`create table copies (id text collate nocase primary key)`, `create temp table copies (id text primary key)`}, false},
		"main first":     {[]string{`attach ':memory:' as other`, `create table other.copies (id text collate nocase primary key)`, `create table copies (id text primary key)`}, false},
		"temporary view": {[]string{`create table t (id text collate nocase primary key)`, `create temp view copies as select id from t`}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := setup(t, append([]string{`create table orders (id text primary key)`, `insert into orders values ('a1')`}, test.create...)...)
			c := reconcile.New(sqltable.Keys(db, reconcile.Table{Name: "orders", Key: []string{"id"}}), sqltable.Keys(db, reconcile.Table{Name: "copies", Key: []string{"id"}}), nil)
			_, _, err := readGone(t, c)
			if test.refused {
				require.ErrorContains(t, err, "by which different texts may be equal")
			} else {
				require.NoError(t, err)
			}
		})
	}
}
