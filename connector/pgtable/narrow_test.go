package pgtable_test

import (
	"database/sql"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// A float64 in a type of the user's own, with pgx's way to encode it.
type gauge float64

// writeValue writes a value to a column of each type of target: by statement and, in the
// greater number, by COPY if that can write the type. It returns the errors, or what the
// table holds.
func writeValue[V any](t *testing.T, pool *pgxpool.Pool, typ string, v V) (texts []string, errs []error) {
	t.Helper()
	for _, n := range []int{1, 100} {
		rows := make([]valued[V], n)
		for i := range rows {
			rows[i] = valued[V]{i, v}
		}
		for name, target := range map[string]dataflow.Target[valued[V]]{
			"Insert": pgtable.Insert[valued[V]]("narrow"), "Upsert": pgtable.Upsert[valued[V]]("narrow", "id"), "InsertTo": pgtable.InsertTo[valued[V]](pool, "narrow"),
		} {
			_, err := pool.Exec(t.Context(), `drop table if exists narrow; create table narrow (id int primary key, v `+typ+`)`)
			require.NoError(t, err)
			_, err = triggerRows(t, pool, fmt.Sprintf("%s %s %T %v %d", name, typ, v, v, n), rows, target, nil)
			if err != nil {
				var bad *dataflow.RecordError
				require.ErrorAs(t, err, &bad)
				errs = append(errs, err)
				continue
			}
			var text string
			require.NoError(t, pool.QueryRow(t.Context(), `select string_agg(distinct v::text, '|') from narrow`, pgx.QueryExecModeExec).Scan(&text))
			texts = append(texts, text)
		}
	}
	require.Len(t, append(errs, make([]error, len(texts))...), 6)
	return texts, errs
}

func isWritten[V any](t *testing.T, pool *pgxpool.Pool, typ string, v V, want string) {
	t.Helper()
	texts, errs := writeValue(t, pool, typ, v)
	require.Empty(t, errs, "%T into %s", v, typ)
	for _, text := range texts {
		require.Equal(t, want, text, "%T into %s", v, typ)
	}
}

func isNotWritten[V any](t *testing.T, pool *pgxpool.Pool, typ string, v V, want string) {
	t.Helper()
	texts, errs := writeValue(t, pool, typ, v)
	require.Empty(t, texts, "%T into %s", v, typ)
	for _, err := range errs {
		require.ErrorContains(t, err, `column "v" (field V): `+want, "%T into %s", v, typ)
	}
}

// pgx 5.12 writes 2.5 to an integer column as 2.
func TestWrite_FloatIntoInteger(t *testing.T) {
	t.Parallel()
	pool := setupMode(t, pgx.QueryExecModeCacheStatement, nil)
	for typ, name := range map[string]string{"smallint": "smallint", "int": "integer", "bigint": "bigint", "oid": "oid"} {
		want := "2.5 is not a whole number, as the type " + name + " needs: round it, or make the column numeric or double precision"
		isNotWritten(t, pool, typ, 2.5, want)
		isNotWritten(t, pool, typ, float32(2.5), want)
		isNotWritten(t, pool, typ, new(2.5), want)
		isNotWritten[any](t, pool, typ, 2.5, want)
		isWritten(t, pool, typ, 2.0, "2")
	}
	want := "2.5 is not a whole number, as the type integer needs"
	isNotWritten(t, pool, "int", sql.NullFloat64{Float64: 2.5, Valid: true}, want)
	isNotWritten(t, pool, "int", sql.Null[float64]{V: 2.5, Valid: true}, want)
	isNotWritten(t, pool, "int", pgtype.Float8{Float64: 2.5, Valid: true}, want)
	isNotWritten(t, pool, "int", gauge(2.5), want)
	isNotWritten(t, pool, "int[]", []float64{2, 2.5}, want)
	isNotWritten(t, pool, "int[]", []*float64{nil, new(2.5)}, want)
	isNotWritten(t, pool, "int[]", []any{2.5}, want)
	isNotWritten(t, pool, "int4range", pgtype.Range[float64]{Lower: 2.5, Upper: 4, LowerType: pgtype.Inclusive, UpperType: pgtype.Exclusive, Valid: true}, want)
	isNotWritten(t, pool, "int", math.NaN(), "NaN is not a whole number")
	isNotWritten(t, pool, "bigint", math.Inf(-1), "-Inf is not a whole number")
	isNotWritten(t, pool, "bigint", math.Exp2(63), "9.223372036854776e+18 does not fit the type bigint: make the column numeric or double precision")
	isWritten(t, pool, "bigint", -math.Exp2(63), "-9223372036854775808")
	isWritten(t, pool, "int", sql.NullFloat64{Float64: -3, Valid: true}, "-3")
	isWritten(t, pool, "int[]", []float64{2, -3}, "{2,-3}")
	isWritten[any](t, pool, "int", 4.0, "4")
	isWritten(t, pool, "numeric", 2.5, "2.5")
}

// pgx and Postgres round a whole number with more digits than the type holds.
func TestWrite_IntegerIntoFloat(t *testing.T) {
	t.Parallel()
	pool := setupMode(t, pgx.QueryExecModeCacheStatement, nil)
	for _, n := range []int64{1<<53 + 1, -1<<53 - 1, math.MaxInt64} {
		want := fmt.Sprintf("%d would lose digits in the type double precision: make the column bigint or numeric", n)
		isNotWritten(t, pool, "float8", n, want)
		isNotWritten(t, pool, "float8", &n, want)
		isNotWritten[any](t, pool, "float8", n, want)
		isNotWritten(t, pool, "float8[]", []int64{n}, want)
		isNotWritten(t, pool, "float8", sql.NullInt64{Int64: n, Valid: true}, want)
	}
	isNotWritten(t, pool, "float8", uint64(1<<53+1), "9007199254740993 would lose digits")
	isNotWritten(t, pool, "real", 1<<24+1, "16777217 would lose digits in the type real: make the column bigint or numeric")
	isWritten(t, pool, "float8", int64(1<<53), "9.007199254740992e+15")
	isWritten(t, pool, "float8", int64(math.MinInt64), "-9.223372036854776e+18")
	isWritten(t, pool, "real", 1<<24, "1.6777216e+07")
	for _, f := range []float64{1e300, 1e-300} {
		want := fmt.Sprintf("%v does not fit the type real: make the column double precision or numeric", f)
		isNotWritten(t, pool, "real", f, want)
		isNotWritten[any](t, pool, "real", f, want)
		isNotWritten(t, pool, "real[]", []float64{f}, want)
	}
	isWritten(t, pool, "real", math.Inf(1), "Infinity")
	isWritten(t, pool, "real", 0.1, "0.1")
}

// Postgres cuts a text to the length of these types.
func TestWrite_ShortTexts(t *testing.T) {
	t.Parallel()
	pool := setupMode(t, pgx.QueryExecModeCacheStatement, nil)
	want := `the text "ab" has 2 bytes, and the type "char" holds 1: shorten it, or make the column text`
	isNotWritten(t, pool, `"char"`, "ab", want)
	isNotWritten(t, pool, `"char"`, new("ab"), want)
	isNotWritten[any](t, pool, `"char"`, "ab", want)
	isNotWritten(t, pool, `"char"`, sql.NullString{String: "ab", Valid: true}, want)
	isNotWritten(t, pool, `"char"[]`, []string{"a", "ab"}, want)
	isWritten(t, pool, `"char"`, "a", "a")
	isWritten(t, pool, `"char"[]`, []string{"a", "b"}, "{a,b}")
	isWritten(t, pool, "name", "café", "café")
	isWritten(t, pool, "name", strings.Repeat("x", 63), strings.Repeat("x", 63))
	long := strings.Repeat("é", 32)
	isNotWritten(t, pool, "name", long, `the text "`+long+`" has 64 bytes, and the type name holds 63: shorten it, or make the column text`)
	isNotWritten(t, pool, "name", &long, `the text "`+long+`" has 64 bytes`)
	isNotWritten(t, pool, "name[]", []string{long}, `the text "`+long+`" has 64 bytes`)
	isNotWritten(t, pool, `"char"`, rune(-200), `-200 is no character of the type "char", which begin at 0`)
	isWritten(t, pool, `"char"`, 'x', "x")
}

// A text that is too long for a varchar only by blanks at its end would lose these: two keys would be one.
func TestWrite_Blanks(t *testing.T) {
	t.Parallel()
	pool := setupMode(t, pgx.QueryExecModeCacheStatement, nil, `create domain short as varchar(3)`, `create domain shorter as short check (value <> 'no')`)
	want := `the text "äöü " has 4 characters, and the type varchar(3) would cut the blanks at its end: cut them, or make the column text`
	isNotWritten(t, pool, "varchar(3)", "äöü ", want)
	isNotWritten[any](t, pool, "varchar(3)", "äöü ", want)
	isNotWritten(t, pool, "varchar(3)", pgtype.Text{String: "äöü ", Valid: true}, want)
	isNotWritten(t, pool, "varchar(3)", []byte("äöü "), want)
	isNotWritten(t, pool, "shorter", new("äöü "), want)
	for _, typ := range []string{"varchar(3)[]", "short[]", "shorter[]"} {
		isNotWritten(t, pool, typ, []string{"a ", "äöü "}, want)
	}
	isWritten(t, pool, "shorter[]", []string{"a  ", "äöü"}, `{"a  ",äöü}`)
	isWritten(t, pool, "shorter", "äö ", "äö ")
	isWritten(t, pool, "varchar(3)[]", []string{"a  ", "äöü"}, `{"a  ",äöü}`)
	isWritten(t, pool, "varchar", "a    ", "a    ")
	isWritten(t, pool, "char(3)", "a    ", "a") // blanks mean nothing there
}

// pgx 5.12 rounds whole numbers, and makes great numbers infinite.
func TestRead_Narrower(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, pool *pgxpool.Pool) {
		t.Helper()
		const element = "failed to scan array element 0: "
		for _, f := range []string{"1e300", "-1e300", "1e-300"} {
			for _, typ := range []string{"float8", "numeric"} {
				isRefused[float32](t, pool, f+"::"+typ, "")
				isRefused[*float32](t, pool, f+"::"+typ, "")
				isRefused[[]float32](t, pool, "array["+f+"::"+typ+"]", "")
			}
		}
		isRefused[float32](t, pool, "1e300::float8", "1e+300 of type double precision does not fit float32: use float64")
		isRefused[[]pgtype.Float4](t, pool, "array[1e300::float8]", element+"1e+300 of type double precision does not fit float32: use float64")
		isRead(t, pool, "'-infinity'::float8", float32(math.Inf(-1)))
		isRead(t, pool, "0.1::float8", float32(0.1))
		isRead(t, pool, "0.1::numeric", float32(0.1))
		isRead(t, pool, "0::float8", float32(0))

		const n, want = "9007199254740993::int8", "9007199254740993 of type bigint would lose digits in the field's floating-point type: use int64"
		isRefused[float64](t, pool, n, want)
		isRefused[*float64](t, pool, n, want)
		isRefused[gauge](t, pool, n, want)
		isRefused[float32](t, pool, n, want)
		isRefused[sql.NullFloat64](t, pool, n, want)
		isRefused[sql.Null[float64]](t, pool, n, want)
		isRefused[pgtype.Float8](t, pool, n, want)
		isRefused[[]float64](t, pool, "array["+n+"]", element+want)
		isRefused[[]pgtype.Float8](t, pool, "array["+n+"]", element+want)
		isRefused[[]sql.NullFloat64](t, pool, "array["+n+"]", element+want)
		isRefused[float64](t, pool, "9223372036854775807::int8", "9223372036854775807 of type bigint would lose digits")
		isRefused[float32](t, pool, "16777217::int4", "16777217 of type integer would lose digits")
		isRead(t, pool, "9007199254740992::int8", float64(1<<53))
		isRead(t, pool, "(-9223372036854775808)::int8", -math.Exp2(63))
		isRead(t, pool, "16777217::int4", float64(16777217))
		isRead(t, pool, "16777216::int4", float32(16777216))
		isRead(t, pool, "5::int8", sql.NullFloat64{Float64: 5, Valid: true})
		isRead[*float64](t, pool, "null::int8", nil)
		isRead[any](t, pool, n, int64(1<<53+1))
		isRead(t, pool, n, sql.NullInt64{Int64: 1<<53 + 1, Valid: true})
		isRead(t, pool, "9007199254740993::numeric", float64(1<<53))
	})
}
