package pgtable_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// A cursor keeps its place when the type of its column changes, or is refused.
func TestKeyset_KeyTypeChanged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to, cursor, want string
	}{
		{"timestamp", "timestamptz", "2024-01-01T05:00:00", `key column "k" is a timestamp with time zone, but the cursor's "2024-01-01T05:00:00" is a timestamp without time zone, which does not say at which row it is: set the cursor with "dataflow cursor set", to a timestamp with time zone`},
		{"date", "timestamptz", "2024-01-01", `the cursor's "2024-01-01" is a date`},
		{"timestamptz", "timestamp", "2024-01-01T05:00:00Z", `the cursor's "2024-01-01T05:00:00Z" is a timestamp with time zone`},
		{"timestamp", "date", "2024-01-01T05:00:00.5", `is a date, but the cursor's "2024-01-01T05:00:00.5" is a timestamp without time zone`},
		{"date", "timestamp", "2024-01-01", ""},
		{"int", "bigint", "5", ""},
		{"int", "numeric", "5", ""},
		{"float4", "float8", "5", ""},
		{"bigint", "uuid", "5", `key column "k" is of type uuid, which cannot hold the cursor's "5": set the cursor with "dataflow cursor set"`},
	} {
		pool := setupMode(t, pgx.QueryExecModeCacheStatement, map[string]string{"timezone": "America/Los_Angeles"})
		query := pgtable.Query{SQL: `select null::` + c.to + ` as k, 1 as n where false`, Key: []string{"k"}, LateCommits: pgtable.Unguarded{}}
		source := pgtable.Keyset[numbered](pool, query)
		for name, request := range map[string]dataflow.Request[pgtable.Cursor]{
			"from":  {Resumed: true, From: pgtable.Cursor{c.cursor}},
			"until": {Bounded: true, Until: pgtable.Cursor{c.cursor}},
		} {
			var err error
			for _, err = range source.Read(t.Context(), request) {
			}
			_, countErr := source.(interface { //nolint:forcetypeassert // it counts
				Count(ctx context.Context, r dataflow.Request[pgtable.Cursor]) (int64, error)
			}).Count(t.Context(), request)
			if c.want == "" {
				require.NoError(t, err, "%s → %s, %s", c.from, c.to, name)
				require.NoError(t, countErr, "%s → %s, %s", c.from, c.to, name)
				continue
			}
			require.ErrorContains(t, err, c.want, "%s → %s, %s", c.from, c.to, name)
			require.ErrorContains(t, countErr, c.want, "%s → %s, %s", c.from, c.to, name)
		}
	}
}

// The error of a cast in the query is not the cursor's.
func TestKeyset_InvalidTextOfTheQuery(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	query := pgtable.Query{SQL: `select k, 'x'::text::int as n from generate_series(6, 7) k`, Key: []string{"k"}}
	_, err := read(t, pgtable.Keyset[numbered](pool, query), pgtable.Cursor{"5"}, -1)
	require.ErrorContains(t, err, "22P02")
	require.NotContains(t, err.Error(), "cursor set")
}

// Keys with different texts that are equal values are no order: one would be lost at
// the end of a page.
func TestKeyset_EqualValues(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
		`create domain word as text collate ci`)
	for typ, values := range map[string][]string{
		"text collate ci":       {"a", "A", "b"},
		"varchar(3) collate ci": {"a", "A", "b"},
		"word":                  {"a", "A", "b"},
		"numeric":               {"1", "1.0", "2"},
		"interval":              {"1 mon", "30 days", "2 mons"},
		"double precision":      {"0", "-0", "1"},
		"jsonb":                 {"1", "1.0", "2"},
		"timetz":                {"10:00+00", "10:00+00", "11:00+00"},
	} {
		table := pgx.Identifier{"of " + typ}.Sanitize()
		_, err := pool.Exec(t.Context(), `create table `+table+` (k `+typ+`, n int)`)
		require.NoError(t, err)
		for i, v := range values {
			_, err := pool.Exec(t.Context(), `insert into `+table+` values ($1::text::`+typ+`, $2)`, v, i)
			require.NoError(t, err, typ)
		}
		for size := range 4 {
			query := pgtable.Query{SQL: `select * from ` + table, Key: []string{"k"}, PageSize: size}
			_, err = read(t, pgtable.Keyset[numbered](pool, query), nil, -1)
			require.ErrorContains(t, err, "the key (k) is not unique: ", "%s: %d", typ, size)
			query.Key = []string{"k", "n"}
			require.Len(t, readAll(t, pgtable.Keyset[numbered](pool, query)), 3, "%s: %d", typ, size)
		}
	}
}

// A key is refused by the first page if the second could not be read.
func TestKeyset_IncomparableKey(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create type mood as enum ('sad', 'ok')`, `create domain feeling as mood`,
		`create table moods (m mood, f feeling, n int)`, `insert into moods values ('ok', 'ok', 1), ('sad', 'sad', 2)`)
	query := pgtable.Query{SQL: `select f, n from moods`, Key: []string{"f"}, PageSize: 1}
	items, err := read(t, pgtable.Keyset[numbered](pool, query), nil, -1)
	require.Empty(t, items)
	require.ErrorContains(t, err, `a cursor cannot be compared with the key (f): cast the column to its base type, or to text, in the query: ERROR: operator does not exist`)
	query.SQL = `select f::mood as f, n from moods`
	require.Equal(t, []numbered{{2}, {1}}, values(readAll(t, pgtable.Keyset[numbered](pool, query))))
}
