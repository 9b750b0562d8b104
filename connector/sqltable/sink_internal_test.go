package sqltable

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// setup returns a database in which the statements were executed. It has the
// library's tables, which a checkpoint's transaction needs.
func setup(t *testing.T, statements ...string) *sql.DB {
	t.Helper()
	db := dbtest.SQLite(t)
	require.NoError(t, storeOf(t, db).Migrate(t.Context()))
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return db
}

func storeOf(t *testing.T, db *sql.DB) dataflow.Store {
	t.Helper()
	store, err := dataflowsqlite.New(db).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	return store
}

// write writes rows in a transaction like a checkpoint's.
func write[T any](t *testing.T, db *sql.DB, s *sink[T], rows ...T) error {
	t.Helper()
	require.NoError(t, s.Validate())
	return storeOf(t, db).InTx(t.Context(), func(ctx context.Context, _ dataflow.Tx) error {
		if s.upsert {
			return upsertSink[T]{s}.WriteResultTx(ctx, rows, make([]dataflow.RowResult, len(rows)))
		}
		return s.WriteTx(ctx, rows)
	})
}

// query returns the values of a query with one column.
func query(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	var texts []string
	for rows.Next() {
		var text string
		require.NoError(t, rows.Scan(&text))
		texts = append(texts, text)
	}
	require.NoError(t, rows.Err())
	return texts
}

type fact struct {
	ID    int64
	Name  string
	Cents *int32
}

func ptr[V any](v V) *V { return &v }

const (
	createFacts = `create table facts (id integer primary key, name text not null, cents int, at text default 'then')`
	factsQuery  = `select concat_ws(' ', id, name, coalesce(cents, 'null')) from facts order by id`
)

