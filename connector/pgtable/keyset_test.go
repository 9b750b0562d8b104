package pgtable_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

type event struct {
	At   time.Time
	ID   int64
	Note *string
}

func TestKeyset_CompositeKeyWithTies(t *testing.T) {
	t.Parallel()
	pool := setup(
		t,
		`create table event (id bigint primary key, at timestamptz not null, note text)`,
		`insert into event select n, '2024-01-01 12:00:00.000001+00'::timestamptz + (n / 4) * interval '1 microsecond',
			case when n % 3 = 0 then 'note ' || n end from generate_series(1, 23) n`,
	)
	for size := 1; size <= 25; size++ {
		t.Run("page of "+strconv.Itoa(size), func(t *testing.T) {
			t.Parallel()
			source := pgtable.Keyset[event](pool, pgtable.Query{
				SQL: `select id, at, note from event;`, Key: []string{"at", "id"}, PageSize: size,
			})
			all := readAll(t, source)
			require.Len(t, all, 23)
			for i, it := range all {
				require.Equal(t, int64(i+1), it.Value.ID)
				require.Empty(t, it.Key)
				require.Equal(t, it.Value.Note != nil, it.Value.ID%3 == 0)
			}
			require.Equal(t, "note 3", *all[2].Value.Note)
			require.Equal(t, "(2024-01-01T12:00:00.000002Z, 4)", all[3].Cursor.String())
			resumeEverywhere(t, source)
		})
	}
}

func TestKeyset_PageBoundaries(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	for _, rows := range []int{0, 1, 9, 10, 11, 20, 21} {
		t.Run(strconv.Itoa(rows)+" rows", func(t *testing.T) {
			t.Parallel()
			source := pgtable.Keyset[struct{ N int }](pool, pgtable.Query{
				SQL: `select n from generate_series(1, $1::int) n`, Args: []any{rows}, Key: []string{"n"}, PageSize: 10,
			})
			require.Len(t, readAll(t, source), rows)
			resumeEverywhere(t, source)
		})
	}
}

func TestKeyset_SeesRowsThatWereAdded(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table t (id bigint generated always as identity primary key)`, `insert into t select from generate_series(1, 3)`)
	source := pgtable.Keyset[struct{ ID int64 }](pool, pgtable.Query{SQL: `select id from t`, Key: []string{"id"}})
	first := readAll(t, source)
	require.Len(t, first, 3)
	none, err := read(t, source, first[2].Cursor, -1)
	require.NoError(t, err)
	require.Empty(t, none)

	_, err = pool.Exec(t.Context(), `insert into t select from generate_series(1, 2)`)
	require.NoError(t, err)
	second, err := read(t, source, first[2].Cursor, -1)
	require.NoError(t, err)
	require.Equal(t, []struct{ ID int64 }{{4}, {5}}, values(second))
}

func TestKeyset_ManyRows(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	source := pgtable.Keyset[struct{ N int64 }](pool, pgtable.Query{SQL: `select n from generate_series(1, 10000) n`, Key: []string{"n"}})
	var sum int64
	for _, it := range readAll(t, source) {
		sum += it.Value.N
	}
	require.EqualValues(t, 50_005_000, sum)
}

func TestKeyset_HoldsNothingWhileItYields(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	source := pgtable.Keyset[struct{ N int }](pool, pgtable.Query{SQL: `select n from generate_series(1, 9) n`, Key: []string{"n"}, PageSize: 2})
	for _, err := range source.Read(t.Context(), dataflow.Request[pgtable.Cursor]{}) {
		require.NoError(t, err)
		require.Zero(t, pool.Stat().AcquiredConns())
	}
}

func TestKeyset_RecordsShareNoMemory(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table t (id int primary key, list int[], doc jsonb, bytes bytea, name text)`,
		`insert into t values (1, '{1,2,3}', '{"a":1}', '\x0102', 'x'), (2, '{4}', '{"b":2}', '\x03', null), (3, null, null, null, 'z')`)
	type row struct {
		ID    int
		List  []int
		Doc   map[string]int
		Bytes []byte
		Name  *string
	}
	x, z := "x", "z"
	source := pgtable.Keyset[row](pool, pgtable.Query{SQL: `select id, list, doc, bytes, name from t`, Key: []string{"id"}})
	require.Equal(t, []row{
		{1, []int{1, 2, 3}, map[string]int{"a": 1}, []byte{1, 2}, &x},
		{2, []int{4}, map[string]int{"b": 2}, []byte{3}, nil},
		{3, nil, nil, nil, &z},
	}, values(readAll(t, source)))
}

