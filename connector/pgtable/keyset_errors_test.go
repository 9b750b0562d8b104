package pgtable_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

type order struct {
	ID    int64
	Email string `db:"customer_email"`
}

func TestKeyset_Validate(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	good := pgtable.Query{SQL: "select id, customer_email from orders", Key: []string{"id"}}
	with := func(change func(*pgtable.Query)) pgtable.Query {
		q := good
		change(&q)
		return q
	}
	for name, tc := range map[string]struct {
		source any
		want   string
	}{
		"nil pool":  {pgtable.Keyset[order](nil, good), "pool: it is nil: create it with pgxpool.New"},
		"empty SQL": {pgtable.Keyset[order](pool, with(func(q *pgtable.Query) { q.SQL = " ;\n" })), `Query.SQL: it is empty: give a select statement without "order by" and "limit"`},
		"empty key": {pgtable.Keyset[order](pool, with(func(q *pgtable.Query) { q.Key = nil })), "Query.Key: it is empty: name the columns that are unique together and only grow for new rows"},
		"nameless key": {
			pgtable.Keyset[order](pool, with(func(q *pgtable.Query) { q.Key = []string{"id", ""} })), "Query.Key: column 2 has no name",
		},
		"key twice": {
			pgtable.Keyset[order](pool, with(func(q *pgtable.Query) { q.Key = []string{"id", "id"} })), `Query.Key: column "id" is named twice`,
		},
		"page size": {
			pgtable.Keyset[order](pool, with(func(q *pgtable.Query) { q.PageSize = -1 })), "Query.PageSize: -1 is negative: use 1 or more, or 0 for 8000",
		},
		"named arguments": {
			pgtable.Keyset[order](pool, with(func(q *pgtable.Query) { q.Args = []any{pgx.NamedArgs{"a": 1}} })), "Query.Args: argument 1 is a pgx.NamedArgs: use plain values for $1, $2 and so on",
		},
		"no struct": {pgtable.Keyset[int](pool, good), "T: int is not a struct: use a struct with a field for each column"},
		"same column": {
			pgtable.Keyset[struct {
				ID  int
				ID2 int `db:"id"`
			}](pool, good),
			"T: fields ID and ID2 of struct { ID int; ID2 int \"db:\\\"id\\\"\" } have the same column \"id\": rename one with a db tag, or leave it out with `db:\"-\"`",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tc.source.(dataflow.Validator).Validate()
			require.EqualError(t, err, tc.want)
			var ce *dataflow.ConfigError
			require.ErrorAs(t, err, &ce)
		})
	}
	require.NoError(t, pgtable.Keyset[order](pool, good).(dataflow.Validator).Validate())
	_, err := read(t, pgtable.Keyset[order](nil, good), nil, -1)
	require.EqualError(t, err, "pool: it is nil: create it with pgxpool.New")
}