func TestInsert(t *testing.T) {
	t.Parallel()
	db := setup(t, createFacts)
	s := newSink[fact]("facts", false, nil)
	require.True(t, s.AppendOnly())
	require.NoError(t, write(t, db, s))
	require.NoError(t, write(t, db, s, fact{1, "a", nil}, fact{2, "it's", ptr(int32(7))}))
	require.NoError(t, write(t, db, s, fact{3, `"c" {},\`, ptr(int32(-7))}))
	require.Equal(t, []string{`1 a null`, `2 it's 7`, `3 "c" {},\ -7`}, query(t, db, factsQuery))
	require.Equal(t, []string{"then"}, query(t, db, `select distinct at from facts`))

	err := write(t, db, s, fact{4, "d", nil}, fact{1, "again", nil})
	require.EqualError(t, err, `table facts: constraint failed: UNIQUE constraint failed: facts.id (1555)`)
	require.Equal(t, []string{"3"}, query(t, db, `select count(*) from facts`))
}

func TestUpsert(t *testing.T) {
	t.Parallel()
	db := setup(t, createFacts)
	s := newSink[fact]("main.facts", true, []string{"id"})
	require.False(t, s.AppendOnly())
	require.NoError(t, write(t, db, s, fact{2, "b", nil}, fact{1, "a", ptr(int32(1))}))
	_, err := db.ExecContext(t.Context(), `update facts set at = 'kept'`)
	require.NoError(t, err)
	require.NoError(t, write(t, db, s, fact{1, "A", nil}, fact{3, "c", nil}))
	require.Equal(t, []string{"1 A null", "2 b null", "3 c null"}, query(t, db, factsQuery))
	require.Equal(t, []string{"kept"}, query(t, db, `select at from facts where id = 1`), "a column that is not T's")
}

func TestUpsert_LastOfABatchWins(t *testing.T) {
	t.Parallel()
	db := setup(t, createFacts)
	s := newSink[fact]("facts", true, []string{"id"})
	require.NoError(t, write(t, db, s, fact{1, "a", ptr(int32(1))}, fact{2, "b", nil}, fact{1, "c", nil}, fact{1, "d", nil}, fact{2, "e", ptr(int32(5))}))
	require.Equal(t, []string{"1 d null", "2 e 5"}, query(t, db, factsQuery))
}

func TestUpsert_AllColumnsAreKeys(t *testing.T) {
	t.Parallel()
	db := setup(t, `create table pair (a int, b text, unique (b, a))`)
	type pair struct {
		A int
		B string
	}
	s := newSink[pair]("pair", true, []string{"a", "b"})
	require.NoError(t, write(t, db, s, pair{1, "x"}, pair{1, "x"}, pair{1, "y"}))
	require.NoError(t, write(t, db, s, pair{1, "x"}, pair{2, "x"}))
	require.Equal(t, []string{"1x", "1y", "2x"}, query(t, db, `select a || b from pair order by a, b`))
}

func TestSink_StrangeNames(t *testing.T) {
	t.Parallel()
	db := setup(t, `create table "or""der.""." ("select" integer primary key, "größe 🦆" text, "a"".""b" int, "c,d" int)`)
	type row struct {
		Select int64  `db:"select"`
		Size   string `db:"größe 🦆"`
		Dot    int    `db:"a\".\"b"`
	}
	s := newSink[row](`main."or""der."".""."`, true, []string{"select"})
	require.ErrorContains(t, write(t, db, s, row{}), "the table does not exist in this database")
	s = newSink[row](`main."or""der.""."`, true, []string{"select"})
	require.NoError(t, write(t, db, s, row{1, "ü 🦆 'x'", 5}, row{2, "", 6}))
	require.Equal(t, []string{`1ü 🦆 'x'5`, `26`}, query(t, db, `select "select" || "größe 🦆" || "a"".""b" from "or""der.""." order by 1`))
}

func TestSink_BatchesOfManySizes(t *testing.T) {
	t.Parallel()
	db := setup(t, createFacts)
	s := newSink[fact]("facts", true, []string{"id"})
	for _, n := range []int{1, 2, maxChunk - 1, maxChunk, maxChunk + 1, 2 * maxChunk, 12_000} {
		rows := make([]fact, n)
		for i := range rows {
			rows[i] = fact{ID: int64(i), Name: fmt.Sprint("name ", i)}
		}
		require.NoError(t, write(t, db, s, rows...))
		require.Equal(t, []string{fmt.Sprint(n)}, query(t, db, `select count(*) from facts`))
	}
}

func TestInserter_StaysBelowTheParameterLimit(t *testing.T) {
	t.Parallel()
	for _, columns := range []int{1, 327, 328, 1000, 2000} {
		names := make([]string, columns)
		for i := range names {
			names[i] = fmt.Sprint("c", i)
		}
		in := newInserter([]string{"t"}, names, false, nil, nil)
		require.GreaterOrEqual(t, in.chunk, 1)
		require.LessOrEqual(t, in.chunk, maxChunk)
		require.LessOrEqual(t, in.chunk*columns, maxParameters)
	}
}

type level int

func (l level) Value() (driver.Value, error) {
	if l < 0 {
		return nil, nil
	}
	return fmt.Sprint("level ", int(l)), nil
}

func (l *level) Scan(src any) error {
	if src == nil {
		*l = -1
		return nil
	}
	_, err := fmt.Sscanf(src.(string), "level %d", (*int)(l))
	return err
}

type everything struct {
	ID     int
	I8     int8
	U16    uint16
	U64    uint64
	F32    float32
	F64    float64
	B      bool
	Bp     *bool
	S      string
	Sp     *string
	By     []byte
	J      json.RawMessage
	T      time.Time
	Tp     *time.Time
	Tn     sql.NullTime
	Tg     sql.Null[time.Time]
	Td     time.Time
	Sn     sql.NullString
	In     sql.NullInt64
	Level  level
	Levelp *level
	Span   time.Duration
}

func TestSink_EveryKindOfFieldComesBack(t *testing.T) {
	t.Parallel()
	db := setup(t, `create table t (id integer primary key, i8, u16, u64 integer, f32 real, f64 real, b boolean, bp boolean, s text, sp text, by blob, j blob,
		t text, tp datetime, tn text, tg timestamp, td date, sn text, "in" int, level text, levelp text, span int)`)
	at := time.Date(2024, 6, 1, 0, 30, 0, 123456789, time.FixedZone("", 2*3600))
	full := everything{
		ID: 1, I8: -128, U16: 65535, U64: math.MaxInt64, F32: 0.1, F64: 1e-300, B: true, Bp: ptr(false), S: "ü\x00🦆'", Sp: ptr(""), By: []byte{0, 255},
		J: json.RawMessage(`{"a":1}`), T: at, Tp: &at, Tn: sql.NullTime{Time: at, Valid: true}, Tg: sql.Null[time.Time]{V: at, Valid: true}, Td: at,
		Sn: sql.NullString{String: "x", Valid: true}, In: sql.NullInt64{Int64: math.MinInt64, Valid: true}, Level: 3, Levelp: ptr(level(4)), Span: time.Hour,
	}
	zero := everything{ID: 2, Level: -1}
	s := newSink[everything]("t", true, []string{"id"})
	require.NoError(t, write(t, db, s, full, zero))
	require.NoError(t, write(t, db, s, full, zero))

	source := Keyset[everything](db, Query{SQL: `select * from t`, Key: []string{"id"}})
	var got []everything
	for item, err := range source.Read(t.Context(), dataflow.Request[Cursor]{}) {
		require.NoError(t, err)
		got = append(got, item.Value)
	}
	utc := at.UTC()
	full.T, full.Tp, full.Tn.Time, full.Tg.V, full.Td = utc, &utc, utc, utc, utc
	require.Equal(t, []everything{full, zero}, got)
	require.Equal(t, []string{"2024-05-31 22:30:00.123456789Z 2024-05-31 22:30:00 text", "0001-01-01 00:00:00.000000000Z 0001-01-01 00:00:00 text"},
		query(t, db, `select concat_ws(' ', t, datetime(t), typeof(td)) from t order by id`))
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 6, 1, 12, 30, 0, 0, time.UTC)
	for _, s := range []string{
		"2024-06-01 12:30:00.000000000Z", "2024-06-01 12:30:00", "2024-06-01T12:30:00Z", "2024-06-01T14:30:00.000+02:00", "2024-06-01 14:30:00+02:00",
		"2024-06-01 12:30", "2024-06-01T12:30Z", "2024-06-01 14:30+02:00", "2024-06-01 14:30:00 +0200 CEST", "2024-06-01 12:30:00 +0000 UTC m=+0.5", " 2024-06-01 12:30 ",
	} {
		got, err := parseTime(s)
		require.NoError(t, err, s)
		require.True(t, at.Equal(got), s)
	}
	got, err := parseTime("2024-06-01")
	require.NoError(t, err)
	require.Equal(t, time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC), got)
	for _, s := range []string{"", "soon", "12:30", "2024", "2024-13-01", "1717245000", "2024-06-01 12:30:00 x"} {
		_, err := parseTime(s)
		require.EqualError(t, err, fmt.Sprintf("%q is not a time", s))
	}
}

func TestSink_Errors(t *testing.T) {
	t.Parallel()
	type row struct {
		ID *int64
		U  uint64
		F  float64
		At time.Time
		L  any
	}
	good := row{ID: ptr(int64(1)), U: 1}
	db := setup(t, `create table t (id integer primary key, u int not null check (u < 100), f real, at text, l text)`, `create table nokey (id int, u, f, at, l)`,
		`create table "Other" (id integer primary key, "Name", extra)`)
	for name, tc := range map[string]struct {
		table  string
		change func(*row)
		want   string
	}{
		"unsigned":  {"t", func(r *row) { r.U = math.MaxUint64 }, `table t: write record row 2 of the batch: column "u" (field U): uint64 values with high bit set are not supported`},
		"NaN":       {"t", func(r *row) { r.F = math.NaN() }, `table t: write record row 2 of the batch: column "f" (field F): SQLite cannot store NaN: use a pointer, so that it can be NULL`},
		"year":      {"t", func(r *row) { r.At = time.Date(12024, 1, 1, 0, 0, 0, 0, time.UTC) }, `table t: write record row 2 of the batch: column "at" (field At): the year 12024 is not between 0 and 9999`},
		"null key":  {"t", func(r *row) { r.ID = nil }, `table t: write record row 2 of the batch: column "id" (field ID): a key must not be NULL`},
		"kind":      {"t", func(r *row) { r.L = []int{1} }, `table t: write record row 2 of the batch: column "l" (field L): unsupported type []int, a slice of int`},
		"check":     {"t", func(r *row) { r.U = 100 }, `table t: constraint failed: CHECK constraint failed: u < 100 (275)`},
		"no table":  {"nowhere", func(*row) {}, `table nowhere: the table does not exist in this database: SQL logic error: no such table: nowhere (1)`},
		"no schema": {"x.t", func(*row) {}, `table x.t: SQL logic error: no such table: x.t (1)`},
		"columns":   {"Other", func(*row) {}, `table Other: the table has no column "u" (field U), "f" (field F), "at" (field At), "l" (field L); its columns are "id", "Name", "extra": SQL logic error: no such column: t.u (1)`},
		"no index": {"nokey", func(*row) {}, `table nokey: the table has no unique index of exactly the key columns ("id"): create unique index on it ("id"): ` +
			`SQL logic error: ON CONFLICT clause does not match any PRIMARY KEY or UNIQUE constraint (1)`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := good
			bad.ID = ptr(int64(2))
			tc.change(&bad)
			require.EqualError(t, write(t, db, newSink[row](tc.table, true, []string{"id"}), good, bad), tc.want)
		})
	}
	require.Empty(t, query(t, db, `select id from t`))
}

