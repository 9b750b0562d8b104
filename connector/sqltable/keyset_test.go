package sqltable_test

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

const series = `with recursive s (n) as (select 1 union all select n + 1 from s where n < ?1) select n from s where n <= ?1`

type event struct {
	At   time.Time
	ID   int64
	Note *string
}

func TestKeyset_CompositeKeyWithTies(t *testing.T) {
	t.Parallel()
	db := setup(
		t,
		`create table event (id integer primary key, at datetime not null, note text)`,
		`with recursive s (n) as (select 1 union all select n + 1 from s where n < 23)
			insert into event select n, '2024-01-01 12:00:00.00000' || (n / 4) || 'Z', case when n % 3 = 0 then 'note ' || n end from s`,
	)
	for size := 1; size <= 25; size++ {
		t.Run("page of "+strconv.Itoa(size), func(t *testing.T) {
			t.Parallel()
			source := sqltable.Keyset[event](db, sqltable.Query{
				SQL: `select id, at, note from event;`, Key: []string{"at", "id"}, PageSize: size,
			})
			all := readAll(t, source)
			require.Len(t, all, 23)
			for i, it := range all {
				require.Equal(t, int64(i+1), it.Value.ID)
				require.Equal(t, time.Date(2024, 1, 1, 12, 0, 0, (i+1)/4*1000, time.UTC), it.Value.At)
				require.Empty(t, it.Key)
				require.Equal(t, it.Value.Note != nil, it.Value.ID%3 == 0)
			}
			require.Equal(t, "note 3", *all[2].Value.Note)
			require.Equal(t, "('2024-01-01 12:00:00.000001Z', 4)", all[3].Cursor.String())
			resumeEverywhere(t, source)
		})
	}
}

func TestKeyset_PageBoundaries(t *testing.T) {
	t.Parallel()
	db := setup(t)
	for _, rows := range []int{0, 1, 9, 10, 11, 20, 21} {
		t.Run(strconv.Itoa(rows)+" rows", func(t *testing.T) {
			t.Parallel()
			source := sqltable.Keyset[struct{ N int }](db, sqltable.Query{SQL: series, Args: []any{rows}, Key: []string{"n"}, PageSize: 10})
			require.Len(t, readAll(t, source), rows)
			resumeEverywhere(t, source)
		})
	}
}

func TestKeyset_ManyRows(t *testing.T) {
	t.Parallel()
	db := setup(t)
	source := sqltable.Keyset[struct{ N int64 }](db, sqltable.Query{SQL: series, Args: []any{10_000}, Key: []string{"n"}})
	var sum int64
	for _, it := range readAll(t, source) {
		sum += it.Value.N
	}
	require.EqualValues(t, 50_005_000, sum)
}

// TestKeyset_OneConnection uses the only connection while the source yields.
func TestKeyset_OneConnection(t *testing.T) {
	t.Parallel()
	db := setup(t, `create table t (id integer primary key)`)
	require.Equal(t, 1, db.Stats().MaxOpenConnections)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	source := sqltable.Keyset[struct{ N int }](db, sqltable.Query{SQL: series, Args: []any{9}, Key: []string{"n"}, PageSize: 2})
	for item, err := range source.Read(ctx, dataflow.Request[sqltable.Cursor]{}) {
		require.NoError(t, err)
		require.Zero(t, db.Stats().InUse)
		_, err = db.ExecContext(ctx, `insert into t values (?)`, item.Value.N)
		require.NoError(t, err)
	}
}

func TestKeyset_SeesRowsThatWereAdded(t *testing.T) {
	t.Parallel()
	db := setup(t, `create table t (id integer primary key)`, `insert into t values (1), (2), (3)`)
	source := sqltable.Keyset[struct{ ID int64 }](db, sqltable.Query{SQL: `select id from t`, Key: []string{"id"}})
	first := readAll(t, source)
	require.Len(t, first, 3)
	none, err := read(t, source, first[2].Cursor, -1)
	require.NoError(t, err)
	require.Empty(t, none)
	_, err = db.ExecContext(t.Context(), `insert into t values (4), (5)`)
	require.NoError(t, err)
	second, err := read(t, source, first[2].Cursor, -1)
	require.NoError(t, err)
	require.Equal(t, []struct{ ID int64 }{{4}, {5}}, values(second))
}