func TestKeyset_ReadErrors(t *testing.T) {
	t.Parallel()
	pool := setup(t,
		`create table orders (id bigint primary key, customer_email text, note text, at int)`,
		`insert into orders values (1, 'a', 'x', 10), (2, 'b', 'y', 10), (3, 'c', 'z', null)`)
	long := "select id, customer_email from nowhere where customer_email <> '" + strings.Repeat("é", 300) + "'"
	for name, tc := range map[string]struct {
		query pgtable.Query
		from  pgtable.Cursor
		want  string
	}{
		"no table": {
			query: pgtable.Query{SQL: long, Key: []string{"id"}},
			want:  `query "` + string([]rune(long)[:200]) + `…": ERROR: relation "nowhere" does not exist (SQLSTATE 42P01)`,
		},
		"columns do not match": {
			query: pgtable.Query{SQL: `select id, note, customer_email as email from orders`, Key: []string{"id"}},
			want: `query "select id, note, customer_email as email from orders": the query and the fields of pgtable_test.order do not match: ` +
				`columns without a field: note, email; fields without a column: customer_email (field Email)`,
		},
		"column twice": {
			query: pgtable.Query{SQL: `select id, customer_email, customer_email from orders`, Key: []string{"id"}},
			want:  `query "select id, customer_email, customer_email from orders": the query returns two columns named "customer_email": rename one with "as"`,
		},
		"key not selected": {
			query: pgtable.Query{SQL: `select id, customer_email from orders`, Key: []string{"id", "at"}},
			want:  `query "select id, customer_email from orders": key column "at" is not among the query's columns ([id customer_email]): select it`,
		},
		"cursor of another key": {
			query: pgtable.Query{SQL: `select id, customer_email from orders`, Key: []string{"id"}}, from: pgtable.Cursor{"1", "a, b"},
			want: `query "select id, customer_email from orders": the stored cursor (1, "a, b") has 2 values, but the key has 1 column (id): ` +
				`restore the old key, or give the changed flow a new name`,
		},
		"empty cursor": {
			query: pgtable.Query{SQL: `select id, customer_email from orders`, Key: []string{"id"}}, from: pgtable.Cursor{},
			want: `query "select id, customer_email from orders": the stored cursor () has 0 values, but the key has 1 column (id): ` +
				`restore the old key, or give the changed flow a new name`,
		},
		"cursor of another type": {
			query: pgtable.Query{SQL: `select id, customer_email from orders`, Key: []string{"id"}}, from: pgtable.Cursor{"2024-01-01"},
			want: `query "select id, customer_email from orders": key column "id" is of type bigint, which cannot hold the cursor's "2024-01-01": set the cursor with "dataflow cursor set": ERROR: invalid input syntax for type bigint: "2024-01-01" (SQLSTATE 22P02)`,
		},
		"key not unique": {
			query: pgtable.Query{SQL: `select id, customer_email, at from orders where id < 3`, Key: []string{"at"}, PageSize: 1},
			want: `query "select id, customer_email, at from orders where id < 3": the key (at) is not unique: several rows have 10: ` +
				`add a column to the key that distinguishes them`,
		},
		"null first": {
			query: pgtable.Query{SQL: `select id, customer_email, at from orders`, Key: []string{"at", "id"}}, from: pgtable.Cursor{"10", "1"},
			want: `query "select id, customer_email, at from orders": key column "at" is NULL in the row (NULL, 3), so the row has no place in the order: ` +
				`exclude such rows in the query, or select coalesce(at, …) as the key, with an index on that expression; or set Query.Nulls to skip such rows or to read them first`,
		},
		"null in the page": {
			query: pgtable.Query{SQL: `select id, customer_email, at from orders`, Key: []string{"id", "at"}},
			want: `query "select id, customer_email, at from orders": key column "at" is NULL in the row (3, NULL), so the row has no place in the order: ` +
				`exclude such rows in the query, or select coalesce(at, …) as the key, with an index on that expression; or set Query.Nulls to skip such rows or to read them first`,
		},
		"null beside the cursor": {
			query: pgtable.Query{SQL: `select id, customer_email, at from orders`, Key: []string{"id", "at"}}, from: pgtable.Cursor{"3", "5"},
			want: `query "select id, customer_email, at from orders": key column "at" is NULL in the row (3, NULL), so the row has no place in the order: ` +
				`exclude such rows in the query, or select coalesce(at, …) as the key, with an index on that expression; or set Query.Nulls to skip such rows or to read them first`,
		},
		"arguments": {
			query: pgtable.Query{SQL: `select id, customer_email from orders where id > $2`, Key: []string{"id"}, Args: []any{1}},
			want:  `query "select id, customer_email from orders where id > $2": ERROR: could not determine data type of parameter $1 (SQLSTATE 42P18)`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := read(t, pgtable.Keyset[order](pool, tc.query), tc.from, -1)
			if tc.query.Key[0] == "at" || len(tc.query.Key) == 2 {
				_, err = read(t, pgtable.Keyset[orderAt](pool, tc.query), tc.from, -1)
			}
			require.EqualError(t, err, tc.want)
		})
	}
}

type orderAt struct {
	order
	At *int
}

func TestKeyset_NullBetweenOthers(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table t (a int, b int, c int)`, `insert into t values (1, 1, 1), (1, 2, 1), (1, 2, null), (1, null, 1), (2, 1, 1)`)
	type row struct{ A, B, C *int }
	for _, at := range []pgtable.Cursor{{"1", "2", "1"}, {"1", "1", "1"}} {
		_, err := read(t, pgtable.Keyset[row](pool, pgtable.Query{SQL: `select * from t`, Key: []string{"a", "b", "c"}}), at, -1)
		require.ErrorContains(t, err, `is NULL in the row (1, `)
	}
	rest, err := read(t, pgtable.Keyset[row](pool, pgtable.Query{SQL: `select * from t`, Key: []string{"a", "b", "c"}}), pgtable.Cursor{"2", "0", "0"}, -1)
	require.NoError(t, err)
	require.Len(t, rest, 1)
}

func TestKeyset_ErrorsKeepTheirCause(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	_, err := read(t, pgtable.Keyset[order](pool, pgtable.Query{SQL: `select id, customer_email from nowhere`, Key: []string{"id"}}), nil, -1)
	var pg *pgconn.PgError
	require.ErrorAs(t, err, &pg)
	require.Equal(t, "42P01", pg.Code)
}

func TestKeyset_ClosedPool(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), setup(t).Config().ConnString())
	require.NoError(t, err)
	pool.Close()
	source := pgtable.Keyset[order](pool, pgtable.Query{SQL: "select id,\n\tcustomer_email from orders", Key: []string{"id"}})
	_, err = read(t, source, nil, -1)
	require.EqualError(t, err, `query "select id, customer_email from orders": closed pool`)
	_, err = source.(dataflow.Counter[pgtable.Cursor]).Count(t.Context(), dataflow.Request[pgtable.Cursor]{})
	require.EqualError(t, err, `query "select id, customer_email from orders": closed pool`)
}

func TestKeyset_Describe(t *testing.T) {
	t.Parallel()
	source := pgtable.Keyset[order](setup(t), pgtable.Query{SQL: "select 1", Key: []string{"id"}, Args: []any{"secret"}})
	require.Equal(t, dataflow.Description{
		Type: "pgtable.keyset", Detail: map[string]any{"sql": "select 1", "key": []string{"id"}},
	}, source.(dataflow.Describer).Describe())
}