func TestSink_Validate(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]dataflow.Validator{
		`table: it is empty or has an empty part: use "table" or "schema.table"`:      newSink[fact]("", false, nil),
		`T: int is not a struct: use a struct with a field for each column`:           newSink[int]("t", false, nil),
		`key: it is empty: name the columns that identify a row`:                      newSink[fact]("t", true, nil),
		`key: "Id" is not a column of sqltable.fact: its columns are id, name, cents`: newSink[fact]("t", true, []string{"Id"}),
		"table: it is empty or has an empty part: use \"table\" or \"schema.table\"\n" +
			"T: int is not a struct: use a struct with a field for each column\nkey: it is empty: name the columns that identify a row": newSink[int]("a.", true, nil),
	} {
		require.EqualError(t, s.Validate(), want)
	}
	require.EqualError(t, newSink[int]("t", false, nil).WriteTx(t.Context(), nil), "T: int is not a struct: use a struct with a field for each column")
}

func TestSink_Describe(t *testing.T) {
	t.Parallel()
	require.Equal(t, dataflow.Description{Type: "sqltable.insert", Detail: map[string]any{"table": "a.b"}}, Insert[fact]("a.b").Describe())
	require.Equal(t, dataflow.Description{Type: "sqltable.upsert", Detail: map[string]any{"table": "t", "key": []string{"id"}}}, Upsert[fact]("t", "id").Describe())
	require.Equal(t, dataflow.ExactlyOnce, Insert[fact]("t").Guarantee())
	require.Equal(t, dataflow.ExactlyOnce, Upsert[fact]("t", "id").Guarantee())
}

