package pgtable

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"net/netip"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func setup(t *testing.T, statements ...string) *pgxpool.Pool {
	t.Helper()
	pool := dbtest.Postgres(t)
	for _, statement := range statements {
		_, err := pool.Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return pool
}

// inSession returns a pool to the same database, with settings for its sessions.
func inSession(t *testing.T, pool *pgxpool.Pool, settings map[string]string) *pgxpool.Pool {
	t.Helper()
	config := pool.Config()
	maps.Copy(config.ConnConfig.RuntimeParams, settings)
	in, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(in.Close)
	return in
}

// write writes rows in a transaction like a checkpoint's. It uses COPY even for few
// rows, if the sink can.
// Like the engine, it writes the rows again if the table was altered.
func write[T any](t *testing.T, pool *pgxpool.Pool, s *sink[T], rows ...T) error {
	t.Helper()
	err := writeOnce(t, pool, s, rows)
	if isStale(err) {
		err = writeOnce(t, pool, s, rows)
	}
	return err
}

func writeOnce[T any](t *testing.T, pool *pgxpool.Pool, s *sink[T], rows []T) error {
	t.Helper()
	if s.to.copyFrom == copyFrom {
		s.to.copyFrom = 1
	}
	store, err := dataflowpgx.New(pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	require.NoError(t, s.Validate())
	return store.InTx(t.Context(), func(ctx context.Context, _ dataflow.Tx) error {
		if s.to.upsert {
			return reporting(s).WriteResultTx(ctx, rows, make([]dataflow.RowResult, len(rows)))
		}
		return s.WriteTx(ctx, rows)
	})
}

// query returns a query's rows as text.
func query(t *testing.T, pool *pgxpool.Pool, sql string) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `select query_row::text from (`+sql+`) query_row`)
	require.NoError(t, err)
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return texts
}

type fact struct {
	ID    int64
	Name  string
	Cents *int32
}

func ptr[V any](v V) *V { return &v }

const createFacts = `create table facts (id bigint primary key, name text not null, cents int, at timestamptz default now())`

