package pgtable

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/dbtest"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// A value whose text depends on the session is refused in a session with unusual settings, and
// read in any other.
func TestRead_SessionText(t *testing.T) {
	t.Parallel()
	url := dbtest.PostgresURL(t)
	open := func(settings map[string]string) *pgxpool.Pool {
		config, err := pgxpool.ParseConfig(url)
		require.NoError(t, err)
		for name, value := range settings {
			config.ConnConfig.RuntimeParams[name] = value
		}
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		return pool
	}
	plain := open(nil)
	for _, sql := range []string{
		`create type day as (d date, n int)`, `create type length as (i interval)`, `create type weight as (x float8)`, `create type file as (b bytea)`, `create type price as (m money)`,
		`create type numbers as (n int, t text)`, `create type days as (d day)`, `create domain holiday as day`, `create type weights as range (subtype = float4)`,
	} {
		_, err := plain.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	type row struct {
		ID int64
		V  any
	}
	for _, c := range []struct {
		settings map[string]string
		value    string
		want     string
	}{
		{nil, `row('2024-02-01', 1)::day`, ""},
		{map[string]string{"datestyle": "SQL, DMY", "intervalstyle": "iso_8601", "extra_float_digits": "0", "bytea_output": "escape"}, `row(1, 'a')::numbers`, ""},
		{map[string]string{"datestyle": "ISO, DMY"}, `row('2024-02-01', 1)::day`, ""},
		{map[string]string{"datestyle": "SQL, DMY"}, `row('2024-02-01', 1)::day`, `column "v" is of type day, which is read as text that depends on DateStyle, and that is SQL, DMY in this session: the text could mean another value elsewhere: set DateStyle to its default for this role, or select the parts of the value`},
		{map[string]string{"datestyle": "SQL, DMY"}, `array[row('2024-02-01', 1)::day]`, `column "v" is of type day[], which is read as text that depends on DateStyle`},
		{map[string]string{"datestyle": "SQL, DMY"}, `row(row('2024-02-01', 1))::days`, `is of type days, which is read as text that depends on DateStyle`},
		{map[string]string{"datestyle": "SQL, DMY"}, `row('2024-02-01', 1)::holiday`, `which is read as text that depends on DateStyle`},
		{map[string]string{"datestyle": "SQL, DMY"}, `'2024-02-01'::date`, ""},
		{map[string]string{"intervalstyle": "sql_standard"}, `row('1 day')::length`, `that depends on IntervalStyle, and that is sql_standard`},
		{map[string]string{"extra_float_digits": "0"}, `row(0.1)::weight`, `that depends on extra_float_digits, and that is 0`},
		{map[string]string{"extra_float_digits": "-3"}, `'[0.1, 0.2]'::weights`, `that depends on extra_float_digits`},
		{map[string]string{"bytea_output": "escape"}, `row('a')::file`, `that depends on bytea_output, and that is escape`},
		{map[string]string{"lc_monetary": "C"}, `1.5::money`, ""},
		{map[string]string{"lc_monetary": "C"}, `row(1.5)::price`, ""},
	} {
		pool := open(c.settings)
		sql := `select 1::bigint as id, ` + c.value + ` as v`
		requireRead := func(err error) {
			if c.want == "" {
				require.NoError(t, err, c.value)
				return
			}
			require.ErrorContains(t, err, c.want)
			require.True(t, dataflow.IsPermanent(err))
		}
		n := 0
		var err error
		for _, err = range Keyset[row](pool, Query{SQL: sql, Key: []string{"id"}}).Read(t.Context(), dataflow.Request[Cursor]{}) {
			n++
		}
		requireRead(err)
		for _, err = range Select[row](pool, sql).Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
			n++
		}
		requireRead(err)
		require.Equal(t, 2, n)
	}
}

// The text of money is usual if it is that of en_US.
func TestUsual_Money(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"C": true, "C.UTF-8": true, "POSIX": true, "en_US": true, "en_US.utf8": true, "de_DE.UTF-8": false, "en_GB.UTF-8": false, "cs_CZ": false, "": false,
	} {
		require.Equal(t, want, usual["lc_monetary"].MatchString(name), name)
		for oid, refused := range map[uint32]bool{moneyOID: !want, moneyArrayOID: !want, 23: false} {
			st := &statement{columns: []*column{{tableColumn: tableColumn{name: "v", oid: oid, typ: "money"}, field: &rowmap.Column{Field: "V"}}}}
			err := st.checkMoney(name)
			require.Equal(t, refused, err != nil, name)
			require.Equal(t, refused, dataflow.IsPermanent(err))
			if refused {
				require.ErrorContains(t, err, `column "v" (field V) is of type money, and the text of an amount means another one if lc_monetary is `+name+`: set lc_monetary to 'C' for this role`)
			}
		}
	}
}

