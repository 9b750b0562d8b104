package pgtable_test

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
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
		{"timestamp", "timestamptz", "2024-01-01T05:00:00", `key column "k" is a timestamp with time zone, but the cursor's "2024-01-01T05:00:00" is a timestamp without time zone, which does not say at which row it is: set the cursor with "dataflow cursor set", to a timestamp with time zone such as 2024-01-31T10:00:00Z`},
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

// A type of a key column that changes between two reads either keeps the place of the
// cursor, or is refused with both types.
func TestKeyset_KeyTypeAltered(t *testing.T) {
	t.Parallel()
	numbers := []string{"1", "2", "10", "20"}
	times := []string{"2024-01-01 00:30:00", "2024-01-01 08:30:00", "2024-01-01 16:30:00", "2024-01-02 05:30:00"}
	clocks := []string{"00:30", "08:30", "16:30", "23:30"}
	words := []string{"A", "B", "a", "b"}
	pools := make(map[string]*pgxpool.Pool)
	for _, zone := range []string{"UTC", "Asia/Tokyo", "America/Los_Angeles"} {
		pools[zone] = setupMode(t, pgx.QueryExecModeCacheStatement, map[string]string{"timezone": zone},
			`create extension if not exists citext`, `create domain positive as integer check (value > 0)`)
	}
	for n, c := range []struct {
		from, to, using string
		values          []string
		refused         string
	}{
		{from: "smallint", to: "integer", values: numbers},
		{from: "integer", to: "bigint", values: numbers},
		{from: "bigint", to: "integer", values: numbers},
		{from: "integer", to: "numeric", values: numbers},
		{from: "bigint", to: "numeric(30,2)", values: numbers},
		{from: "smallint", to: "real", values: numbers},
		{from: "integer", to: "double precision", values: numbers},
		{from: "real", to: "double precision", values: []string{"0.1", "0.2", "0.3", "1e30"}},
		{from: "numeric(12,2)", to: "numeric(14,3)", values: []string{"1.11", "1.12", "1.13", "2"}},
		{from: "numeric(12,2)", to: "numeric", values: []string{"1.11", "1.12", "1.13", "2"}},
		{from: "date", to: "timestamp", values: []string{"2024-01-01", "2024-01-02", "2024-01-03", "infinity"}},
		{from: "date", to: "timestamptz", values: []string{"2024-01-01", "2024-01-02", "2024-01-03", "infinity"}},
		{from: "date", to: "timestamptz(0)", values: []string{"0002-01-01 BC", "1883-11-18", "2024-03-10", "2024-11-03"}},
		{from: "time", to: "timetz", values: clocks},
		{from: "timestamp(3)", to: "timestamp", values: times},
		{from: "timestamptz(0)", to: "timestamptz(6)", values: times},
		{from: "varchar(5)", to: "text", values: words},
		{from: "text", to: "varchar(5)", values: words},
		{from: "char(5)", to: "text", values: words},
		{from: "name", to: `text collate "C"`, values: words},
		{from: `text collate "C"`, to: `text collate "POSIX"`, values: words},
		{from: "text", to: "citext", values: []string{"A", "B", "C", "d"}},
		{from: "varchar(5)", to: "citext", values: []string{"a", "b", "c", "d"}},
		{from: "cidr", to: "inet", values: []string{"10.0.0.0/8", "10.1.0.0/16", "11.0.0.0/8", "::/0"}},
		{from: "integer", to: "positive", values: numbers},
		{from: "boolean", to: "boolean", values: []string{"false", "true"}},

		{from: "bigint", to: "text", values: numbers, refused: "the two types may order rows differently"},
		{from: "text", to: "bigint", using: "k::bigint", values: numbers, refused: "the two types may order rows differently"},
		{from: "bigint", to: "uuid", using: "lpad(k::text, 32, '0')::uuid", values: numbers, refused: "the two types may order rows differently"},
		{from: "bigint", to: "double precision", values: numbers, refused: "the two types may order rows differently"},
		{from: "numeric", to: "integer", values: []string{"1", "1.6", "3", "3.6"}, refused: "the two types may order rows differently"},
		{from: "numeric(12,2)", to: "numeric(12,1)", values: []string{"1.11", "1.16", "1.3", "2"}, refused: "the new type rounds, so that rows after the cursor may be at it now"},
		{from: "double precision", to: "numeric", values: []string{"0.1", "0.30000000000000004", "1", "2"}, refused: "the two types may order rows differently"},
		{from: "timestamp", to: "timestamp(0)", values: []string{"2024-01-01 00:00:00", "2024-01-01 00:00:00.6", "2024-01-02", "2024-01-03"}, refused: "the new type rounds"},
		{from: "timestamp", to: "timestamptz", values: times, refused: "without another key column, the rows do not show in which time zone the column was converted"},
		{from: "timestamptz", to: "timestamp", values: times, refused: "without another key column, the rows do not show in which time zone the column was converted"},
		{from: "timestamp", to: "timestamptz(0)", values: times, refused: "the new type rounds"},
		{from: "timestamp", to: "date", values: times[2:], refused: "the two types may order rows differently"},
		{from: "timetz", to: "time", values: clocks, refused: "the two types may order rows differently"},
		{from: "timestamptz", to: "date", values: times[2:], refused: "the two types may order rows differently"},
		{from: "text", to: "citext", values: []string{"A", "D", "b", "e"}, refused: "a row is on the other side of the cursor now"},
		{from: "varchar", to: "citext", values: []string{"A", "C", "b", "d"}, refused: "a row is on the other side of the cursor now"},
		{from: "varchar", to: "char(5)", values: words, refused: "the two types may order rows differently"},
		{from: `text collate "C"`, to: `text collate "und-x-icu"`, values: words, refused: "the two collations may order rows differently"},
		{from: `text collate "und-x-icu"`, to: `varchar collate "C"`, values: words, refused: "the two collations may order rows differently"},
		{from: "text", to: "text[]", using: "array[k]", values: words, refused: "the two types may order rows differently"},
	} {
		for zone, pool := range pools {
			name, table := c.from+" → "+c.to+" in "+zone, "t"+strconv.Itoa(n)
			exec(t, pool, `create table `+table+` (k `+c.from+` primary key, n int not null)`)
			for i, v := range c.values {
				exec(t, pool, `insert into `+table+` values ('`+v+`', `+strconv.Itoa(i)+`)`)
			}
			source := pgtable.Keyset[numbered](pool, pgtable.Query{SQL: `select k, n from ` + table, Key: []string{"k"}, PageSize: 1, LateCommits: pgtable.Unguarded{}})
			all := readAll(t, source)
			half := len(all) / 2
			using := c.using
			if using == "" {
				using = "k::" + strings.Split(c.to, " collate")[0]
			}
			exec(t, pool, `alter table `+table+` alter k type `+c.to+` using `+using)
			rest, err := read(t, source, all[half-1].Cursor, -1)
			if c.refused == "" {
				require.NoError(t, err, name)
				require.Equal(t, values(all[half:]), values(rest), name)
				continue
			}
			require.Empty(t, rest, name)
			require.ErrorContains(t, err, `key column "k" is of type `, name)
			require.ErrorContains(t, err, ` but the cursor's "`+all[half-1].Cursor[0]+`" was made of type `, name)
			require.ErrorContains(t, err, c.refused, name)
			require.ErrorContains(t, err, `: set the cursor with "dataflow cursor set"`, name)
			require.True(t, dataflow.IsPermanent(err), name)
		}
	}
}