func TestInsert(t *testing.T) {
	t.Parallel()
	pool := setup(t, createFacts)
	s := newSink[fact]("facts", false, nil)
	require.True(t, s.AppendOnly())
	require.NoError(t, write(t, pool, s))
	require.NoError(t, write(t, pool, s, fact{1, "a", nil}, fact{2, "it's", ptr(int32(7))}))
	require.NoError(t, write(t, pool, s, fact{3, `"c" {},\`, ptr(int32(-7))}))
	require.Equal(t, []string{`(1,a,)`, `(2,it's,7)`, `(3,"""c"" {},\\",-7)`}, query(t, pool, `select id, name, cents from facts order by id`))
	require.Equal(t, []string{"(0)"}, query(t, pool, `select count(*) from facts where at is null`))

	err := write(t, pool, s, fact{4, "d", nil}, fact{1, "again", nil})
	require.EqualError(t, err, `table facts: ERROR: duplicate key value violates unique constraint "facts_pkey" (SQLSTATE 23505): Key (id)=(1) already exists.`)
	require.Equal(t, []string{"(3)"}, query(t, pool, `select count(*) from facts`))
}

func TestUpsert(t *testing.T) {
	t.Parallel()
	pool := setup(t, createFacts)
	s := newSink[fact]("facts", true, []string{"id"})
	require.False(t, s.AppendOnly())
	require.NoError(t, write(t, pool, s, fact{2, "b", nil}, fact{1, "a", ptr(int32(1))}))
	before := query(t, pool, `select at from facts where id = 1`)
	require.NoError(t, write(t, pool, s, fact{1, "A", nil}, fact{3, "c", nil}))
	require.Equal(t, []string{"(1,A,)", "(2,b,)", "(3,c,)"}, query(t, pool, `select id, name, cents from facts order by id`))
	require.Equal(t, before, query(t, pool, `select at from facts where id = 1`), "a column that is not T's")
}

func TestUpsert_LastOfABatchWins(t *testing.T) {
	t.Parallel()
	pool := setup(t, createFacts)
	s := newSink[fact]("facts", true, []string{"id"})
	require.NoError(t, write(t, pool, s, fact{1, "a", ptr(int32(1))}, fact{2, "b", nil}, fact{1, "c", nil}, fact{1, "d", nil}, fact{2, "e", ptr(int32(5))}))
	require.Equal(t, []string{"(1,d,)", "(2,e,5)"}, query(t, pool, `select id, name, cents from facts order by id`))
}

func TestUpsert_KeysAreEqualWhereTheIndexSaysSo(t *testing.T) {
	t.Parallel()
	pool := setup(t,
		`create collation no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
		`create domain code as text collate no_case`,
		`create table t (name text collate no_case, amount numeric, code code, letter char(3), at timestamptz, v int not null, primary key (name, amount, code, letter, at))`)
	type row struct {
		Name   string
		Amount string
		Code   string
		Letter string
		At     time.Time
		V      int
	}
	at := time.Date(2024, 1, 1, 0, 0, 0, 1000, time.UTC)
	s := newSink[row]("t", true, []string{"name", "amount", "code", "letter", "at"})
	require.NoError(t, write(t, pool, s,
		row{"Ann", "1", "x", "a", at, 1},
		row{"ANN", "1.00", "X", "a ", at.Add(999).In(time.FixedZone("", 3600)), 2},
		row{"ann", "1.01", "x", "a", at, 3},
	))
	require.Equal(t, []string{"(1.00,2)", "(1.01,3)"}, query(t, pool, `select amount, v from t order by amount`))
}

func TestUpsert_AllColumnsAreKeys(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table pair (a int, b text, unique (b, a))`)
	type pair struct {
		A int
		B string
	}
	s := newSink[pair]("pair", true, []string{"a", "b"})
	require.NoError(t, write(t, pool, s, pair{1, "x"}, pair{1, "x"}, pair{1, "y"}))
	require.NoError(t, write(t, pool, s, pair{1, "x"}, pair{2, "x"}))
	require.Equal(t, []string{"(1,x)", "(1,y)", "(2,x)"}, query(t, pool, `select a, b from pair order by a, b`))
}

func TestSink_StrangeNames(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create schema "my schema"`,
		`create table "my schema"."or""der.x" ("select" bigint primary key, "größe 🦆" text, "a.b" int, "c,d" int)`)
	type row struct {
		Select int64  `db:"select"`
		Size   string `db:"größe 🦆"`
		Dot    int    `db:"a.b"`
	}
	s := newSink[row](`my schema."or""der.x"`, true, []string{"select"})
	require.NoError(t, write(t, pool, s, row{1, "ü 🦆 'x'", 5}, row{2, "", 6}))
	require.Equal(t, []string{`(1,"ü 🦆 'x'",5,)`, `(2,"",6,)`}, query(t, pool, `select * from "my schema"."or""der.x" order by 1`))
}

func TestSink_BatchesOfManySizes(t *testing.T) {
	t.Parallel()
	pool := setup(t, createFacts)
	s := newSink[fact]("facts", true, []string{"id"})
	for _, n := range []int{1, 2, 999, 70_000} {
		rows := make([]fact, n)
		for i := range rows {
			rows[i] = fact{ID: int64(i), Name: fmt.Sprint("name ", i)}
		}
		require.NoError(t, write(t, pool, s, rows...))
		require.Equal(t, []string{fmt.Sprintf("(%d)", n)}, query(t, pool, `select count(*) from facts`))
	}
}

type mood string

func (m mood) String() string { return "mood:" + string(m) }

type tags []string

func (tags) String() string { return "not this" }

type doc struct {
	A int    `json:"a"`
	B string `json:"b"`
}

type everything struct {
	ID      int `db:"id"`
	I2      int16
	I4      uint16
	I8      uint64
	Num     *big.Int
	NumF    float64
	NumS    string
	NumI    int64
	Txt     *string
	Vc      string
	Ch      string
	F4      float32
	F8      *float64
	B       bool
	Bp      *bool
	Tz      time.Time
	Tzp     *time.Time
	Ts      time.Time
	D       time.Time
	Span    time.Duration
	U       [16]byte
	Us      string
	By      []byte
	J       json.RawMessage
	Jb      doc
	Jm      map[string]any
	Mood    mood
	Moodp   *mood
	Ints    []int32
	Tags    tags
	Grid    [][]int
	Ip      netip.Addr
	Null    sql.NullString
	Pgnull  pgtype.Int4
	Dom     string
	Named   mood
	Status  int
	Inf     pgtype.Timestamptz
	Generic any
}

func TestSink_EveryKindOfColumn(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			config, err := pgxpool.ParseConfig(dbtest.PostgresURL(t))
			require.NoError(t, err)
			config.ConnConfig.DefaultQueryExecMode = mode
			config.ConnConfig.RuntimeParams = map[string]string{"timezone": "Europe/Berlin", "datestyle": "German"}
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			require.NoError(t, err)
			t.Cleanup(pool.Close)
			for _, statement := range []string{
				`create type mood as enum ('sad', 'ok')`,
				`create domain short as varchar(5) check (value <> 'no')`,
				`create domain shorter as short`,
				`create table t (id int primary key, i2 smallint, i4 integer, i8 bigint, num numeric, num_f numeric, num_s numeric(30,10), num_i numeric,
					txt text, vc varchar(5), ch char(4), f4 real, f8 double precision, b boolean, bp boolean, tz timestamptz, tzp timestamptz, ts timestamp, d date,
					span interval, u uuid, us uuid, by bytea, j json, jb jsonb, jm jsonb, mood mood, moodp mood, ints int[], tags text[], grid int[], ip inet,
					"null" text, pgnull int, dom shorter, named text, status smallint, inf timestamptz, generic text)`,
			} {
				_, err := pool.Exec(t.Context(), statement)
				require.NoError(t, err)
			}
			s := newSink[everything]("t", true, []string{"id"})
			require.NoError(t, write(t, pool, s, full(), everything{ID: 2, NumS: "0", Us: uuidText, J: json.RawMessage("null"), Mood: "sad", Ip: netip.MustParseAddr("::1")}))
			conn, err := pool.Acquire(t.Context())
			require.NoError(t, err)
			defer conn.Release()
			_, err = conn.Exec(t.Context(), `set timezone = 'UTC'`)
			require.NoError(t, err)
			rows, err := conn.Query(t.Context(), `select to_jsonb(t)::text from t order by id`)
			require.NoError(t, err)
			texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
			require.NoError(t, err)
			require.Len(t, texts, 2)
			require.JSONEq(t, wantFull, texts[0])
			require.JSONEq(t, wantZero, texts[1])
		})
	}
}

const uuidText = "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}"

func full() everything {
	huge, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	berlin := time.FixedZone("", 2*3600)
	at := time.Date(2024, 6, 1, 0, 30, 0, 123456789, berlin)
	return everything{
		ID: 1, I2: -32768, I4: 65535, I8: math.MaxInt64, Num: huge, NumF: 0.30000000000000004, NumS: "12345678901234567890.0000000001", NumI: math.MaxInt64,
		Txt: ptr(`NULL "q" {a,b} \ 'x' ü 🦆`), Vc: "NULL", Ch: "ab", F4: 0.1, F8: ptr(1e-300), B: true, Bp: ptr(false),
		Tz: at, Tzp: &at, Ts: at, D: at, Span: 90*time.Minute + time.Microsecond, U: [16]byte{0xa0, 15: 1}, Us: uuidText, By: []byte{0, 255, '\'', '\\'},
		J: json.RawMessage(`{"k":[1,"ü"]}`), Jb: doc{1, `"`}, Jm: map[string]any{"x": nil}, Mood: "ok", Moodp: ptr(mood("sad")),
		Ints: []int32{1, -2}, Tags: tags{"a,b", `"`, ""}, Grid: [][]int{{1, 2}, {3, 4}}, Ip: netip.MustParseAddr("10.0.0.1"),
		Null: sql.NullString{String: "here", Valid: true}, Pgnull: pgtype.Int4{Int32: 5, Valid: true}, Dom: "short", Named: "raw", Status: 3,
		Inf: pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}, Generic: "any",
	}
}

const wantFull = `{"id":1,"i2":-32768,"i4":65535,"i8":9223372036854775807,"num":123456789012345678901234567890,"num_f":0.30000000000000004,
	"num_s":12345678901234567890.0000000001,"num_i":9223372036854775807,"txt":"NULL \"q\" {a,b} \\ 'x' ü 🦆","vc":"NULL","ch":"ab  ","f4":0.1,"f8":1e-300,"b":true,"bp":false,
	"tz":"2024-05-31T22:30:00.123456+00:00","tzp":"2024-05-31T22:30:00.123456+00:00","ts":"2024-06-01T00:30:00.123456","d":"2024-06-01","span":"01:30:00.000001",
	"u":"a0000000-0000-0000-0000-000000000001","us":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11","by":"\\x00ff275c","j":{"k":[1,"ü"]},"jb":{"a":1,"b":"\""},"jm":{"x":null},
	"mood":"ok","moodp":"sad","ints":[1,-2],"tags":["a,b","\"",""],"grid":[[1,2],[3,4]],"ip":"10.0.0.1","null":"here","pgnull":5,"dom":"short","named":"raw","status":3,
	"inf":"infinity","generic":"any"}`

const wantZero = `{"id":2,"i2":0,"i4":0,"i8":0,"num":null,"num_f":0,"num_s":0,"num_i":0,"txt":null,"vc":"","ch":"    ","f4":0,"f8":null,"b":false,"bp":null,
	"tz":"0001-01-01T00:00:00+00:00","tzp":null,"ts":"0001-01-01T00:00:00","d":"0001-01-01","span":"00:00:00",
	"u":"00000000-0000-0000-0000-000000000000","us":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11","by":null,"j":null,"jb":{"a":0,"b":""},"jm":null,
	"mood":"sad","moodp":null,"ints":null,"tags":null,"grid":null,"ip":"::1","null":null,"pgnull":null,"dom":"","named":"","status":0,
	"inf":null,"generic":null}`