func TestKeyset_StrangeNames(t *testing.T) {
	t.Parallel()
	db := setup(t,
		`create table "or""der" ("select" integer, "größe 🦆" text, "a.b" int, primary key ("select", "größe 🦆"))`,
		`insert into "or""der" values (1, 'o''brien, "x"', 1), (1, 'b\c', 2), (2, 'ünï 🦆', 3)`)
	type row struct {
		Select int64  `db:"select"`
		Size   string `db:"größe 🦆"`
		Dot    int    `db:"a.b"`
	}
	source := sqltable.Keyset[row](db, sqltable.Query{
		SQL: `select "select", "größe 🦆", "a.b" from "or""der" -- all of them`, Key: []string{"select", "größe 🦆"}, PageSize: 1,
	})
	all := readAll(t, source)
	require.Len(t, all, 3)
	require.Equal(t, `(1, 'b\c')`, all[0].Cursor.String())
	require.Equal(t, `(1, 'o''brien, "x"')`, all[1].Cursor.String())
	require.Equal(t, `(2, 'ünï 🦆')`, all[2].Cursor.String())
	resumeEverywhere(t, source)
}

func TestKeyset_ArgsKeyNotInRecordAndEmbedding(t *testing.T) {
	t.Parallel()
	type Base struct{ Name string }
	type row struct {
		Base
		HTTPStatus int
		Ignored    string `db:"-"`
	}
	db := setup(t)
	want := []row{{Base: Base{"n3"}, HTTPStatus: 200}, {Base: Base{"n6"}, HTTPStatus: 200}, {Base: Base{"n9"}, HTTPStatus: 200}}
	for sql, args := range map[string][]any{
		`select n as id, ?2 || n as name, 200 as http_status from (` + series + `) where n % ?3 = 0`:                            {10, "n", 3},
		`select column1 as id, ? || column1 as name, 200 as http_status from (values (3), (4), (9), (6)) where column1 % ? = 0`: {"n", 3},
	} {
		source := sqltable.Keyset[row](db, sqltable.Query{SQL: sql, Args: args, Key: []string{"id"}, PageSize: 2})
		require.Equal(t, want, values(readAll(t, source)))
		resumeEverywhere(t, source)
	}
}

func TestKeyset_Count(t *testing.T) {
	t.Parallel()
	source := sqltable.Keyset[struct{ N int }](setup(t), sqltable.Query{SQL: series, Args: []any{7}, Key: []string{"n"}, PageSize: 2})
	counter, ok := source.(dataflow.Counter[sqltable.Cursor])
	require.True(t, ok)
	n, err := counter.Count(t.Context(), dataflow.Request[sqltable.Cursor]{})
	require.NoError(t, err)
	require.EqualValues(t, 7, n)
	n, err = counter.Count(t.Context(), dataflow.Request[sqltable.Cursor]{Resumed: true, From: sqltable.Cursor{"5"}})
	require.NoError(t, err)
	require.EqualValues(t, 2, n)
}