// A cursor at an infinite date is at the same place among times, in each zone. A key of several
// columns keeps its place where no row has moved.
func TestKeyset_KeyTypeAlteredBeside(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		columns, rows, alter string
		key                  []string
		at                   int
		refused              string
	}{
		{`k date, n int`, `('-infinity', 1), ('2024-01-03', 2), ('infinity', 3)`, `k type timestamptz`, []string{"k"}, 1, ""},
		{`k date, n int`, `('-infinity', 1), ('2024-01-03', 2), ('infinity', 3)`, `k type timestamptz`, []string{"k"}, 2, ""},
		{`k varchar collate "C", n int`, `('A', 1), ('A', 2), ('B', 3), ('c', 4)`, `k type citext`, []string{"k", "n"}, 2, ""},
		{`k varchar collate "C", n int`, `('A', 1), ('B', 2), ('a', 3)`, `k type citext`, []string{"k", "n"}, 2, "a row is on the other side"},
		{`k varchar collate "C", n int`, `('A', 1), ('A', 3), ('a', 2)`, `k type citext`, []string{"k", "n"}, 2, "a row is on the other side"},
		{`k int, w varchar, n int`, `(1, 'a', 1), (2, 'a', 2), (2, 'c', 3), (3, 'B', 4)`, `w type citext, alter k type bigint`, []string{"k", "w"}, 2, ""},
	} {
		pool := setupMode(t, pgx.QueryExecModeCacheStatement, map[string]string{"timezone": "America/Los_Angeles"}, `create extension if not exists citext`,
			`create table t (`+c.columns+`)`, `insert into t values `+c.rows)
		source := pgtable.Keyset[numbered](pool, pgtable.Query{SQL: `select * from t`, Key: c.key, PageSize: 1, LateCommits: pgtable.Unguarded{}})
		if strings.Contains(c.columns, "w varchar") {
			source = pgtable.Keyset[numbered](pool, pgtable.Query{SQL: `select k, w, n from t where k < $1`, Args: []any{9}, Key: c.key, PageSize: 1})
		}
		all := readAll(t, source)
		exec(t, pool, `alter table t alter `+c.alter)
		rest, err := read(t, source, all[c.at-1].Cursor, -1)
		if c.refused != "" {
			require.ErrorContains(t, err, c.refused, c.rows)
			require.Empty(t, rest, c.rows)
			continue
		}
		require.NoError(t, err, c.rows)
		require.Equal(t, values(all[c.at:]), values(rest), c.rows)
	}
}

