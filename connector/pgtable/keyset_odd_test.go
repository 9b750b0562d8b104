package pgtable_test

import (
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// oddKeys are rare types of keys: each is read page by page in every session, or
// refused by the first page.
var oddKeys = []struct {
	typ     string
	values  []string // in order
	refused string
	iso     bool // true if other settings of the session are refused
	since   int  // the major version that has the type; 0: all
}{
	{typ: "mood", values: []string{"sad", "ok", "it's, \"happy\""}},
	{typ: "mood[]", values: []string{"{}", "{sad}", "{sad,ok}", "{ok}"}},
	{typ: "dint", values: []string{"-1", "2", "10"}},
	{typ: "dtext", values: []string{"", "A", "a"}},
	{typ: "dtextci", values: []string{"a", "B", "c"}},
	{typ: "dts", values: []string{"-infinity", "2024-01-31 10:00+00", "infinity"}},
	{typ: "dmood", values: []string{"sad", "ok"}},
	{typ: "darray", values: []string{"{}", "{1}", "{1,2}", "{NULL}"}},
	{typ: "drange", values: []string{"empty", "[1,3)", "[1,5)", "[2,3)"}},
	{typ: "dpair", values: []string{`(1,A)`, `(1,a)`, `(2,"")`}},
	{typ: "pair", values: []string{`(1,A)`, `(1,a)`, `(1,)`, `(2,"")`}},
	{typ: "pair[]", values: []string{`{}`, `{"(1,A)"}`, `{"(1,A)","(1,a)"}`, `{"(1,a)"}`}},
	{typ: "moment", values: []string{`(2024-02-01,0.1)`, `(2024-02-01,0.2)`, `(2024-03-01,0.1)`}, iso: true},
	{typ: "regclass", values: []string{"pg_class", "odd.things"}},
	{typ: "regtype", values: []string{"integer", "text", "mood"}},
	{typ: "regproc", values: []string{"boolin", "boolout"}},
	{typ: "regprocedure", values: []string{"upper(text)", "abs(integer)"}},
	{typ: "regnamespace", values: []string{"pg_catalog", "odd"}},
	{typ: "regrole", values: []string{"pg_monitor"}},
	{typ: "regconfig", values: []string{"simple", "english"}},
	{typ: "hstore", values: []string{"", `"a"=>"1"`, `"a"=>"2"`, `"b"=>NULL`}, refused: "a cursor cannot be compared with the key (k): cast the column to text, or name another key: ERROR: operator does not exist: hstore > unknown"},
	{typ: "ltree", values: []string{"a", "a.b", "b"}},
	{typ: "citext", values: []string{"a", "B", "c"}},
	{typ: "cube", values: []string{"(0.3)", "(0.30000000000000004)", "(1)", "(1, 2)", "(2, 1)"}, iso: true},
	{typ: "seg", values: []string{"1", "1 .. 2", "2"}},
	{typ: "isbn", values: []string{"0-11-000322-5", "1-84356-028-3"}},
	{typ: "int4range", values: []string{"empty", "(,)", "[1,3)", "[1,)", "[2,3)"}},
	{typ: "int4multirange", since: 14, values: []string{"{}", "{[1,3)}", "{[1,3),[5,6)}", "{[2,3)}"}},
	{typ: "tstzrange", values: []string{"empty", `["2024-01-31 10:00+00","2024-02-01 10:00+00")`, `["2024-02-01 10:00+00",)`}, iso: true},
	{typ: "datemultirange", since: 14, values: []string{"{}", "{[2024-02-01,2024-02-02)}", "{[2024-02-03,2024-03-02)}"}, iso: true},
	{typ: "floats", values: []string{"[0.1,0.2)", "[0.1,0.30000000000000004)", "[0.30000000000000004,1)"}, iso: true},
	{typ: "date[]", values: []string{"{}", "{2024-01-02}", "{2024-02-01}", "{infinity}"}, iso: true},
	{typ: "float8[]", values: []string{"{0.1}", "{0.3}", "{0.30000000000000004}", "{NaN}"}, iso: true},
	{typ: "interval[]", values: []string{`{"-1 days -02:00:00"}`, `{"-1 days +02:00:00"}`, `{"1 day"}`}, iso: true},
	{typ: "bytea[]", values: []string{"{}", `{"\\x00"}`, `{"\\x5c"}`, `{"\\xff"}`}},
	{typ: "text[]", values: []string{"{}", `{""}`, `{"a,b"}`, `{NULL}`}},
	{typ: "int4[]", values: []string{"{}", "[0:1]={1,2}", "{1,2}", "{{1,2}}"}},
	{typ: "interval", values: []string{"-1 mons -2 days +03:00:00", "-1 days -02:00:00.5", "00:00:00.000001", "1 day", "14 mons -3 days -00:00:01"}},
	{typ: "timetz", values: []string{"10:00+02", "10:00+00", "10:00-02", "23:59:59.999999-02"}},
	{typ: "money", values: []string{"-1.00", "0.01", "1234.50"}},
	{typ: "bit(3)", values: []string{"000", "001", "110"}},
	{typ: "varbit", values: []string{"", "0", "01", "1"}},
	{typ: "macaddr", values: []string{"08:00:2b:01:02:03", "08:00:2b:01:02:04"}},
	{typ: "macaddr8", values: []string{"08:00:2b:01:02:03:04:05", "08:00:2b:01:02:03:04:06"}},
	{typ: "pg_lsn", values: []string{"0/0", "16/B374D848"}},
	{typ: "xid8", values: []string{"0", "9", "18446744073709551615"}},
	{typ: "tid", values: []string{"(0,1)", "(0,2)", "(1,1)"}},
	{typ: "oid", values: []string{"0", "9", "4294967295"}},
	{typ: "oidvector", values: []string{"", "1", "1 2"}},
	{typ: `"char"`, values: []string{"", "A", "a"}},
	{typ: "jsonb", values: []string{"null", `""`, `"a"`, "1", "2", "[1]", `{"a": 1}`}},
	{typ: "tsvector", values: []string{"", "'a'", "'a' 'b'"}},
	{typ: "tsquery", values: []string{"", "'a'", "'a' & 'b'"}},
	{typ: "json", values: []string{"1"}, refused: "a cursor cannot be compared with the key (k): cast the column to text, or name another key: ERROR: operator does not exist: "},
	{typ: "xml", values: []string{"<a/>"}, refused: "a cursor cannot be compared with the key (k): cast the column to text, or name another key: ERROR: operator does not exist: "},
	{typ: "point", values: []string{"(1,2)"}, refused: "a cursor cannot be compared with the key (k): cast the column to text, or name another key: ERROR: operator does not exist: "},
	{typ: "xid", values: []string{"1"}, refused: "a cursor cannot be compared with the key (k): cast the column to text, or name another key: ERROR: operator does not exist: "},
	{typ: "box", values: []string{"(1,1),(0,0)"}, refused: "could not identify an ordering operator for type"},
	{typ: "circle", values: []string{"<(0,0),1>"}, refused: "could not identify an ordering operator for type"},
	{typ: "lseg", values: []string{"[(0,0),(1,1)]"}, refused: "could not identify an ordering operator for type"},
	{typ: "jsonpath", values: []string{`$."a"`}, refused: "a cursor cannot be compared with the key (k): cast the column to text, or name another key: ERROR: operator does not exist: "},
	{typ: "aclitem", values: []string{"=r/postgres"}, refused: "a cursor cannot be compared with the key (k): cast the column to text, or name another key: ERROR: operator does not exist: "},
}

const oddTypes = `
create schema odd;
create table odd.things ();
create extension hstore; create extension ltree; create extension citext; create extension cube; create extension seg; create extension isn;
create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create type mood as enum ('sad', 'ok', 'it''s, "happy"');
create domain dint as integer; create domain dtext as text collate "C"; create domain dtextci as text collate ci; create domain dts as timestamptz;
create domain dmood as mood; create domain darray as integer[]; create domain drange as int4range;
create type pair as (a integer, b text collate "C"); create domain dpair as pair;
create type moment as (a date, b float8);
create type floats as range (subtype = float8)`

func TestKeyset_OddKeys(t *testing.T) {
	t.Parallel()
	url := dbtest.PostgresURL(t)
	utc := open(t, url, pgx.QueryExecModeCacheStatement, map[string]string{"timezone": "UTC", "extra_float_digits": "1"}, oddTypes)
	odd := open(t, url, pgx.QueryExecModeCacheStatement, map[string]string{
		"timezone": "Asia/Tokyo", "datestyle": "German", "bytea_output": "escape", "extra_float_digits": "-10", "intervalstyle": "sql_standard", "search_path": "odd, public",
	})
	var version int
	require.NoError(t, utc.QueryRow(t.Context(), `select current_setting('server_version_num')::int / 10000`).Scan(&version))
	for n, k := range oddKeys {
		if k.since > version {
			continue
		}
		table := "k" + strconv.Itoa(n)
		exec(t, utc, `create table `+table+` (k `+k.typ+`, n int)`)
		for i, v := range k.values {
			_, err := utc.Exec(t.Context(), `insert into `+table+` values ($1::text::`+k.typ+`, $2)`, v, i)
			require.NoError(t, err, "%s %s", k.typ, v)
		}
		query := pgtable.Query{SQL: `select k, n from public.` + table, Key: []string{"k"}, LateCommits: pgtable.Unguarded{}}
		for _, query.PageSize = range []int{1, 2, 0} {
			source := pgtable.Keyset[numbered](utc, query)
			items, err := read(t, source, nil, -1)
			elsewhere := pgtable.Keyset[numbered](odd, query)
			if k.refused != "" {
				require.Empty(t, items, k.typ)
				require.ErrorContains(t, err, k.refused, k.typ)
				require.True(t, dataflow.IsPermanent(err), k.typ)
				continue
			}
			require.NoError(t, err, k.typ)
			require.Len(t, items, len(k.values), k.typ)
			for i, it := range items {
				require.Equal(t, i, it.Value.N, k.typ)
				rest, err := read(t, source, it.Cursor, -1)
				require.NoError(t, err, k.typ)
				require.Equal(t, values(items[i+1:]), values(rest), "%s: after %v", k.typ, it.Cursor)
				rest, err = read(t, elsewhere, it.Cursor, -1)
				if k.iso {
					require.ErrorContains(t, err, "whose text depends on settings of the session", k.typ)
					continue
				}
				require.NoError(t, err, k.typ)
				require.Equal(t, values(items[i+1:]), values(rest), "%s: after %v", k.typ, it.Cursor)
			}
			all, err := read(t, elsewhere, nil, -1)
			if !k.iso {
				require.NoError(t, err, k.typ)
				require.Equal(t, values(items), values(all), k.typ)
			}
			for i, it := range all {
				rest, err := read(t, source, it.Cursor, -1)
				require.NoError(t, err, k.typ)
				require.Equal(t, values(items[i+1:]), values(rest), "%s: after %v", k.typ, it.Cursor)
			}
		}
	}
}

// A record without a named type has no input.
func TestKeyset_RecordAsKey(t *testing.T) {
	t.Parallel()
	source := pgtable.Keyset[numbered](setup(t), pgtable.Query{SQL: `select row(n, 'a') as k, n from generate_series(1, 2) n`, Key: []string{"k"}, PageSize: 1})
	items, err := read(t, source, nil, -1)
	require.Empty(t, items)
	require.ErrorContains(t, err, "a cursor cannot be compared with the key (k): Postgres reads no value of type record: name its parts in Key instead")
}
