package pgtable

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

func TestSink_Validate(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		sink dataflow.Validator
		want string
	}{
		"no table":         {newSink[fact]("", false, nil), `table: it is empty or has an empty part: use "table" or "schema.table"`},
		"empty part":       {newSink[fact]("a.", false, nil), `table: it is empty or has an empty part: use "table" or "schema.table"`},
		"three parts":      {newSink[fact]("a.b.c", false, nil), `table: a.b.c has 3 parts: use "table" or "schema.table"; put a name with a dot in double quotes`},
		"open quote":       {newSink[fact](`"a`, false, nil), `table: "a has a double quote that is not closed: close it`},
		"behind quote":     {newSink[fact](`"a"b`, false, nil), `table: "a"b has text after a closing quote: separate the parts with a dot`},
		"zero byte":        {newSink[fact]("a\x00b", false, nil), `table: "a\x00b" cannot be the name of a table: remove zero bytes and invalid UTF-8`},
		"no struct":        {newSink[map[string]any]("t", false, nil), `T: map[string]interface {} is not a struct: use a struct with a field for each column`},
		"no fields":        {newSink[struct{ a int }]("t", false, nil), `T: struct { a int } has no exported fields: add one for each column`},
		"no key":           {newSink[fact]("t", true, nil), `key: it is empty: name the columns that identify a row`},
		"key not in T":     {newSink[fact]("t", true, []string{"ID"}), `key: "ID" is not a column of pgtable.fact: its columns are id, name, cents`},
		"key twice":        {newSink[fact]("t", true, []string{"id", "id"}), `key: column "id" is named twice`},
		"embedded pointer": {newSink[struct{ *fact }]("t", false, nil), "T: field fact of struct { *pgtable.fact } embeds a pointer: embed pgtable.fact itself, or leave it out with `db:\"-\"`"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tc.sink.Validate()
			require.EqualError(t, err, tc.want)
			var ce *dataflow.ConfigError
			require.ErrorAs(t, err, &ce)
		})
	}
	require.Implements(t, (*dataflow.AppendOnly)(nil), newSink[fact]("t", false, nil))
	require.EqualError(t, newSink[fact]("", true, nil).WriteTx(t.Context(), nil), newSink[fact]("", true, nil).Validate().Error())
}

func TestSink_Describe(t *testing.T) {
	t.Parallel()
	require.Equal(t, dataflow.Description{Type: "pgtable.insert", Detail: map[string]any{"table": "a.b"}}, Insert[fact]("a.b").Describe())
	require.Equal(t, dataflow.Description{Type: "pgtable.upsert", Detail: map[string]any{"table": "t", "key": []string{"id"}}}, Upsert[fact]("t", "id").Describe())
	require.Equal(t, dataflow.ExactlyOnce, Insert[fact]("t").Guarantee())
	require.Equal(t, dataflow.ExactlyOnce, Upsert[fact]("t", "id").Guarantee())
}

func TestSink_NoTransaction(t *testing.T) {
	t.Parallel()
	err := newSink[fact]("facts", false, nil).WriteTx(t.Context(), []fact{{}})
	require.ErrorIs(t, err, dataflow.ErrTxMismatch)
	require.EqualError(t, err, "pgtable needs a client on Postgres to write to table facts in its transaction (use package sqltable with SQLite): transaction of another database")
}