func TestKeyset_BadRowGoesOn(t *testing.T) {
	t.Parallel()
	type row struct {
		ID int
		V  int16
		W  string
		At time.Time
	}
	source := sqltable.Keyset[row](setup(t), sqltable.Query{
		SQL: `select column1 as id, column2 as v, column3 as w, column4 as at from (values
			(1, 1, 'a', '2024-01-01'), (2, 70000, 'b', '2024-01-01'), (3, 3, null, '2024-01-01'), (4, 4, 'd', 'soon'), (5, 5, 'e', 17), (6, 6, 'f', null), (7, 7, 'g', '2024-01-01'))`,
		Key: []string{"id"}, PageSize: 3,
	})
	var good []row
	var bad []string
	for it, err := range source.Read(t.Context(), dataflow.Request[sqltable.Cursor]{}) {
		require.True(t, it.Resume)
		var re *dataflow.RecordError
		if errors.As(err, &re) {
			require.Equal(t, row{}, it.Value)
			bad = append(bad, it.Cursor.String()+": "+re.Error())
			continue
		}
		require.NoError(t, err)
		good = append(good, it.Value)
	}
	day := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	require.Equal(t, []row{{1, 1, "a", day}, {7, 7, "g", day}}, good)
	require.Equal(t, []string{
		`2: read record 2: sql: Scan error on column index 1, name "v": converting driver.Value type int64 ("70000") to a int16: value out of range`,
		`3: read record 3: sql: Scan error on column index 2, name "w": converting NULL to string is unsupported`,
		`4: read record 4: column "at": "soon" is not a time`,
		`5: read record 5: column "at": 17 is a int64, not a time as text`,
		`6: read record 6: column "at": converting NULL to a time.Time is unsupported`,
	}, bad)
}

