package pgtable

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// copied has a field of each type that COPY encodes.
type copied struct {
	ID   int64
	I2   int16
	I4   *int
	U8   uint64
	N    float64
	Nf   float32
	Ni   int32
	Nu   uint16
	Ns   string
	Np   *string
	Nt   string
	F8   float64
	F8s  float32
	F4   float32
	B    bool
	Bp   *bool
	T    string
	Vc   string
	Ch   string
	Tz   time.Time
	Tzp  *time.Time
	Ts   time.Time
	D    *time.Time
	By   []byte
	U    [16]byte
	Us   string
	J    json.RawMessage
	Js   string
	Jb   map[string]int
	Jbs  doc
	Jbb  []byte
	E    string
	Em   mood
	Dom  string
	Domn int64
}

const createCopied = `create table %s (id bigint primary key, i2 smallint, i4 integer, u8 bigint, n numeric, nf numeric, ni numeric, nu numeric(9,3), ns numeric, np numeric(20,4), nt numeric,
	f8 double precision, f8s double precision, f4 real, b boolean, bp boolean, t text, vc varchar(40), ch char(12), tz timestamptz, tzp timestamptz(3), ts timestamp, d date,
	by bytea, u uuid, us uuid, j json, js json, jb jsonb, jbs jsonb, jbb jsonb, e mood, em mood, dom short, domn natural_number)`

func randomCopied(r *rand.Rand, id int64) copied {
	text := func() string {
		return strings.Repeat("", r.IntN(2)) + []string{"", "a", `q"u\o,te'`, "ü 🦆", "NULL", `\N`, "line\nfeed\t"}[r.IntN(7)]
	}
	decimal := func() string {
		digits := func(n int) string {
			b := make([]byte, n)
			for i := range b {
				b[i] = "0001234567899"[r.IntN(13)]
			}
			return string(b)
		}
		s := []string{"", "-", "+"}[r.IntN(3)] + digits(1+r.IntN(12))
		if r.IntN(3) > 0 {
			s += "." + digits(r.IntN(4))
		}
		return s
	}
	float := func() float64 {
		return []float64{0, math.Copysign(0, -1), 1, 0.1, -12345.678, 1e15, 1e-7, 1e22, r.NormFloat64() * 1e6, float64(r.IntN(1e6)) / 100, math.MaxFloat32, 5e-324, 1e308}[r.IntN(13)]
	}
	at := func() time.Time {
		t := time.Unix(r.Int64N(4e9)-2e9, r.Int64N(1e9))
		return []time.Time{t, t.UTC(), t.In(time.FixedZone("", 5*3600+1800)), t.In(time.FixedZone("", -11*3600)), {}, time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)}[r.IntN(6)]
	}
	short := float32([]float64{0, 0.1, -3.5, 1e30, 123456.7}[r.IntN(5)])
	return copied{
		ID: id, I2: int16(r.Int()), I4: maybe(r, int(int32(r.Int()))), U8: r.Uint64() >> 1, N: float(), Nf: short, Ni: int32(r.Int()), Nu: uint16(r.Int()),
		Ns: decimal(), Np: maybe(r, decimal()), Nt: strconv.Itoa(r.IntN(1e9)), F8: float(), F8s: short, F4: short, B: r.IntN(2) == 0, Bp: maybe(r, r.IntN(2) == 0),
		T: text(), Vc: text(), Ch: text(), Tz: at(), Tzp: maybe(r, at()), Ts: at(), D: maybe(r, at()), By: [][]byte{nil, {}, {0, 255}, []byte(text())}[r.IntN(4)],
		U: [16]byte{byte(r.Int()), 15: byte(r.Int())}, Us: fmt.Sprintf("%08x-1111-2222-3333-%012x", r.Uint32(), r.Int64N(1<<40)),
		J: []json.RawMessage{nil, []byte("null"), []byte(`{"a": [1,  "ü"]}`)}[r.IntN(3)], Js: `["x"]`, Jb: []map[string]int{nil, {"x": 1}}[r.IntN(2)],
		Jbs: doc{r.IntN(9), text()}, Jbb: [][]byte{nil, []byte(`{"b":1,"a":2.50}`)}[r.IntN(2)], E: []string{"sad", "ok"}[r.IntN(2)], Em: []mood{"sad", "ok"}[r.IntN(2)], Dom: "short"[:1+r.IntN(5)], Domn: r.Int64N(1 << 40),
	}
}

