package sqltable_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

type order struct {
	ID    int64
	Email string `db:"customer_email"`
}

type orderAt struct {
	order
	At *int
}

func TestKeyset_Validate(t *testing.T) {
	t.Parallel()
	db := setup(t)
	good := sqltable.Query{SQL: "select id, customer_email from orders", Key: []string{"id"}}
	with := func(change func(*sqltable.Query)) sqltable.Query {
		q := good
		change(&q)
		return q
	}
	for name, tc := range map[string]struct {
		source any
		want   string
	}{
		"nil db":    {sqltable.Keyset[order](nil, good), "db: it is nil: create it with sql.Open"},
		"empty SQL": {sqltable.Keyset[order](db, with(func(q *sqltable.Query) { q.SQL = " ;\n" })), `Query.SQL: it is empty: give a select statement without "order by" and "limit"`},
		"empty key": {sqltable.Keyset[order](db, with(func(q *sqltable.Query) { q.Key = nil })), "Query.Key: it is empty: name the columns that are unique together and only grow for new rows"},
		"key twice": {
			sqltable.Keyset[order](db, with(func(q *sqltable.Query) { q.Key = []string{"id", "id"} })), `Query.Key: column "id" is named twice`,
		},
		"page size": {
			sqltable.Keyset[order](db, with(func(q *sqltable.Query) { q.PageSize = -1 })), "Query.PageSize: -1 is negative: use 1 or more, or 0 for 8000",
		},
		"no struct": {sqltable.Keyset[*order](db, good), "T: *sqltable_test.order is not a struct: use a struct with a field for each column"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tc.source.(dataflow.Validator).Validate()
			require.EqualError(t, err, tc.want)
			var ce *dataflow.ConfigError
			require.ErrorAs(t, err, &ce)
		})
	}
	require.NoError(t, sqltable.Keyset[order](db, good).(dataflow.Validator).Validate())
	_, err := read(t, sqltable.Keyset[order](nil, good), nil, -1)
	require.EqualError(t, err, "db: it is nil: create it with sql.Open")
}

func TestKeyset_ReadErrors(t *testing.T) {
	t.Parallel()
	db := setup(t,
		`create table orders (id integer primary key, customer_email text, note text, at int)`,
		`insert into orders values (1, 'a', 'x', 10), (2, 'b', 'y', 10), (3, 'c', 'z', null)`)
	long := "select id, customer_email from nowhere where customer_email <> '" + strings.Repeat("é", 300) + "'"
	orders := `select id, customer_email from orders`
	ordersAt := `select id, customer_email, at from orders`
	null := ` so the row has no place in the order: exclude such rows in the query, or select coalesce(at, …) as the key, with an index on that expression; or set Query.Nulls to skip such rows or to read them first`
	for name, tc := range map[string]struct {
		query sqltable.Query
		from  sqltable.Cursor
		want  string
	}{
		"no table": {
			query: sqltable.Query{SQL: long, Key: []string{"id"}},
			want:  `query "` + string([]rune(long)[:200]) + `…": SQL logic error: no such table: nowhere (1)`,
		},
		"columns do not match": {
			query: sqltable.Query{SQL: `select id, note, customer_email as email from orders`, Key: []string{"id"}},
			want: `query "select id, note, customer_email as email from orders": the query and the fields of sqltable_test.order do not match: ` +
				`columns without a field: note, email; fields without a column: customer_email (field Email)`,
		},
		"key not selected": {
			query: sqltable.Query{SQL: orders, Key: []string{"id", "at"}},
			want:  `query "select id, customer_email from orders": key column "at" is not among the query's columns ([id customer_email]): select it`,
		},
		"cursor of another key": {
			query: sqltable.Query{SQL: orders, Key: []string{"id"}}, from: sqltable.Cursor{"1", "'a'"},
			want: `query "select id, customer_email from orders": the stored cursor (1, 'a') has 2 values, but the key has 1 column (id): ` +
				`restore the old key, or give the changed flow a new name`,
		},
		"broken cursor": {
			query: sqltable.Query{SQL: orders, Key: []string{"id"}}, from: sqltable.Cursor{"2024-01-01"},
			want: `query "select id, customer_email from orders": value 1 of the stored cursor: "2024-01-01" is not a number, text in single quotes, or x'…'`,
		},
		"key not unique": {
			query: sqltable.Query{SQL: ordersAt + ` where id < 3`, Key: []string{"at"}, PageSize: 1},
			want: `query "select id, customer_email, at from orders where id < 3": the key (at) is not unique: several rows have 10: ` +
				`add a column to the key that distinguishes them`,
		},
		"null first": {
			query: sqltable.Query{SQL: ordersAt, Key: []string{"at", "id"}}, from: sqltable.Cursor{"10", "1"},
			want: `query "select id, customer_email, at from orders": key column "at" is NULL in the row (NULL, 3),` + null,
		},
		"null in the page": {
			query: sqltable.Query{SQL: ordersAt, Key: []string{"id", "at"}},
			want:  `query "select id, customer_email, at from orders": key column "at" is NULL in the row (3, NULL),` + null,
		},
		"null beside the cursor": {
			query: sqltable.Query{SQL: ordersAt, Key: []string{"id", "at"}}, from: sqltable.Cursor{"3", "5"},
			want: `query "select id, customer_email, at from orders": key column "at" is NULL in the row (3, NULL),` + null,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := read(t, sqltable.Keyset[order](db, tc.query), tc.from, -1)
			if strings.HasPrefix(tc.query.SQL, ordersAt) {
				_, err = read(t, sqltable.Keyset[orderAt](db, tc.query), tc.from, -1)
			}
			require.EqualError(t, err, tc.want)
		})
	}
}