// A number that differs only in digits that the session's text of it lacks is written. Of a type
// without a binary form, the text is compared.
func TestUpsert_ExtraFloatDigits(t *testing.T) {
	t.Parallel()
	type row struct {
		ID int64
		V  string
	}
	pool := inSession(t, setup(t, `create type weight as (x float8, t text)`, `create type loose_pair as (x float8, a aclitem)`, `create domain mass as float8`,
		`create type spread as range (subtype = float8)`), map[string]string{"extra_float_digits": "0"})
	exact := inSession(t, pool, map[string]string{"extra_float_digits": "1"})
	for typ, values := range map[string][2]string{
		"float8":     {"0.3", "0.30000000000000004"},
		"float4":     {"0.1", "0.10000001"},
		"float8[]":   {"{0.3}", "{0.30000000000000004}"},
		"point":      {"(0.3,1)", "(0.30000000000000004,1)"},
		"weight":     {"(0.3,a)", "(0.30000000000000004,a)"},
		"mass":       {"0.3", "0.30000000000000004"},
		"spread":     {"[0.3,1)", "[0.30000000000000004,1)"},
		"weight[]":   {`{"(0.3,a)"}`, `{"(0.30000000000000004,a)"}`},
		"aclitem[]":  {"{}", `{postgres=r/postgres}`},
		"loose_pair": {"(0.3,)", `(0.3,"postgres=r/postgres")`},
	} {
		for _, extra := range []string{"", ", n serial"} {
			for way, copyFrom := range ways {
				_, err := pool.Exec(t.Context(), `drop table if exists t; create table t (id bigint primary key, v `+typ+extra+`)`, pgx.QueryExecModeSimpleProtocol)
				require.NoError(t, err)
				s := newSink[row]("t", true, []string{"id"})
				s.to.copyFrom = copyFrom
				results(t, pool, s, row{1, values[0]})
				require.Equal(t, []dataflow.RowResult{updated}, results(t, pool, s, row{1, values[1]}), "%s %s", typ, way)
				require.Equal(t, []dataflow.RowResult{redundant}, results(t, pool, s, row{1, values[1]}), "%s %s", typ, way)
				var text string
				require.NoError(t, exact.QueryRow(t.Context(), `select v::text from t`).Scan(&text))
				require.Equal(t, strings.ReplaceAll(values[1], `"`, ""), strings.ReplaceAll(text, `"`, ""), "%s %s", typ, way)
			}
		}
	}
}

// An interval is the same under each IntervalStyle.
func TestWrite_IntervalStyle(t *testing.T) {
	t.Parallel()
	type row struct {
		ID int64
		V  pgtype.Interval
		P  *time.Duration
		A  pgtype.Array[pgtype.Interval]
	}
	mixed := pgtype.Interval{Months: -1, Days: 2, Microseconds: 3_000_001, Valid: true}
	of := pgtype.Array[pgtype.Interval]{Elements: []pgtype.Interval{mixed, {}}, Dims: []pgtype.ArrayDimension{{Length: 2, LowerBound: 1}}, Valid: true}
	want := []row{{1, mixed, ptr(-time.Hour), of}, {2, pgtype.Interval{Days: -2, Microseconds: 3e6, Valid: true}, nil, of}, {3, pgtype.Interval{}, ptr(time.Duration(0)), pgtype.Array[pgtype.Interval]{}}}
	for _, style := range []string{"postgres", "postgres_verbose", "sql_standard", "iso_8601"} {
		for way, copyFrom := range ways {
			pool := inSession(t, setup(t, `create table t (id bigint primary key, v interval, p interval, a interval[])`), map[string]string{"intervalstyle": style})
			s := newSink[row]("t", true, []string{"id"})
			s.to.copyFrom = copyFrom
			results(t, pool, s, want...)
			var got []row
			for item, err := range Select[row](pool, `select id, v, p, a from t order by id`).Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
				require.NoError(t, err)
				got = append(got, item.Value)
			}
			require.Equal(t, want, got, "%s %s", style, way)
		}
	}
}