func maybe[V any](r *rand.Rand, v V) *V {
	if r.IntN(3) == 0 {
		return nil
	}
	return &v
}

func setupCopied(t *testing.T, tables ...string) *pgxpool.Pool {
	t.Helper()
	pool := setup(t, `create type mood as enum ('sad', 'ok')`, `create domain short as varchar(5)`, `create domain natural_number as bigint check (value >= 0)`)
	for _, table := range tables {
		_, err := pool.Exec(t.Context(), fmt.Sprintf(createCopied, table))
		require.NoError(t, err)
	}
	return pool
}

// copyOnly writes rows by COPY, and fails if COPY does not accept them.
func copyOnly[T any](t *testing.T, pool *pgxpool.Pool, s *sink[T], rows ...T) {
	t.Helper()
	store, err := dataflowpgx.New(pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	require.NoError(t, store.InTx(t.Context(), func(ctx context.Context, _ dataflow.Tx) error {
		tx, _ := dataflowpgx.TxFrom(ctx)
		st, err := s.to.statement(ctx, tx, databaseOf(tx))
		require.NoError(t, err)
		require.NotNil(t, st.copier)
		result, err := st.copier.write(ctx, tx.Conn(), reflect.ValueOf(rows), nil, copyAs{})
		require.NoError(t, err)
		require.True(t, result.accepted)
		return nil
	}))
}

// COPY and arrays write the same rows for the same records.
func TestCopy_SameAsArrays(t *testing.T) {
	t.Parallel()
	pool := setupCopied(t, "by_copy", "by_stage", "by_arrays")
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	rows := make([]copied, 2000)
	for i := range rows {
		rows[i] = randomCopied(r, int64(i))
	}
	arrays := newSink[copied]("by_arrays", false, nil)
	arrays.to.copyFrom = math.MaxInt
	require.NoError(t, write(t, pool, arrays, rows...))
	copyOnly(t, pool, newSink[copied]("by_copy", false, nil), rows...)
	staged := newSink[copied]("by_stage", true, []string{"id"})
	copyOnly(t, pool, staged, rows[0]) // so that a key exists
	copyOnly(t, pool, staged, rows...)
	want := query(t, pool, `select * from by_arrays order by id`)
	require.Len(t, want, len(rows))
	for _, table := range []string{"by_copy", "by_stage"} {
		got := query(t, pool, `select * from `+table+` order by id`)
		require.Len(t, got, len(rows))
		for i := range want {
			require.Equal(t, want[i], got[i], "%s: %+v", table, rows[i])
		}
	}
}

// A key that exists, in the table or twice in the batch, makes Upsert use the
// temporary table. This works for any order of batches and of writes in one
// transaction. The reported outcomes are the same as with arrays.
func TestCopy_UpsertSameAsArrays(t *testing.T) {
	t.Parallel()
	type row struct {
		K *int32
		S string
		V int
	}
	pool := setup(t, `create table by_copy (k int, s text, v bigint not null, primary key (s, k))`, `create table by_arrays (k int, s text, v bigint not null, primary key (s, k))`)
	r := rand.New(rand.NewPCG(2, uint64(time.Now().UnixNano())))
	copies, arrays := newSink[row]("by_copy", true, []string{"s", "k"}), newSink[row]("by_arrays", true, []string{"s", "k"})
	arrays.to.copyFrom = math.MaxInt
	store, err := dataflowpgx.New(pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	copies.to.copyFrom = 1
	type place struct {
		k int32
		s string
	}
	state := make(map[place]int)
	for range 60 {
		span := 1 + r.IntN(300)
		var batches [][]row
		for range 1 + r.IntN(3) {
			rows := make([]row, 1+r.IntN(80))
			for i := range rows {
				rows[i] = row{ptr(int32(r.IntN(span))), string(rune('a' + r.IntN(3))), r.IntN(3)}
			}
			batches = append(batches, rows)
		}
		undo := r.IntN(5) == 0
		next := maps.Clone(state)
		err := store.InTx(t.Context(), func(ctx context.Context, _ dataflow.Tx) error {
			for _, rows := range batches {
				last := make(map[place]int)
				for _, row := range rows {
					last[place{*row.K, row.S}] = row.V
				}
				want := make([]dataflow.RowResult, len(rows))
				for i, row := range rows {
					switch was, there := next[place{*row.K, row.S}]; {
					case there && was == last[place{*row.K, row.S}]:
						want[i] = redundant
					case there:
						want[i] = updated
					}
				}
				maps.Copy(next, last)
				for _, s := range []*sink[row]{copies, arrays} {
					got := make([]dataflow.RowResult, len(rows))
					require.NoError(t, reporting(s).WriteResultTx(ctx, rows, got))
					require.Equal(t, want, got)
				}
			}
			if undo {
				return context.Canceled
			}
			return nil
		})
		require.Equal(t, undo, err != nil)
		if !undo {
			state = next
		}
	}
	want := query(t, pool, `select * from by_arrays order by s, k`)
	require.NotEmpty(t, want)
	require.Equal(t, want, query(t, pool, `select * from by_copy order by s, k`))
}

// Integer keys in order need no sorting by the server. The same rows are written.
func TestCopy_KeysInOrder(t *testing.T) {
	t.Parallel()
	pool := setup(t, createFacts)
	s := newSink[fact]("facts", true, []string{"id"})
	for name, tc := range map[string]struct {
		ids  []int64
		want bool
	}{
		"one":        {[]int64{5}, true},
		"ascending":  {[]int64{-3, 1, 2, 9}, true},
		"twice":      {[]int64{1, 2, 2, 3}, false},
		"descending": {[]int64{2, 1}, false},
	} {
		rows := make([]fact, len(tc.ids))
		for i, id := range tc.ids {
			rows[i] = fact{ID: id, Name: fmt.Sprint(name, i)}
		}
		require.NoError(t, write(t, pool, s, rows...))
		for _, st := range s.to.statements {
			require.Equal(t, tc.want, st.copier.ascending(reflect.ValueOf(rows)), name)
		}
		last := rows[len(rows)-1]
		require.Equal(t, []string{"(" + last.Name + ")"}, query(t, pool, fmt.Sprintf(`select name from facts where id = %d`, last.ID)))
	}
}

// COPY's bytes carry no type. If a column's type has changed to one of the same
// size, the column must not get the bytes of the old type.
func TestCopy_ColumnOfAnotherType(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table t (id bigint primary key, v bigint)`)
	type row struct {
		ID int64
		V  int64
	}
	for _, upsert := range []bool{false, true} {
		s := newSink[row]("t", upsert, []string{"id"})
		require.NoError(t, write(t, pool, s, row{1, 1}))
		_, err := pool.Exec(t.Context(), `alter table t drop v, add v double precision`)
		require.NoError(t, err)
		require.NoError(t, write(t, pool, s, row{2, 2}))
		require.NoError(t, write(t, pool, s, row{3, 3}))
		require.Equal(t, []string{"(2,2)", "(3,3)"}, query(t, pool, `select id, v from t where v is not null order by id`))
		_, err = pool.Exec(t.Context(), `alter table t drop v, add v bigint; truncate t`)
		require.NoError(t, err)
	}
}

// A dropped index must not turn an upsert into an insert.
func TestCopy_IndexIsGone(t *testing.T) {
	t.Parallel()
	pool := setup(t, createFacts)
	s := newSink[fact]("facts", true, []string{"id"})
	require.NoError(t, write(t, pool, s, fact{ID: 1}))
	_, err := pool.Exec(t.Context(), `alter table facts drop constraint facts_pkey`)
	require.NoError(t, err)
	require.ErrorContains(t, write(t, pool, s, fact{ID: 1}), "no unique index of exactly the key columns")
	require.Equal(t, []string{"(1)"}, query(t, pool, `select count(*) from facts`))
}

// Arrays are used where COPY would do something else than an insert, or is not
// allowed.
func TestCopy_NotThere(t *testing.T) {
	t.Parallel()
	pool := setup(t, createFacts, `create view v as select * from facts`,
		`create table ruled (id bigint primary key, name text, cents int)`, `create rule away as on insert to ruled do instead insert into facts values (new.id, new.name, new.cents)`,
		`create table identity (id bigint generated always as identity primary key, name text, cents int)`)
	require.NoError(t, write(t, pool, newSink[fact]("v", false, nil), fact{ID: 1}))
	require.NoError(t, write(t, pool, newSink[fact]("ruled", false, nil), fact{ID: 2}))
	require.ErrorContains(t, write(t, pool, newSink[fact]("identity", false, nil), fact{ID: 3}), `column "id" (field ID) is generated always as identity`)
	require.Equal(t, []string{"(1)", "(2)"}, query(t, pool, `select id from facts order by id`))
}

// A temporary table is created again if it was dropped, or if the transaction that
// created it was rolled back.
func TestCopy_StageIsGone(t *testing.T) {
	t.Parallel()
	pool := setup(t, createFacts)
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	s := newSink[fact]("facts", true, []string{"id"})
	in := func(rows []fact, end string) {
		tx, err := conn.Begin(t.Context())
		require.NoError(t, err)
		s.to.copyFrom = 1
		require.NoError(t, s.to.write(t.Context(), tx, reflect.ValueOf(rows), nil, false))
		_, err = conn.Exec(t.Context(), end)
		require.NoError(t, err)
	}
	twice := func(name string) []fact { return []fact{{ID: 1, Name: "x"}, {ID: 1, Name: name}} }
	in(twice("a"), "rollback")
	require.Empty(t, query(t, pool, `select name from facts`))
	for i, drop := range []string{"select 1", "select 1", "discard temp", "select 1"} {
		_, err := conn.Exec(t.Context(), drop)
		require.NoError(t, err)
		in(twice(fmt.Sprint("b", i)), "commit")
		require.Equal(t, []string{fmt.Sprintf("(b%d)", i)}, query(t, pool, `select name from facts`))
	}
}

// A sink that can never copy stops trying. Errors of the rows do not count.
func TestCopy_GivenUp(t *testing.T) {
	t.Parallel()
	pool := setup(t, createFacts, `create function only_arrays() returns trigger language plpgsql as $$
		begin if current_query() like '%copy %' then raise exception 'no copy'; end if; return new; end $$`)
	s := newSink[fact]("facts", false, nil)
	copies := func() bool {
		for _, st := range s.to.statements {
			return st.copier != nil
		}
		return true // the table was not looked up again yet
	}
	for i := range 5 {
		require.Error(t, write(t, pool, s, fact{ID: int64(i)}, fact{ID: int64(i)}))
	}
	require.NoError(t, write(t, pool, s, fact{ID: 10}))
	require.True(t, copies())
	require.Zero(t, s.to.refused.Load())
	_, err := pool.Exec(t.Context(), `create trigger only_arrays before insert on facts for each row execute function only_arrays()`)
	require.NoError(t, err)
	for i := range 5 {
		require.NoError(t, write(t, pool, s, fact{ID: int64(i)}))
	}
	require.False(t, copies())
	require.Equal(t, []string{"(6)"}, query(t, pool, `select count(*) from facts`))
}

// COPY names the row that Postgres rejects. The error is the same as for an insert
// of the row.
func TestCopy_NamesTheRow(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table facts (id bigint primary key, name text not null check (name <> 'no'), cents int)`, `insert into facts values (-7, '', 0)`)
	rows := make([]fact, 3000)
	for _, upsert := range []bool{false, true} {
		for name, tc := range map[string]struct {
			at   int
			bad  fact
			want string
		}{
			"zero byte": {2000, fact{ID: 2000, Name: "\x00"}, "SQLSTATE 22021"},
			"check":     {2999, fact{ID: 2999, Name: "no"}, "SQLSTATE 23514"},
			"first":     {0, fact{ID: 0, Name: "no"}, "SQLSTATE 23514"},
			"key":       {1234, fact{ID: -7, Name: "x"}, "Key (id)=(-7) already exists"},
		} {
			if upsert && name == "key" {
				continue
			}
			for i := range rows {
				rows[i] = fact{ID: int64(i)}
			}
			rows[tc.at] = tc.bad
			s := newSink[fact]("facts", upsert, []string{"id"})
			err := write(t, pool, s, rows...)
			require.ErrorContains(t, err, tc.want, name)
			var row *dataflow.RowError
			require.ErrorAs(t, err, &row, name)
			require.Equal(t, tc.at, row.Row, name)
			for _, st := range s.to.statements {
				require.False(t, st.copier.stale.Load(), "it was the row")
			}
		}
	}
	require.Equal(t, []string{"(1)"}, query(t, pool, `select count(*) from facts`))
	s := newSink[fact]("facts", false, nil)
	err := write(t, pool, s, fact{ID: 1}, fact{ID: 2}, fact{ID: 1})
	require.ErrorContains(t, err, "Key (id)=(1) already exists")
	var named *dataflow.RowError
	require.NotErrorAs(t, err, &named, "each row alone can be written")
}

func TestCopyLine(t *testing.T) {
	t.Parallel()
	for where, want := range map[string]int{
		"":                                      0,
		"COPY t, line 7":                        7,
		`COPY t, line 7, column name: "12"`:     7,
		"COPY t, Zeile 12, Spalte name":         12,
		"COPY my, table, line 9, column x":      9,
		"SQL statement \"select 1\"":            0,
		"PL/pgSQL function f() line 3 at RAISE": 0,
		"PL/pgSQL function f() line 3 at RAISE\nCOPY t, line 4": 4,
	} {
		require.Equal(t, want, copyLine(where), where)
	}
}

// slow is written as JSON. It says when, and takes until the COPY has been cancelled for a while.
type slow struct{ writing *atomic.Bool }

func (s slow) MarshalJSON() ([]byte, error) {
	s.writing.Store(true)
	defer s.writing.Store(false)
	time.Sleep(300 * time.Millisecond)
	return []byte(`{}`), nil
}

// Once a cancelled write has returned, nothing reads its rows, whose memory the engine uses again.
func TestCopy_CancelledReadsNoMore(t *testing.T) {
	t.Parallel()
	type row struct {
		ID int
		At slow
	}
	pool := setup(t, `create table birds (id int primary key, at jsonb)`)
	s := newSink[row]("birds", false, nil)
	s.to.copyFrom = 1
	var writing atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	time.AfterFunc(100*time.Millisecond, cancel)
	store, err := dataflowpgx.New(pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	rows := []row{{1, slow{&writing}}, {2, slow{&writing}}, {3, slow{&writing}}}
	err = inTx(ctx, store, func(ctx context.Context) error { return s.WriteTx(ctx, rows) })
	require.ErrorIs(t, err, context.Canceled)
	for until := time.Now().Add(time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
		require.False(t, writing.Load(), "a row is read after the write has returned")
	}
}

// A COPY that is cancelled while the server is slow to take its rows ends with the context's error,
// and not with that of the connection, which pgx closes.
func TestCopy_CancelledWhileTheServerIsSlow(t *testing.T) {
	t.Parallel()
	type row struct {
		ID   int
		Name string
	}
	pool := setup(t, `create table birds (id int primary key, name text, check (pg_sleep(0.05) is not null))`)
	store, err := dataflowpgx.New(pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	rows := make([]row, 500)
	for i := range rows {
		rows[i] = row{i, strings.Repeat("x", 20_000)}
	}
	s := newSink[row]("birds", false, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err = inTx(ctx, store, func(ctx context.Context) error { return s.WriteTx(ctx, rows) })
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