// The error of a changed type names both types as they were, and both collations.
func TestKeyset_KeyTypeAlteredText(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	for _, c := range []struct{ then, sql, want string }{
		{"bigint", `select '5'::text collate "C" as k, 1 as n`, `key column "k" is of type text collate C, but the cursor's "5" was made of type bigint: the two types may order rows differently: set the cursor with "dataflow cursor set"`},
		{`text collate C`, `select '5'::text collate "de-x-icu" as k, 1 as n`, `key column "k" is of type text collate de (icu), but the cursor's "5" was made of type text collate C: the two collations may order rows differently: set the cursor with "dataflow cursor set"`},
		{"numeric(12,2)", `select 5::numeric(12,1) as k, 1 as n`, `key column "k" is of type numeric(12,1), but the cursor's "5" was made of type numeric(12,2): the new type rounds`},
	} {
		source := pgtable.Keyset[numbered](pool, pgtable.Query{SQL: c.sql, Key: []string{"k"}})
		_, err := read(t, source, pgtable.Cursor{"5", "type: " + c.then}, -1)
		require.ErrorContains(t, err, c.want)
	}
}

// Labels of an enum may be added and renamed after the cursor, and not before it.
func TestKeyset_EnumAltered(t *testing.T) {
	t.Parallel()
	for statement, want := range map[string]string{
		`alter type mood add value 'great' after 'happy'`:   "",
		`alter type mood rename value 'happy' to 'glad'`:    "",
		`alter type mood add value 'meh' before 'ok'`:       `its label "meh" is new and before the cursor, so that rows with it would never be read: set the cursor with "dataflow cursor set"`,
		`alter type mood rename value 'ok' to 'fine'`:       `it has no label "ok" any more: set the cursor with "dataflow cursor set"`,
		`alter type mood rename value 'sad' to 'unhappy'`:   `its label "unhappy" is new and before the cursor`,
		`alter table moods alter m type text using m::text`: `the two types may order rows differently: set the cursor with "dataflow cursor set"`,
	} {
		pool := setup(t, `create type mood as enum ('sad', 'ok', 'happy')`,
			`create table moods (m mood primary key, n int)`, `insert into moods values ('sad', 1), ('ok', 2), ('happy', 3)`)
		source := pgtable.Keyset[numbered](pool, pgtable.Query{SQL: `select m, n from moods`, Key: []string{"m"}, PageSize: 1})
		items := readAll(t, source)
		require.Equal(t, []numbered{{1}, {2}, {3}}, values(items))
		exec(t, pool, statement)
		rest, err := read(t, source, items[1].Cursor, -1)
		if want == "" {
			require.NoError(t, err, statement)
			require.Equal(t, []numbered{{3}}, values(rest), statement)
			continue
		}
		require.Empty(t, rest, statement)
		require.ErrorContains(t, err, want, statement)
	}
}

// A cursor that somebody made has no types. Its times must be the same in every
// session.
func TestKeyset_CursorOfAPerson(t *testing.T) {
	t.Parallel()
	pool := setupMode(t, pgx.QueryExecModeCacheStatement, map[string]string{"timezone": "America/Los_Angeles", "datestyle": "German"})
	for _, c := range []struct{ typ, cursor, want string }{
		{"timestamptz", "2024-01-31 10:00+01", ""},
		{"timestamptz", "2024-01-31 10:00 Europe/Berlin", ""},
		{"timestamptz", "-infinity", ""},
		{"timestamptz", "yesterday", `key column "k" is a timestamp with time zone, and the cursor's "yesterday" is not a time that is the same in every session: set the cursor with "dataflow cursor set", to one such as 2024-01-31T10:00:00Z`},
		{"timestamptz", "31.01.2024 10:00:00 PST", `not a time that is the same in every session`},
		{"timestamp", "02/01/2024", `to one such as 2024-01-31T10:00:00`},
		{"date", "today", `to one such as 2024-01-31`},
		{"time", "10:00", ""},
		{"time", "10:00+01", `key column "k" is a time without time zone, but the cursor's "10:00+01" is a time with time zone`},
		{"timetz", "10:00+01", ""},
		{"timetz", "10:00", `key column "k" is a time with time zone, but the cursor's "10:00" is a time without time zone`},
	} {
		source := pgtable.Keyset[numbered](pool, pgtable.Query{SQL: `select null::` + c.typ + ` as k, 1 as n where false`, Key: []string{"k"}, LateCommits: pgtable.Unguarded{}})
		_, err := read(t, source, pgtable.Cursor{c.cursor}, -1)
		if c.want == "" {
			require.NoError(t, err, c.cursor)
			continue
		}
		require.ErrorContains(t, err, c.want)
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