func TestSink_NoTransaction(t *testing.T) {
	t.Parallel()
	err := newSink[fact]("facts", false, nil).WriteTx(t.Context(), []fact{{}})
	require.ErrorIs(t, err, dataflow.ErrTxMismatch)
	require.EqualError(t, err, "sqltable needs a client on SQLite to write to table facts in its transaction (use package pgtable with Postgres): transaction of another database")
}

func TestSink_Cancelled(t *testing.T) {
	t.Parallel()
	db := setup(t, createFacts)
	s := newSink[fact]("facts", false, nil)
	err := storeOf(t, db).InTx(t.Context(), func(ctx context.Context, _ dataflow.Tx) error {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return s.WriteTx(ctx, []fact{{ID: 1}})
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"0"}, query(t, db, `select count(*) from facts`))
}

func TestRounded(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"12345678901234567890": "1.2345678901234567e+19", "1234567890.12345678": "1.2345678901234567e+09", " 0.12345678901234567890 ": "0.12345678901234568"} {
		float, loses := rounded(text)
		require.True(t, loses, text)
		require.Equal(t, want, float)
	}
	for _, text := range []string{"9223372036854775807", "0.30000000000000004", "1e300", "1e999999999999999999", "12345678901234567890x", "0000000000000000000000.10", "abcdefghijklmnopq"} {
		_, loses := rounded(text)
		require.False(t, loses, text)
	}
}