func TestKeyset_Cancelled(t *testing.T) {
	t.Parallel()
	db := setup(t)
	source := sqltable.Keyset[struct{ N int }](db, sqltable.Query{SQL: series, Args: []any{9}, Key: []string{"n"}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	var last error
	for _, err := range source.Read(ctx, dataflow.Request[sqltable.Cursor]{}) {
		if last = err; err == nil {
			seen++
		}
		cancel()
	}
	require.Equal(t, 1, seen)
	require.ErrorIs(t, last, context.Canceled)

	_, err := collect(source.Read(ctx, dataflow.Request[sqltable.Cursor]{}))
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, db.Stats().InUse)
}

// TestKeyset_KeyTypes reads by keys of each storage class, in columns of each
// affinity, through drivers with each of their settings.
func TestKeyset_KeyTypes(t *testing.T) {
	t.Parallel()
	path := dbtest.SQLitePath(t)
	plain := dbtest.OpenSQLite(t, path)
	var dbs []*sql.DB
	for _, settings := range []string{"", "?_texttotime=1&_inttotime=1", "?_time_format=sqlite&_timezone=Europe/Berlin", "?_time_integer_format=unix_milli&_inttotime=1"} {
		db, err := sql.Open("sqlite", "file:"+path+settings)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		db.SetMaxOpenConns(1)
		dbs = append(dbs, db)
	}
	for i, kt := range []struct {
		typ    string
		values []any
		first  string
	}{
		{"integer primary key", []any{math.MinInt64, -9007199254740993, 9007199254740992, 9007199254740993, 9007199254740994, math.MaxInt64}, "-9223372036854775808"},
		{"integer", []any{1, 1.5, 2, "abc", []byte{0}}, "1"},
		{"real", []any{math.Inf(-1), -1e300, 0.1, 0.30000000000000004, 1, 9007199254740993, 1e300, math.Inf(1)}, "-Inf"},
		{"numeric", []any{-1, 0.5, 9007199254740993, "12x", []byte("x")}, "-1"},
		{"text", []any{"", "'", "''", "'a'", "0.5", "1", "a", "a\x00b", "t", "x'00'", "ünï", "🦆", "\xff\xfe"}, "''"},
		{"text collate nocase", []any{"a", "B", "c"}, "'a'"},
		{"blob", []any{-5, 2.5, "text", []byte{}, []byte{0, 255}, []byte("texu")}, "-5"},
		{"", []any{-5, 2.5, "text", []byte{}, []byte{0, 255}, []byte("texu")}, "-5"},
		{"datetime", []any{17, "2024-01-01", "2024-01-01 00:00:00", "2024-01-01 00:00:00.000000001", "soon"}, "17"},
		{"timestamp", []any{1704067200, 1704067200000, "2024-01-01 00:00:00 +0000 UTC", "2024-01-01 00:00:00.1 +0000 UTC"}, "1704067200"},
		{"date", []any{"2024-01-01", "2024-01-02"}, "'2024-01-01'"},
		{"boolean", []any{false, true}, "0"},
	} {
		t.Run(kt.typ, func(t *testing.T) {
			t.Parallel()
			table := "t" + strconv.Itoa(i)
			_, err := plain.ExecContext(t.Context(), `create table `+table+` (k `+kt.typ+` unique, n int)`)
			require.NoError(t, err)
			for n, v := range kt.values {
				_, err := plain.ExecContext(t.Context(), `insert into `+table+` values (?, ?)`, v, n)
				require.NoError(t, err)
			}
			query := sqltable.Query{SQL: `select k, n from ` + table, Key: []string{"k"}, PageSize: 2}
			reference := readAll(t, sqltable.Keyset[struct{ N int }](plain, query))
			require.Equal(t, sqltable.Cursor{kt.first}, reference[0].Cursor)
			for _, db := range dbs {
				source := sqltable.Keyset[struct{ N int }](db, query)
				all := readAll(t, source)
				require.Equal(t, reference, all)
				for n := range kt.values {
					require.Equal(t, n, all[n].Value.N)
				}
				resumeEverywhere(t, source)
				query.SQL = `select k, n from (select k || '' as k, n from ` + table + `)` // no affinity
				resumeEverywhere(t, sqltable.Keyset[struct{ N int }](db, query))
				query.SQL = `select k, n from ` + table
			}
		})
	}
}

// A whole number that a float64 or a float32 cannot hold is a bad record. Other values are read as before.
func TestKeyset_WholeNumberInFloat(t *testing.T) {
	t.Parallel()
	type float float64
	type row struct {
		ID int64
		D  float64
		S  float32
		P  **float
		N  sql.NullFloat64
		V  sql.Null[float32]
	}
	db := setup(t, `create table x (id integer primary key, d, s, p, n, v)`,
		`insert into x values (1, 9007199254740992, 16777216, 9007199254740994, 0.1, '1.5'), (2, 1.5, 0.1, null, null, null)`)
	source := func(list string) dataflow.Source[row, sqltable.Cursor] {
		return sqltable.Keyset[row](db, sqltable.Query{SQL: "select " + list + " from x", Key: []string{"id"}})
	}
	great := float(1<<53 + 2)
	at := &great
	require.Equal(t, []row{
		{1, 1 << 53, 1 << 24, &at, sql.NullFloat64{Float64: 0.1, Valid: true}, sql.Null[float32]{V: 1.5, Valid: true}},
		{ID: 2, D: 1.5, S: 0.1},
	}, values(readAll(t, source("*"))))
	const list = "id, 1 as d, 1 as s, 1 as p, 1 as n, 1 as v"
	for column, number := range map[string]string{"d": "9007199254740993", "s": "16777217", "p": "9007199254740993", "n": "-9223372036854775807", "v": "33554433"} {
		for item, err := range source(strings.Replace(list, "1 as "+column, number+" as "+column, 1)).Read(t.Context(), dataflow.Request[sqltable.Cursor]{}) {
			require.ErrorContains(t, err, "the whole number "+number+" would be read as ", column)
			require.ErrorContains(t, err, `"`+column+`"`)
			require.NotEmpty(t, item.Cursor)
		}
	}
}

// cents is a floating-point type that reads whole numbers in its own way.
type cents float64

func (c *cents) Scan(src any) error {
	n, _ := src.(int64)
	*c = cents(n) / 100
	return nil
}

// The Scan method of a floating-point type is called also if the field is a pointer.
func TestKeyset_FloatWithScan(t *testing.T) {
	t.Parallel()
	type row struct {
		ID int64
		C  cents
		P  *cents
	}
	db := setup(t, `create table x (id integer primary key, c, p)`, `insert into x values (1, 250, 250), (2, 9007199254740993, null)`)
	price := cents(2.5)
	want := []row{{1, price, &price}, {2, cents(9007199254740993) / 100, nil}}
	require.Equal(t, want, values(readAll(t, sqltable.Keyset[row](db, sqltable.Query{SQL: "select * from x", Key: []string{"id"}}))))
}