func TestSink_TableDoesNotFit(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table "Facts" (id bigint, "Name" text, extra int, gone int)`, `alter table "Facts" drop gone`, `create table keyless (id bigint, name text, cents int)`,
		`create table parts (id bigint, name text, cents int) partition by list (cents)`)
	for name, tc := range map[string]struct {
		sink *sink[fact]
		want string
	}{
		"no table":   {newSink[fact]("facts", false, nil), `table facts: there is no table "facts" in this database, or the search path does not lead to it: create it, or qualify its name with a schema`},
		"no schema":  {newSink[fact]("x.Facts", false, nil), `table x.Facts: there is no table "x"."Facts" in this database, or the search path does not lead to it: create it, or qualify its name with a schema`},
		"no columns": {newSink[fact]("Facts", false, nil), `table Facts: the table has no column "name" (field Name), "cents" (field Cents); its columns are "id", "Name", "extra"`},
		"no index": {
			newSink[fact]("keyless", true, []string{"id", "name"}),
			`table keyless: the table has no unique index of exactly the key columns ("id", "name"): create unique index concurrently on "keyless" ("id", "name"): ` +
				`ERROR: there is no unique or exclusion constraint matching the ON CONFLICT specification (SQLSTATE 42P10)`,
		},
		"no index of a partitioned table": {
			newSink[fact]("parts", true, []string{"id"}),
			`table parts: the table has no unique index of exactly the key columns ("id"), among which the columns that partition the table must be: create unique index on "parts" ("id"): ` +
				`ERROR: there is no unique or exclusion constraint matching the ON CONFLICT specification (SQLSTATE 42P10)`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.EqualError(t, write(t, pool, tc.sink, fact{}), tc.want)
		})
	}
}

func TestSink_BadValues(t *testing.T) {
	t.Parallel()
	type row struct {
		ID  *int64
		N   int64
		U   uint64
		S   string
		D   float64
		Num string
	}
	good := row{ID: ptr(int64(1)), S: "s", Num: "1"}
	pool := setup(t, `create table t (id bigint primary key, n int not null check (n > -5), u bigint, s varchar(3), d real, num numeric(4, 2))`,
		`create table u (id bigint primary key, n text, u bigint, s text, d real, num numeric)`,
		`create table v (id bigint primary key, n smallint, u bigint, s text not null, d real, num numeric)`)
	for name, tc := range map[string]struct {
		table  string
		change func(*row)
		want   string
		code   string
	}{
		"too great":      {"t", func(r *row) { r.N = math.MaxInt32 + 1 }, `table t: write record row 2 of the batch: column "n" (field N): 2147483648 is greater than the column's maximum 2147483647`, ""},
		"too small":      {"v", func(r *row) { r.N = math.MinInt16 - 1 }, `table v: write record row 2 of the batch: column "n" (field N): -32769 is less than the column's minimum -32768`, ""},
		"unsigned":       {"t", func(r *row) { r.U = math.MaxUint64 }, `table t: write record row 2 of the batch: column "u" (field U): 18446744073709551615 is greater than the column's maximum 9223372036854775807`, ""},
		"null key":       {"t", func(r *row) { r.ID = nil }, `table t: write record row 2 of the batch: column "id" (field ID): a key must not be NULL`, ""},
		"too long":       {"t", func(r *row) { r.S = "long" }, `table t: ERROR: value too long for type character varying(3) (SQLSTATE 22001)`, "22001"},
		"check":          {"t", func(r *row) { r.N = -6 }, `table t: ERROR: new row for relation "t" violates check constraint "t_n_check" (SQLSTATE 23514)`, "23514"},
		"overflow":       {"t", func(r *row) { r.Num = "100" }, `table t: ERROR: numeric field overflow (SQLSTATE 22003): A field with precision 4, scale 2 must round to an absolute value less than 10^2.`, "22003"},
		"float overflow": {"t", func(r *row) { r.D = 1e300 }, `table t: write record row 2 of the batch: column "d" (field D): 1e+300 does not fit the type real: make the column double precision or numeric`, ""},
		"bad number":     {"t", func(r *row) { r.Num = "x" }, `table t: ERROR: invalid input syntax for type numeric: "x" (SQLSTATE 22P02)`, "22P02"},
		"zero byte":      {"t", func(r *row) { r.S = "\x00" }, `table t: column "s" (field S): cannot write "\x00" to type character varying: use a text of valid UTF-8 without zero bytes, or a bytea column: ERROR: invalid byte sequence for encoding "UTF8": 0x00 (SQLSTATE 22021)`, "22021"},
		"wrong type": {
			"u", func(*row) {}, `table u: write record row 1 of the batch: column "n" (field N): cannot write int64 "0" to type text: cannot find encode plan: use *string, or a string`, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := good
			bad.ID = ptr(int64(2))
			tc.change(&bad)
			err := write(t, pool, newSink[row](tc.table, true, []string{"id"}), good, bad)
			require.EqualError(t, err, tc.want)
			var pg *pgconn.PgError
			require.Equal(t, tc.code != "", errors.As(err, &pg))
			if pg != nil {
				require.Equal(t, tc.code, pg.Code)
			}
		})
	}
	type nullable struct {
		ID int64
		S  *string
	}
	err := write(t, pool, newSink[nullable]("v", false, nil), nullable{1, nil})
	require.EqualError(t, err, `table v: ERROR: null value in column "s" of relation "v" violates not-null constraint (SQLSTATE 23502)`)
}