// SQLite takes numbers in a column that is declared as a string, and so keeps no leading zero.
func TestSink_StringColumn(t *testing.T) {
	t.Parallel()
	type place struct {
		Zip  string  `db:"zip"`
		Code *string `db:"code"`
	}
	type amount struct {
		Amount string `db:"amount"`
	}
	db := setup(t, `create table places (zip string, code string(9), amount decimal)`)
	s := newSink[place]("places", false, nil)
	write := func(p place) error {
		return storeOf(t, db).InTx(t.Context(), func(ctx context.Context, _ dataflow.Tx) error { return s.WriteTx(ctx, []place{p}) })
	}
	for text, number := range map[string]string{"00123": "123", "1e3": "1000", "1.50": "1.5", "+7": "7", " 7": "7", "1e999": "+Inf"} {
		for name, p := range map[string]place{"zip": {Zip: text}, "code": {Zip: "x", Code: &text}} {
			var row *dataflow.RowError
			require.ErrorAs(t, write(p), &row, text)
			require.ErrorContains(t, row, "column \""+name+"\"")
			require.ErrorContains(t, row, "SQLite would store \""+text+"\" as "+number+" in a column of type string")
		}
	}
	numbers := newSink[amount]("places", false, nil)
	err := storeOf(t, db).InTx(t.Context(), func(ctx context.Context, _ dataflow.Tx) error {
		return numbers.WriteTx(ctx, []amount{{"1.50"}, {"007"}, {"-1e999"}})
	})
	require.ErrorContains(t, err, `SQLite would store "-1e999" as -Inf in a column of type decimal`)
	kept := []string{"", "123", "-1.5", "12a", "A1", "0", "9223372036854775807"}
	for _, text := range kept {
		require.NoError(t, write(place{Zip: text}), text)
	}
	require.Equal(t, kept, query(t, db, `select zip from places order by rowid`))
}

// The names of other types for texts are ones of numbers to SQLite, too, which makes infinity of the id 123e4567.
func TestSink_NumbersInTexts(t *testing.T) {
	t.Parallel()
	type row struct{ V string }
	for declared, changed := range map[string]map[string]string{
		"uuid": {"123e4567": "+Inf", "00123": "123", "12e5": "1200000", "1e-400": "0"}, "ULID": {"0123": "123"}, "enum": {"01": "1"},
		"guid": {"1e99999999999999999999": "+Inf"}, "REAL": {"-1e4567": "-Inf", "1e-99999999999": "0"}, "json": {"1e400": "+Inf", "1.10": "1.1", "1.0": "1"},
		"JSONB": {" 12 ": "12"}, "varbinary(9)": {"007": "7"}, "bytea": {"1e3": "1000"},
	} {
		db := setup(t, `create table x (v `+declared+`)`)
		write := func(v string) error {
			return storeOf(t, db).InTx(t.Context(), func(ctx context.Context, _ dataflow.Tx) error {
				return newSink[row]("x", false, nil).WriteTx(ctx, []row{{v}})
			})
		}
		for text, number := range changed {
			require.ErrorContains(t, write(text), "SQLite would store \""+text+"\" as "+number+" in a column of type "+declared)
		}
		require.ErrorContains(t, write(strings.Repeat("9", 309)), " as +Inf in a column")
		require.ErrorContains(t, write("-."+strings.Repeat("0", 330)+"1"), " as -0 in a column")
		kept := []string{"123e4567-e89b-12d3-a456-426614174000", "1e", `{"price":1.10}`}
		for _, text := range kept {
			require.NoError(t, write(text), text)
		}
		require.Equal(t, kept, query(t, db, `select v from x order by rowid`), declared)
	}
}

// A column that is declared as a float holds whole numbers up to 2^53. A greater one that it would change is a bad record.
func TestSink_WholeNumberInFloat(t *testing.T) {
	t.Parallel()
	type row struct {
		ID int64
		N  *int64
	}
	for declared, loses := range map[string]bool{"real": true, "double precision": true, "Float(9)": true, "floating point": false, "integer": false, "numeric": false, "text": false, "blob": false} {
		db := setup(t, `create table numbers (id integer primary key, n `+declared+`)`)
		write := func(id, n int64) error {
			return storeOf(t, db).InTx(t.Context(), func(ctx context.Context, _ dataflow.Tx) error {
				return newSink[row]("numbers", false, nil).WriteTx(ctx, []row{{id, nil}, {id + 1, &n}})
			})
		}
		for i, n := range []int64{1<<53 + 2, -1 << 53, math.MinInt64} {
			require.NoError(t, write(int64(i)*2, n), declared)
		}
		for i, n := range []int64{1<<53 + 1, math.MaxInt64, -1<<53 - 1} {
			err := write(int64(10+2*i), n)
			if !loses {
				require.NoError(t, err, declared)
				continue
			}
			var bad *dataflow.RowError
			require.ErrorAs(t, err, &bad, declared)
			require.Equal(t, 1, bad.Row)
			require.ErrorContains(t, err, fmt.Sprintf(`column "n" (field N): SQLite would store %d as `, n))
			require.ErrorContains(t, err, ": declare it as integer")
		}
	}
}
