package pgtable_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

type keyType struct {
	name   string
	values []string
	first  string // the first cursor, if it differs from the first value
}

// keyTypes are types of key columns with values in order. Neighbours differ by as
// little as the type allows.
var keyTypes = []keyType{
	{name: "smallint", values: []string{"-32768", "-1", "0", "32767"}},
	{name: "integer", values: []string{"-2147483648", "0", "2147483647"}},
	{name: "bigint", values: []string{
		"-9223372036854775808", "-9007199254740993", "9007199254740992", "9007199254740993", "9007199254740994", "9223372036854775807",
	}},
	{name: "numeric", values: []string{
		"-Infinity", "-123456789012345678901234567890.000000000000000000001", "-123456789012345678901234567890", "0.0000000000000000000000000001", "9007199254740993", "9007199254740993.1", "1e100", "Infinity", "NaN",
	}},
	{name: "numeric(12,2)", values: []string{"0.10", "0.11", "1234567890.12"}},
	{name: "text", values: []string{"", " ", `"`, `'`, "(a, b)", `\`, `\x41`, "a", "a b", "null", "{}", "ünï", "🦆"}},
	{name: "varchar(10)", values: []string{"a", "b"}},
	{name: "char(3)", values: []string{"a", "ab"}, first: "a"},
	{name: "name", values: []string{"a", "b"}},
	{name: "uuid", values: []string{"00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "ffffffff-ffff-ffff-ffff-ffffffffffff"}},
	{name: "timestamptz", first: "-infinity", values: []string{
		"-infinity", "4713-01-01 00:00:00+00 BC", "0044-03-15 12:00:00.5+00 BC", "1883-11-18 12:00:00.000001+00",
		"2024-01-02 03:04:05.123456+00", "2024-01-02 03:04:05.123457+00", "2024-03-31 00:59:59.999999+00", "2024-03-31 01:00:00+00",
		"2024-10-27 00:30:00+00", "2024-10-27 01:30:00+00", "12024-01-01 00:00:00+00", "294276-12-31 23:59:59.999999+00", "infinity",
	}},
	{name: "timestamp", values: []string{
		"-infinity", "0044-03-15 12:00:00.5 BC", "2024-01-02 03:04:05.123456", "2024-01-02 03:04:05.123457", "2024-03-31 02:30:00", "12024-01-01 00:00:00", "infinity",
	}},
	{name: "date", values: []string{"-infinity", "0044-03-15 BC", "2024-01-02", "2024-02-01", "2024-02-29", "12024-01-01", "infinity"}},
	{name: "time", values: []string{"00:00:00", "12:34:56.789012", "24:00:00"}},
	{name: "boolean", values: []string{"false", "true"}},
	{name: "bytea", values: []string{`\x`, `\x00`, `\x0001`, `\x27225c`, `\xdeadbeef`, `\xff`}},
	{name: "double precision", values: []string{"-Infinity", "-1e308", "0.1", "0.30000000000000004", "0.3000000000000001", "5e300", "Infinity", "NaN"}, first: "-Inf"},
	{name: "real", values: []string{"-1", "0.1", "16777216", "1e30"}},
	{name: "inet", values: []string{"10.0.0.1", "10.0.0.2/32", "::1"}, first: "10.0.0.1/32"},
	{name: "mood", values: []string{"sad", "ok", "it's \"happy\""}},
	{name: "cents", values: []string{"1", "2"}},
}

// createKeyTypes creates a table for each key type, and returns the types with the values that
// the server has: before version 14, numeric has no infinity.
func createKeyTypes(t *testing.T, pool *pgxpool.Pool) []keyType {
	t.Helper()
	types := slices.Clone(keyTypes)
	var version int
	require.NoError(t, pool.QueryRow(t.Context(), `select current_setting('server_version_num')::int / 10000`).Scan(&version))
	for i := range types {
		if version < 14 && types[i].name == "numeric" {
			types[i].values = slices.DeleteFunc(slices.Clone(types[i].values), func(v string) bool { return strings.HasSuffix(v, "Infinity") })
		}
	}
	exec := func(statement string, args ...any) {
		_, err := pool.Exec(t.Context(), statement, args...)
		require.NoError(t, err, statement)
	}
	exec(`create type mood as enum ('sad', 'ok', 'it''s "happy"')`)
	exec(`create domain cents as bigint check (value >= 0)`)
	for _, kt := range types {
		table := tableOf(kt.name)
		exec(`create table ` + table + ` (k ` + kt.name + ` primary key, n int not null)`)
		for i, v := range kt.values {
			exec(`insert into `+table+` values ($1::text::`+kt.name+`, $2)`, v, i)
		}
	}
	return types
}

func tableOf(typ string) string { return pgx.Identifier{"t " + typ}.Sanitize() }

type numbered struct{ N int }

// TestKeyset_KeyTypes reads by keys of each type, and resumes in sessions with
// other output formats.
func TestKeyset_KeyTypes(t *testing.T) {
	t.Parallel()
	url := dbtest.PostgresURL(t)
	odd := map[string]string{
		"timezone": "Europe/Berlin", "datestyle": "German", "bytea_output": "escape", "extra_float_digits": "-10", "intervalstyle": "sql_standard",
	}
	sessions := map[string]*pgxpool.Pool{
		"utc":    open(t, url, pgx.QueryExecModeCacheStatement, map[string]string{"timezone": "UTC"}),
		"odd":    open(t, url, pgx.QueryExecModeCacheStatement, odd),
		"simple": open(t, url, pgx.QueryExecModeSimpleProtocol, odd),
		"us":     open(t, url, pgx.QueryExecModeExec, map[string]string{"timezone": "America/St_Johns", "datestyle": "SQL, MDY"}),
	}
	for _, kt := range createKeyTypes(t, sessions["utc"]) {
		t.Run(kt.name, func(t *testing.T) {
			t.Parallel()
			query := pgtable.Query{SQL: `select k, n from ` + tableOf(kt.name), Key: []string{"k"}, PageSize: 2, LateCommits: pgtable.Unguarded{}}
			reference := readAll(t, pgtable.Keyset[numbered](sessions["utc"], query))
			require.Len(t, reference, len(kt.values))
			first := kt.first
			if first == "" {
				first = kt.values[0]
			}
			require.Equal(t, first, reference[0].Cursor[0])
			require.Equal(t, first, reference[0].Cursor.String())
			for name, pool := range sessions {
				source := pgtable.Keyset[numbered](pool, query)
				require.Equal(t, reference, readAll(t, source), name)
				for i, it := range reference {
					rest, err := read(t, source, it.Cursor, -1)
					require.NoError(t, err, name)
					require.Equal(t, values(reference[i+1:]), values(rest), "%s: behind %v", name, it.Cursor)
				}
			}
		})
	}
}

func TestKeyset_CursorTextIsReadable(t *testing.T) {
	t.Parallel()
	pool := setupMode(t, pgx.QueryExecModeCacheStatement, map[string]string{"timezone": "Asia/Kolkata", "datestyle": "German"})
	type row struct{ N int }
	for expression, want := range map[string]string{
		`'2024-01-01 05:30+05:30'::timestamptz`:          "2024-01-01T00:00:00Z",
		`'2024-01-01 05:30:00.25+05:30'::timestamptz`:    "2024-01-01T00:00:00.25Z",
		`'0044-03-15 12:00+00 BC'::timestamptz`:          "0044-03-15T12:00:00Z BC",
		`'infinity'::timestamptz`:                        "infinity",
		`'2024-01-01 05:30'::timestamp`:                  "2024-01-01T05:30:00",
		`'2024-01-31'::date`:                             "2024-01-31",
		`'2024-01-01'::date + 0.5 * interval '1 day'`:    "2024-01-01T12:00:00",
		`0.1::float8 + 0.2::float8`:                      "0.30000000000000004",
		`12.340::numeric`:                                "12.340",
		`true`:                                           "true",
		`'\xdeadbeef'::bytea`:                            `\xdeadbeef`,
		`'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid`:   "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
		`'` + strings.Repeat("long ", 3) + `'::text`:     "long long long ",
		`(-9223372036854775808)::bigint`:                 "-9223372036854775808",
		`array[1,2]`:                                     "{1,2}",
		`interval '1 mon -1 day 02:00:00.5'`:             "+1 mons -1 days +02:00:00.5",
		`interval '-1 day -100:00:00.000001'`:            "+0 mons -1 days -100:00:00.000001",
		`'int4'::regtype`:                                "23",
		`'{"a": 1}'::jsonb`:                              `{"a": 1}`,
		`row(1, 'a')::text`:                              "(1,a)",
		`inet '10.1.2.3'`:                                "10.1.2.3/32",
		`'2024-01-01 23:00:00+00'::timestamptz::time(0)`: "04:30:00",
		// Before version 14, extract returns a double precision.
		`extract(epoch from '2024-01-01Z'::timestamptz)::numeric(16, 6)`: "1704067200.000000",
		`'2024-01-01Z'::timestamptz at time zone 'UTC'`:                  "2024-01-01T00:00:00",
		`('2024-01-01Z'::timestamptz)::date + 1`:                         "2024-01-02",
		`'a'::"char"`:                                                    "a",
		`'2024-01-01 00:00:00.000001+00'::timestamptz(3)`:                "2024-01-01T00:00:00Z",
	} {
		source := pgtable.Keyset[row](pool, pgtable.Query{SQL: `select ` + expression + ` as k, 1 as n`, Key: []string{"k"}, LateCommits: pgtable.Unguarded{}})
		all := readAll(t, source)
		require.Len(t, all, 1, expression)
		require.Equal(t, want, all[0].Cursor.String(), expression)
		rest, err := read(t, source, all[0].Cursor, -1)
		require.NoError(t, err, expression)
		require.Empty(t, rest, expression)
	}
}
