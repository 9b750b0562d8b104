package sqltable

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

const (
	written   = dataflow.RowWritten
	updated   = dataflow.RowUpdated
	redundant = dataflow.RowRedundant
)

// results writes rows and returns their outcomes.
func results[T any](t *testing.T, db *sql.DB, s *sink[T], rows ...T) []dataflow.RowResult {
	t.Helper()
	got := make([]dataflow.RowResult, len(rows))
	require.NoError(t, storeOf(t, db).InTx(t.Context(), func(ctx context.Context, _ dataflow.Tx) error {
		return upsertSink[T]{s}.WriteResultTx(ctx, rows, got)
	}))
	return got
}

func TestUpsert_Results(t *testing.T) {
	t.Parallel()
	db := setup(t, createFacts, `create table change (id integer)`,
		`create trigger noted after update on facts begin insert into change values (new.id); end`)
	s := newSink[fact]("facts", true, []string{"id"})
	require.Equal(t, []dataflow.RowResult{written, written}, results(t, db, s, fact{1, "a", nil}, fact{2, "b", ptr(int32(2))}))
	require.Equal(t, []dataflow.RowResult{redundant, redundant}, results(t, db, s, fact{2, "b", ptr(int32(2))}, fact{1, "a", nil}))
	require.Equal(t, []dataflow.RowResult{updated, redundant, written},
		results(t, db, s, fact{1, "A", ptr(int32(0))}, fact{2, "b", ptr(int32(2))}, fact{3, "c", nil}))
	require.Equal(t, []string{"1"}, query(t, db, `select id from change`), "what is redundant was not written")
	require.Equal(t, []string{"1 A 0", "2 b 2", "3 c null"}, query(t, db, factsQuery))
	results(t, db, s, fact{3, "other", nil}, fact{3, "c", nil})
	require.Equal(t, []string{"1 A 0", "2 b 2", "3 c null"}, query(t, db, factsQuery), "the last counts, also if it is what was there before the batch")
}

// Values are compared as they are stored: in the column's type, and byte by byte.
func TestUpsert_Results_Exact(t *testing.T) {
	t.Parallel()
	db := setup(t, `create table t (id integer primary key, name text collate nocase, amount real, digits text, data blob) strict`,
		`create table codes (code text collate nocase primary key, v integer)`)
	type row struct {
		ID     int
		Name   string
		Amount int
		Digits string
		Data   []byte
	}
	first := row{1, "ann", 3, "07", []byte{0}}
	s := newSink[row]("t", true, []string{"id"})
	require.Equal(t, []dataflow.RowResult{written}, results(t, db, s, first))
	require.Equal(t, []dataflow.RowResult{redundant}, results(t, db, s, first))
	for name, change := range map[string]func(*row){
		"collation": func(r *row) { r.Name = "ANN" },
		"number":    func(r *row) { r.Amount = 4 },
		"text":      func(r *row) { r.Digits = "7" },
		"blob":      func(r *row) { r.Data = []byte{0, 0} },
	} {
		changed := first
		change(&changed)
		require.Equal(t, []dataflow.RowResult{updated}, results(t, db, s, changed), name)
		require.Equal(t, []dataflow.RowResult{redundant}, results(t, db, s, changed), name)
		require.Equal(t, []dataflow.RowResult{updated}, results(t, db, s, first), name)
	}
	type code struct {
		Code string
		V    int
	}
	codes := newSink[code]("codes", true, []string{"code"})
	require.Equal(t, []dataflow.RowResult{written}, results(t, db, codes, code{"a", 1}))
	require.Equal(t, []dataflow.RowResult{redundant}, results(t, db, codes, code{"A", 1}), "the index takes the keys for equal")
}

// What a trigger or a constraint of the table drops without an error counts as if it had been written.
func TestUpsert_Results_Dropped(t *testing.T) {
	t.Parallel()
	db := setup(t, `create table facts (id integer primary key, name text not null on conflict ignore, cents integer)`,
		`create trigger dropping before insert on facts when new.name = 'dropped' begin select raise(ignore); end`,
		`create trigger keeping before update on facts when new.name = 'kept' begin select raise(ignore); end`)
	type maybe struct {
		ID   int64
		Name *string
	}
	s := newSink[maybe]("facts", true, []string{"id"})
	require.Equal(t, []dataflow.RowResult{written, written, written},
		results(t, db, s, maybe{1, ptr("a")}, maybe{2, ptr("dropped")}, maybe{3, nil}))
	require.Equal(t, []dataflow.RowResult{updated}, results(t, db, s, maybe{1, ptr("kept")}))
	require.Equal(t, []string{"1 a"}, query(t, db, `select id || ' ' || name from facts`))
}

// A batch may need more than one statement.
func TestUpsert_Results_Chunks(t *testing.T) {
	t.Parallel()
	db := setup(t, createFacts)
	s := newSink[fact]("facts", true, []string{"id"})
	rows := make([]fact, 2*maxChunk+7)
	for i := range rows {
		rows[i] = fact{ID: int64(i), Name: "a"}
	}
	require.NotContains(t, results(t, db, s, rows...), redundant)
	rows[maxChunk].Name, rows[len(rows)-1].Name = "b", "b"
	for i, r := range results(t, db, s, rows...) {
		want := redundant
		if i == maxChunk || i == len(rows)-1 {
			want = updated
		}
		require.Equal(t, want, r, i)
	}
	require.Equal(t, []string{"2"}, query(t, db, `select count(*) from facts where name = 'b'`))
}
