package sqltable_test

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

// numbered is a row whose number is its key.
type numbered struct {
	ID   int64
	Name *string
}

func notes(t *testing.T, db *sql.DB, query string, key ...string) []string {
	t.Helper()
	source := sqltable.Keyset[numbered](db, sqltable.Query{SQL: query, Key: key})
	noter, ok := source.(dataflow.Noter[sqltable.Cursor])
	require.True(t, ok)
	notes, err := noter.Notes(t.Context(), dataflow.Request[sqltable.Cursor]{})
	require.NoError(t, err)
	again, err := noter.Notes(t.Context(), dataflow.Request[sqltable.Cursor]{})
	require.NoError(t, err)
	require.Equal(t, notes, again)
	return notes
}

// SQLite uses the number of a deleted last row again, unless the column is autoincrement.
func TestKeyset_Notes_RowNumbers(t *testing.T) {
	t.Parallel()
	db := setup(
		t,
		`create table plain (id integer primary key, name text unique)`,
		`create table safe (id integer primary key autoincrement, name text)`,
		`create table other (id integer primary key, name text) without rowid`,
		`create view seen as select id, name from plain where name <> 'x'`,
		`attach ':memory:' as side`,
		`create table side."Far" (id integer primary key, name text)`,
	)
	for query, table := range map[string]string{
		`select id, name from plain`:                              "plain",
		`select p.id, p.name from plain p where p.name <> 'x';`:   "plain",
		`select id, name from seen`:                               "plain",
		`select id, name from side."Far"`:                         "Far",
		`select id, name from safe`:                               "",
		`select id, name from other`:                              "",
		`select max(id) as id, name from plain group by name`:     "",
		`select id + 1 as id, name from plain`:                    "",
		`select s.id, p.name from safe s join plain p using (id)`: "",
	} {
		found := notes(t, db, query, "id")
		if table == "" {
			require.Empty(t, found, query)
			continue
		}
		require.Len(t, found, 1, query)
		require.Contains(t, found[0], `declare the column of table "`+table+`" as integer primary key autoincrement`)
	}
	require.Empty(t, notes(t, db, `select id, name from plain`, "name", "id"))

	// It does so, and the row is not read.
	source := sqltable.Keyset[numbered](db, sqltable.Query{SQL: `select id, name from plain`, Key: []string{"id"}})
	exec := func(query string) {
		_, err := db.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	exec(`insert into plain (name) values ('a'), ('b')`)
	all := readAll(t, source)
	require.Len(t, all, 2)
	exec(`delete from plain where name = 'b'`)
	exec(`insert into plain (name) values ('c')`)
	require.Equal(t, all[1].Cursor.String(), readAll(t, source)[1].Cursor.String(), "c has the number of b")
}

// A page that sorts many rows is said, with the index that helps.
func TestKeyset_Notes_Sort(t *testing.T) {
	t.Parallel()
	db := setup(
		t,
		`create table few (id integer primary key, name text)`,
		`create table many (id integer primary key autoincrement, name text)`,
		`with recursive s (n) as (select 1 union all select n + 1 from s where n < 10000) insert into many select n, n from s`,
	)
	require.Empty(t, notes(t, db, `select id, name from few`, "name", "id"))
	require.Equal(t, []string{`each page sorts all rows, which are 10000 or more: create an index on the key ("name", "id"), in this order`}, notes(t, db, `select id, name from many`, "name", "id"))
	_, err := db.ExecContext(t.Context(), `create index by_name on many ("name", "id")`)
	require.NoError(t, err)
	require.Empty(t, notes(t, db, `select id, name from many`, "name", "id"))
}

// Rows with NULL in their key, and rows that share one, are noted before a read meets them.
func TestKeyset_Notes_Keys(t *testing.T) {
	t.Parallel()
	db := setup(t, `create table t (id integer not null, name text)`, `create index by_name on t (name, id)`, `insert into t values (1, 'a'), (2, 'a'), (2, 'b')`)
	const query = `select id, name from t where id < ?1`
	found := func(key ...string) []string {
		source := sqltable.Keyset[numbered](db, sqltable.Query{SQL: query, Args: []any{100}, Key: key})
		notes, err := source.(dataflow.Noter[sqltable.Cursor]).Notes(t.Context(), dataflow.Request[sqltable.Cursor]{})
		require.NoError(t, err)
		return notes
	}
	require.Empty(t, found("name", "id"))
	require.Equal(t, []string{"rows share a key (name), and one of them may never be read: add a column to the key that makes it unique, with a unique index"}, found("name"))
	_, err := db.ExecContext(t.Context(), `insert into t values (3, null)`)
	require.NoError(t, err)
	const null = `key column "name" is NULL in the row (%s), so the row has no place in the order: exclude such rows in the query, or select coalesce(name, …) as the key, with an index on that expression; or set Query.Nulls to skip such rows or to read them first`
	require.Equal(t, []string{fmt.Sprintf(null, "NULL, 3")}, found("name", "id"))
	require.Equal(t, []string{fmt.Sprintf(null, "3, NULL")}, found("id", "name"))
}
