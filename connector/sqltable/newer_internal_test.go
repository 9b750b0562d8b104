package sqltable

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

type dated struct {
	ID        int64
	Name      string
	UpdatedAt *time.Time
}

// on returns a time of one day, nil for 0.
func on(hour int) *time.Time {
	if hour == 0 {
		return nil
	}
	return ptr(time.Date(2024, 1, 1, hour, 0, 0, 0, time.UTC))
}

const allDated = `select id || ' ' || name || ' ' || coalesce(cast(substr(updated_at, 12, 2) as integer), 0) from t order by id`

func TestUpsert_OnlyIfNewer(t *testing.T) {
	t.Parallel()
	db := setup(t, `create table t (id integer primary key, name text, updated_at text)`)
	s, err := newSink[dated]("t", true, []string{"id"}).onlyIfNewer("updated_at")
	require.NoError(t, err)
	require.Equal(t, []dataflow.RowResult{written, written}, results(t, db, s, dated{1, "a", on(5)}, dated{2, "b", nil}))
	require.Equal(t, []dataflow.RowResult{redundant}, results(t, db, s, dated{1, "older", on(4)}))
	require.Equal(t, []dataflow.RowResult{redundant, updated, written}, results(t, db, s, dated{1, "older", on(4)}, dated{2, "B", on(1)}, dated{3, "c", on(1)}))
	require.Equal(t, []string{"1 a 5", "2 B 1", "3 c 1"}, query(t, db, allDated))
	require.Equal(t, []dataflow.RowResult{updated, redundant}, results(t, db, s, dated{1, "equal", on(5)}, dated{2, "NULL is the oldest", nil}))
	require.Equal(t, []dataflow.RowResult{redundant, updated}, results(t, db, s, dated{1, "equal", on(5)}, dated{3, "C", on(2)}))
	require.Equal(t, []string{"1 equal 5", "2 B 1", "3 C 2"}, query(t, db, allDated))
	results(t, db, s, dated{1, "second", on(7)}, dated{1, "newest", on(9)}, dated{1, "old", on(6)},
		dated{2, "newest", on(9)}, dated{2, "null", nil}, dated{3, "x", on(3)}, dated{3, "the later of two equal", on(3)},
		dated{4, "newest", on(9)}, dated{4, "old", on(8)}, dated{5, "null", nil}, dated{5, "later null", nil})
	require.Equal(t, []string{"1 newest 9", "2 newest 9", "3 the later of two equal 3", "4 newest 9", "5 later null 0"}, query(t, db, allDated))
	require.NoError(t, write(t, db, s, dated{1, "old", on(8)}, dated{5, "latest null", nil}), "without results")
	require.Equal(t, []string{"1 newest", "5 latest null"}, query(t, db, `select id || ' ' || name from t where id in (1, 5) order by id`))
}

// A time that somebody else has written is compared as a time, whatever its form.
func TestUpsert_OnlyIfNewer_Spellings(t *testing.T) {
	t.Parallel()
	for there, outcome := range map[string]dataflow.RowResult{
		"2024-01-01T05:00:00Z":           updated, // as a text, it sorts after every time of the day
		"2024-01-01T07:00:00Z":           redundant,
		"2024-01-01 07:30:00":            redundant,
		"2024-01-01 07:30:00+02:00":      updated,
		"2024-01-01":                     updated,
		"unknown":                        updated,
		"2024-01-01 06:00:00.000000000Z": updated,
		"2024-01-01 06:00:00.000000001Z": redundant,
	} {
		db := setup(t, `create table t (id integer primary key, name text, updated_at text collate nocase)`)
		_, err := db.ExecContext(t.Context(), `insert into t values (1, 'there', ?)`, there)
		require.NoError(t, err)
		s, err := newSink[dated]("t", true, []string{"id"}).onlyIfNewer("updated_at")
		require.NoError(t, err)
		require.Equal(t, []dataflow.RowResult{redundant}, results(t, db, s, dated{1, "null", nil}), there)
		require.Equal(t, []dataflow.RowResult{outcome}, results(t, db, s, dated{1, "record", on(6)}), there)
		want := map[dataflow.RowResult]string{updated: "record", redundant: "there"}[outcome]
		require.Equal(t, []string{want}, query(t, db, `select name from t`), there)
	}
}

func TestUpsert_OnlyIfNewer_Number(t *testing.T) {
	t.Parallel()
	type row struct {
		ID      int64
		Name    string
		Version int
	}
	db := setup(t, `create table t (id integer primary key, name text, version integer)`)
	s, err := newSink[row]("t", true, []string{"id"}).onlyIfNewer("version")
	require.NoError(t, err)
	require.Equal(t, []dataflow.RowResult{written}, results(t, db, s, row{1, "a", 10}))
	require.Equal(t, []dataflow.RowResult{redundant}, results(t, db, s, row{1, "b", 9}))
	require.Equal(t, []dataflow.RowResult{updated}, results(t, db, s, row{1, "c", 100}))
}

// A column of texts holds a number as a text, and compares it as a number.
func TestUpsert_OnlyIfNewer_NumberAsText(t *testing.T) {
	t.Parallel()
	type row struct {
		ID      int64
		Name    string
		Version sql.NullInt64
		Share   *float64
	}
	version := func(n int64) sql.NullInt64 { return sql.NullInt64{Int64: n, Valid: n > 0} }
	for _, typ := range []string{"text", "varchar(9)", "", "integer", "real", "any"} {
		for _, column := range []string{"version", "share"} {
			db := setup(t, `create table t (id integer primary key, name text, version `+typ+`, share `+typ+`)`)
			s, err := newSink[row]("t", true, []string{"id"}).onlyIfNewer(column)
			require.NoError(t, err)
			of := func(id int64, name string, n int64) row { return row{id, name, version(n), ptr(float64(n) + 0.5)} }
			require.Equal(t, []dataflow.RowResult{written}, results(t, db, s, of(1, "a", 9)), typ)
			require.Equal(t, []dataflow.RowResult{updated}, results(t, db, s, of(1, "b", 10)), typ)
			require.Equal(t, []dataflow.RowResult{redundant}, results(t, db, s, of(1, "c", 9)), typ)
			results(t, db, s, of(2, "newest", 100), of(2, "old", 20))
			require.Equal(t, []string{"b", "newest"}, query(t, db, `select name from t order by id`), typ)
		}
	}
}
