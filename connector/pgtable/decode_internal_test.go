package pgtable

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

// decoded has a field of each type that is decoded here, and of some types that pgx
// decodes.
type decoded struct {
	ID    int64
	I4    *int
	I2    int16
	I     int64
	N     float64
	Np    *float64
	F     float64
	B     bool
	Bp    *bool
	T     string
	Tp    *string
	Named namedText
	Ch    string
	Tz    time.Time
	Tzp   *time.Time
	Ts    time.Time
	D     time.Time
	U     [16]byte
	By    []byte
	Ints  []int32
}

type namedText string

// A decoded value is the same as pgx's.
func TestDecode_SameAsPgx(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table t (id bigint, i4 int, i2 smallint, i int, n numeric, np numeric, f double precision, b boolean, bp boolean, t text, tp varchar, named text, ch char(5),
		tz timestamptz, tzp timestamptz, ts timestamp, d date, u uuid, by bytea, ints int[])`)
	r := rand.New(rand.NewPCG(3, uint64(time.Now().UnixNano())))
	maybeNull := func(s string) string {
		if r.IntN(4) == 0 {
			return "null"
		}
		return s
	}
	number := func() string {
		return []string{
			"0", "0.00", "-1", "10000", "99999999", "0.0001", "0.00001", "1e30", "-12345.6789", "9007199254740993", "123456789012345678901234567890.5", "1e-40", "1e300",
			fmt.Sprint(r.NormFloat64()), fmt.Sprint(r.Int64N(1e12), ".", r.IntN(1e6)),
		}[r.IntN(14)]
	}
	at := func() string {
		return time.Unix(r.Int64N(6e9)-3e9, r.Int64N(1e9)).UTC().Format("'2006-01-02 15:04:05.999999Z'")
	}
	for id := range 1000 {
		_, err := pool.Exec(t.Context(), fmt.Sprintf(`insert into t values (%d, %s, %d, %d, %s, %s, %s, %t, %s, 'ü %d', %s, '', 'x', %s, %s, %s, %s, gen_random_uuid(), '\x00ff', '{1,2}')`,
			id, maybeNull("7"), int16(r.Int()), int32(r.Int()), number(), maybeNull(number()), "1e5::float8 / "+fmt.Sprint(r.IntN(100)+1), r.IntN(2) == 0, maybeNull("true"), id, maybeNull("'y'"), at(), maybeNull(at()), at(), at()))
		require.NoError(t, err)
	}
	rows, err := pool.Query(t.Context(), `select * from t order by id`)
	require.NoError(t, err)
	want, err := pgx.CollectRows(rows, pgx.RowToStructByName[decoded])
	require.NoError(t, err)
	k, ok := Keyset[decoded](pool, Query{SQL: `select * from t`, Key: []string{"id"}}).(*keysetSource[decoded])
	require.True(t, ok)
	rd := &reader{keyset: k.of}
	read := collectInto[decoded](rd)
	var got []decoded
	for from := Cursor(nil); len(got) < len(want); {
		page, err := rd.page(t.Context(), from)
		require.NoError(t, err)
		require.Empty(t, page.Bad)
		require.NotZero(t, page.Rows)
		require.Len(t, *read, page.Rows)
		got = append(got, *read...)
		from = page.Keys[2*(page.Rows-1) : 2*page.Rows] // the key and its type
	}
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i], got[i])
	}
}

// Digits that together slightly exceed 2^64 do not overflow to a small number.
func TestNumericFloat_ManyDigits(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	for _, number := range []string{"-0.18452409367579303", "0.18447098719227228", "18446744073709551617", "1844674407370955.1617", "9007199254740992", "9007199254740993", "900719925474.0993"} {
		var raw []byte
		require.NoError(t, pool.QueryRow(t.Context(), "select numeric_send($1::text::numeric)", number).Scan(&raw))
		want, err := strconv.ParseFloat(number, 64)
		require.NoError(t, err)
		got, ok := numericFloat(raw)
		require.True(t, ok)
		require.Equal(t, want, got, number) //nolint:testifylint // to the last bit
	}
}

// The types that a benchmark depends on are decoded here, not by pgx.
func TestDecode_Plans(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table t (id bigint, i4 int, i2 smallint, i int, n numeric, np numeric, f double precision, b boolean, bp boolean, t text, tp varchar, named text, ch char(5),
		tz timestamptz, tzp timestamptz, ts timestamp, d date, u uuid, by bytea, ints int[])`)
	rows, err := pool.Query(t.Context(), `select * from t`)
	require.NoError(t, err)
	defer rows.Close()
	plan, err := rowmap.Of(reflect.TypeFor[decoded](), isValue)
	require.NoError(t, err)
	var left []string
	for i, f := range rows.FieldDescriptions() {
		if newDecoder(f, plan.Columns[i].Type) == nil {
			left = append(left, f.Name)
		}
	}
	require.Equal(t, []string{"d", "by", "ints"}, left)
}