func TestKeyset_StrangeNames(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create schema "my schema"`,
		`create table "my schema"."or""der" ("select" bigint, "größe 🦆" text, "a.b" int, primary key ("select", "größe 🦆"))`,
		`insert into "my schema"."or""der" values (1, 'o''brien, "x"', 1), (1, 'b\c', 2), (2, 'ünï 🦆', 3)`)
	type row struct {
		Select int64  `db:"select"`
		Size   string `db:"größe 🦆"`
		Dot    int    `db:"a.b"`
	}
	source := pgtable.Keyset[row](pool, pgtable.Query{
		SQL: `select "select", "größe 🦆", "a.b" from "my schema"."or""der" -- all of them`, Key: []string{"select", "größe 🦆"}, PageSize: 1,
	})
	all := readAll(t, source)
	require.Len(t, all, 3)
	require.Equal(t, `(1, "b\\c")`, all[0].Cursor.String())
	require.Equal(t, `(1, "o'brien, \"x\"")`, all[1].Cursor.String())
	require.Equal(t, `(2, ünï 🦆)`, all[2].Cursor.String())
	resumeEverywhere(t, source)
}

func TestKeyset_ArgsKeyNotInRecordAndEmbedding(t *testing.T) {
	t.Parallel()
	type Base struct{ Name string }
	type row struct {
		Base
		HTTPStatus int
		Ignored    string `db:"-"`
		hidden     int
	}
	pool := setup(t)
	source := pgtable.Keyset[row](pool, pgtable.Query{
		SQL:  `select n as id, $2::text || n as name, 200 as http_status from generate_series(1, 10) n where n % $1::int = 0`,
		Args: []any{3, "n"}, Key: []string{"id"}, PageSize: 2,
	})
	require.Equal(t, []row{
		{Base: Base{"n3"}, HTTPStatus: 200},
		{Base: Base{"n6"}, HTTPStatus: 200},
		{Base: Base{"n9"}, HTTPStatus: 200, hidden: 0},
	}, values(readAll(t, source)))
	resumeEverywhere(t, source)
}

func TestKeyset_Count(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	source := pgtable.Keyset[struct{ N int }](pool, pgtable.Query{
		SQL: `select n from generate_series(1, $1::int) n`, Args: []any{7}, Key: []string{"n"}, PageSize: 2,
	})
	counter, ok := source.(dataflow.Counter[pgtable.Cursor])
	require.True(t, ok)
	n, err := counter.Count(t.Context(), dataflow.Request[pgtable.Cursor]{})
	require.NoError(t, err)
	require.EqualValues(t, 7, n)
	n, err = counter.Count(t.Context(), dataflow.Request[pgtable.Cursor]{Resumed: true, From: pgtable.Cursor{"5"}})
	require.NoError(t, err)
	require.EqualValues(t, 2, n)
}

func TestKeyset_BadRowGoesOn(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	type row struct {
		ID int
		V  int16
		W  string
	}
	source := pgtable.Keyset[row](pool, pgtable.Query{
		SQL: `select * from (values (1, 1, 'a'), (2, 70000, 'b'), (3, 3, null), (4, 4, 'd'), (5, 2.5, 'e')) v (id, v, w)`, Key: []string{"id"}, PageSize: 3,
	})
	var good []row
	var bad []string
	for it, err := range source.Read(t.Context(), dataflow.Request[pgtable.Cursor]{}) {
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
	require.Equal(t, []row{{1, 1, "a"}, {4, 4, "d"}}, good)
	require.Equal(t, []string{
		`2: read record 2: column "v": 70000 is greater than maximum value for int16 ("70000" of type numeric): use pgtype.Numeric, or *string for "v"::text`,
		`3: read record 3: column "w": cannot read NULL of type text into string: use *string`,
		`5: read record 5: column "v": cannot convert it to integer ("2.5" of type numeric): use pgtype.Numeric, or *string for "v"::text`,
	}, bad)
}

func TestKeyset_AllQueryModes(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			pool := setupMode(t, mode, nil,
				`create table event (id bigint, at timestamptz, note text)`,
				`insert into event select n, '2024-01-01 12:00+00'::timestamptz + n / 3 * interval '1 hour', 'o''' from generate_series(1, 10) n`)
			source := pgtable.Keyset[event](pool, pgtable.Query{
				SQL: `select id, at, note from event where id <> $1`, Args: []any{5}, Key: []string{"at", "id"}, PageSize: 2,
			})
			require.Len(t, readAll(t, source), 9)
			resumeEverywhere(t, source)
		})
	}
}

func TestKeyset_Cancelled(t *testing.T) {
	t.Parallel()
	pool := setup(t)
	source := pgtable.Keyset[struct{ N int }](pool, pgtable.Query{SQL: `select n from generate_series(1, 9) n`, Key: []string{"n"}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	var last error
	for _, err := range source.Read(ctx, dataflow.Request[pgtable.Cursor]{}) {
		if last = err; err == nil {
			seen++
		}
		cancel()
	}
	require.Equal(t, 1, seen)
	require.ErrorIs(t, last, context.Canceled)

	_, err := collect(source.Read(ctx, dataflow.Request[pgtable.Cursor]{}))
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, pool.Stat().AcquiredConns())
}