func TestSink_AlteredTable(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table facts (id smallint primary key, name text, cents int)`)
	s := newSink[fact]("facts", true, []string{"id"})
	require.NoError(t, write(t, pool, s, fact{ID: 1}))
	_, err := pool.Exec(t.Context(), `alter table facts alter id type bigint, drop cents, add cents numeric`)
	require.NoError(t, err)
	require.NoError(t, write(t, pool, s, fact{ID: 2}))
	_, err = pool.Exec(t.Context(), `alter table facts drop cents`)
	require.NoError(t, err)
	require.Error(t, write(t, pool, s, fact{ID: 3}))
	require.EqualError(t, write(t, pool, s, fact{ID: 3}), `table facts: the table has no column "cents" (field Cents); its columns are "id", "name"`)
	_, err = pool.Exec(t.Context(), `alter table facts add cents int`)
	require.NoError(t, err)
	require.NoError(t, write(t, pool, s, fact{ID: math.MaxInt64, Cents: ptr(int32(5))}))
}

func TestSink_TwoDatabases(t *testing.T) {
	t.Parallel()
	one := setup(t, `create table facts (id bigint primary key, name text, cents int)`)
	two := setup(t, `create table facts (cents text, id numeric primary key, name varchar(9))`)
	s := newSink[struct {
		ID   int64
		Name string
	}]("facts", true, []string{"id"})
	for _, pool := range []*pgxpool.Pool{one, two, one} {
		require.NoError(t, write(t, pool, s, struct {
			ID   int64
			Name string
		}{1, "x"}))
		require.Equal(t, []string{"(1,x)"}, query(t, pool, `select id, name from facts`))
	}
}

func TestSink_Cancelled(t *testing.T) {
	t.Parallel()
	pool := setup(t, createFacts)
	store, err := dataflowpgx.New(pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	s := newSink[fact]("facts", false, nil)
	err = store.InTx(t.Context(), func(ctx context.Context, _ dataflow.Tx) error {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return s.WriteTx(ctx, []fact{{ID: 1}})
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"(0)"}, query(t, pool, `select count(*) from facts`))
}

func TestSink_ConcurrentUpsertsDoNotDeadlock(t *testing.T) {
	t.Parallel()
	pool := setup(t, createFacts)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	up, down := make([]fact, 500), make([]fact, 500)
	for i := range up {
		up[i], down[len(up)-1-i] = fact{ID: int64(i)}, fact{ID: int64(i)}
	}
	store, err := dataflowpgx.New(pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	s := newSink[fact]("facts", true, []string{"id"})
	errs := make(chan error)
	for _, rows := range [][]fact{up, down, up, down} {
		go func() {
			var err error
			for range 10 {
				err = errors.Join(err, store.InTx(ctx, func(ctx context.Context, _ dataflow.Tx) error { return s.WriteTx(ctx, rows) }))
			}
			errs <- err
		}()
	}
	for range 4 {
		require.NoError(t, <-errs)
	}
}

// Each batch of a transaction is written once, even if a batch before it has
// failed.
func TestUpsert_AfterFailure(t *testing.T) {
	t.Parallel()
	pool := setup(t, createFacts)
	store, err := dataflowpgx.New(pool).Store(dataflow.StoreOptions{})
	require.NoError(t, err)
	batch := func(n int, name string) []fact {
		rows := make([]fact, n)
		for i := range rows {
			rows[i] = fact{ID: int64(n - i), Name: name} // in descending order, so that the server must sort
		}
		return rows
	}
	s := reporting(newSink[fact]("facts", true, []string{"id"}))
	require.NoError(t, store.InTx(t.Context(), func(ctx context.Context, tx dataflow.Tx) error {
		write := func(rows []fact) error {
			return store.Savepoint(ctx, tx, func() error { return s.WriteResultTx(ctx, rows, make([]dataflow.RowResult, len(rows))) })
		}
		require.NoError(t, write(batch(300, "first")))
		require.NoError(t, write(batch(300, "second"))) // from here on through the temporary table
		require.Error(t, write(batch(200, "\x00")))
		require.NoError(t, write(batch(100, "third")))
		return nil
	}))
	require.Equal(t, []string{"(second,200)", "(third,100)"}, query(t, pool, `select name, count(*) from facts group by name order by name`))
}

// Where Postgres cannot upsert, the error says what can be done.
func TestUpsert_NoArbiter(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table late (id bigint primary key deferrable, name text, cents int)`, `create materialized view seen as select 1::bigint as id, ''::text as name, 0 as cents`)
	for _, copyFrom := range ways {
		for table, want := range map[string]string{
			"late": `the unique constraint of the key ("id") is deferrable, by which Postgres cannot upsert: make it not deferrable, or put a unique index of the same columns in its place`,
			"seen": `it is a materialized view, whose rows only "refresh materialized view" changes: write to a table`,
		} {
			s := newSink[fact](table, true, []string{"id"})
			s.to.copyFrom = copyFrom
			err := inTransaction(t, pool, func(ctx context.Context) error {
				return s.WriteTx(ctx, []fact{{1, "a", nil}, {1, "b", nil}})
			})
			require.ErrorContains(t, err, "table "+table+": "+want)
		}
	}
}

// An amount of money whose text was made by another locale is refused by the setting's name. A text that is none in
// any locale raises the same error, so that it does not claim which of the two it is.
func TestInsert_MoneyOfAnotherLocale(t *testing.T) {
	t.Parallel()
	type priced struct{ Price string }
	pool := setup(t, `create table priced (price money)`)
	for _, copyFrom := range ways {
		s := newSink[priced]("priced", false, nil)
		s.to.copyFrom = copyFrom
		err := inTransaction(t, pool, func(ctx context.Context) error { return s.WriteTx(ctx, []priced{{"1.212,50 €"}}) })
		require.ErrorContains(t, err, "table priced: this session, by its lc_monetary, reads no amount of money from a text: if the text was made in a session of another lc_monetary, alter the columns to numeric: ")
	}
}