func TestKeyset_BrokenCursors(t *testing.T) {
	t.Parallel()
	db := setup(t, `create table t (id integer primary key)`)
	source := sqltable.Keyset[struct{ ID int }](db, sqltable.Query{SQL: `select id from t`, Key: []string{"id"}})
	for literal, want := range map[string]string{
		"":        `"" is not a number, text in single quotes, or x'…'`,
		"'a":      `"'a" has no closing quote`,
		"'":       `"'" has no closing quote`,
		"x'0'":    `"x'0'": encoding/hex: odd length hex string`,
		"y'00'":   `"y'00'" begins with neither x nor t`,
		"1; drop": `"1; drop" is not a number, text in single quotes, or x'…'`,
	} {
		_, err := read(t, source, sqltable.Cursor{literal}, -1)
		require.EqualError(t, err, `query "select id from t": value 1 of the stored cursor: `+want)
	}
}

func TestKeyset_ClosedDatabase(t *testing.T) {
	t.Parallel()
	db := setup(t)
	source := sqltable.Keyset[order](db, sqltable.Query{SQL: "select id,\n\tcustomer_email from orders", Key: []string{"id"}})
	require.NoError(t, db.Close())
	_, err := read(t, source, nil, -1)
	require.EqualError(t, err, `query "select id, customer_email from orders": sql: database is closed`)
	_, err = source.(dataflow.Counter[sqltable.Cursor]).Count(t.Context(), dataflow.Request[sqltable.Cursor]{})
	require.EqualError(t, err, `query "select id, customer_email from orders": sql: database is closed`)
}

func TestKeyset_Describe(t *testing.T) {
	t.Parallel()
	source := sqltable.Keyset[order](setup(t), sqltable.Query{SQL: "select 1", Key: []string{"id"}, Args: []any{"secret"}})
	require.Equal(t, dataflow.Description{
		Type: "sqltable.keyset", Detail: map[string]any{"sql": "select 1", "key": []string{"id"}},
	}, source.(dataflow.Describer).Describe())
}

// Keys that differ, and that SQLite takes for equal, end the read: a page or a run could end between them.
func TestKeyset_EqualKeys(t *testing.T) {
	t.Parallel()
	type row struct{ N int }
	for name, c := range map[string]struct{ column, first, second, third, want string }{
		"Case":    {"k text collate nocase", "'a'", "'A'", "'b'", "are equal by the collation"},
		"Blanks":  {"k text collate rtrim", "'a'", "'a  '", "'b'", "are equal by the collation"},
		"Numbers": {"k", "1", "1.0", "2", "are equal as numbers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := setup(t, "create table t ("+c.column+", n int)", fmt.Sprintf("insert into t values (%s, 1), (%s, 2), (%s, 3)", c.first, c.second, c.third))
			for _, size := range []int{1, 2, 3} {
				for _, key := range [][]string{{"k", "one"}, {"one", "k"}} {
					_, err := read(t, sqltable.Keyset[row](db, sqltable.Query{SQL: "select 1 as one, k, n from t", Key: key, PageSize: size}), nil, -1)
					require.Error(t, err, "pages of %d", size)
					require.True(t, dataflow.IsPermanent(err), err)
					require.ErrorContains(t, err, "is not unique: ")
					require.ErrorContains(t, err, c.want)
				}
			}
		})
	}
	// One pair that differs says nothing about pairs of another kind.
	mixed := setup(t, "create table t (k text collate nocase, n int)", "insert into t values ('bÉ', 1), ('bé', 2), ('c', 3), ('C', 4), ('d', 5)")
	for _, size := range []int{1, 2, 3, 4, 5} {
		_, err := read(t, sqltable.Keyset[row](mixed, sqltable.Query{SQL: "select k, n from t", Key: []string{"k"}, PageSize: size}), nil, -1)
		require.ErrorContains(t, err, "are equal by the collation", "pages of %d", size)
	}
	// The same keys are fine where they differ for the database, and where another column tells them apart.
	db := setup(t, "create table t (k text primary key, n int)", "insert into t values ('a', 1), ('A', 2), ('a ', 3), ('b', 4), ('B ', 5), ('b ', 6)",
		"create table u (k text collate nocase, n int)", "insert into u values ('a', 1), ('A', 2), ('a', 3)")
	for _, size := range []int{1, 2, 100} {
		require.Len(t, readAll(t, sqltable.Keyset[row](db, sqltable.Query{SQL: "select k, n from t", Key: []string{"k"}, PageSize: size})), 6)
		require.Len(t, readAll(t, sqltable.Keyset[row](db, sqltable.Query{SQL: "select k, n from u", Key: []string{"k", "n"}, PageSize: size})), 3)
	}
}
