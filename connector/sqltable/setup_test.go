package sqltable_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"iter"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

// setup returns a database with a pool of one connection, in which the statements
// were executed.
func setup(t *testing.T, statements ...string) *sql.DB {
	t.Helper()
	db := dbtest.SQLite(t)
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return db
}

type item[T any] = dataflow.Item[T, sqltable.Cursor]

// read reads up to n items after a cursor. The cursor passes through JSON, as it
// does between runs. A nil cursor is the beginning, and a negative n means all
// items.
func read[T any](t *testing.T, source dataflow.Source[T, sqltable.Cursor], from sqltable.Cursor, n int) ([]item[T], error) {
	t.Helper()
	var r dataflow.Request[sqltable.Cursor]
	if from != nil {
		data, err := json.Marshal(from)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &r.From))
		r.Resumed = true
	}
	var items []item[T]
	for item, err := range source.Read(t.Context(), r) {
		var bad *dataflow.RecordError
		if err != nil && !errors.As(err, &bad) {
			return items, err
		}
		require.True(t, item.Resume)
		items = append(items, item)
		if len(items) == n {
			break
		}
	}
	return items, nil
}

// readAll reads a source to its end.
func readAll[T any](t *testing.T, source dataflow.Source[T, sqltable.Cursor]) []item[T] {
	t.Helper()
	items, err := read(t, source, nil, -1)
	require.NoError(t, err)
	return items
}

func values[T any](items []item[T]) []T {
	var vs []T
	for _, it := range items {
		vs = append(vs, it.Value)
	}
	return vs
}

// resumeEverywhere checks that a read can resume after any row.
func resumeEverywhere[T any](t *testing.T, source dataflow.Source[T, sqltable.Cursor]) {
	t.Helper()
	all := readAll(t, source)
	for i := range all {
		rest, err := read(t, source, all[i].Cursor, -1)
		require.NoError(t, err, "behind %v", all[i].Cursor)
		require.Equal(t, values(all[i+1:]), values(rest), "behind %v", all[i].Cursor)
	}
}

// collect returns the values of a read, up to its first error.
func collect[T any](seq iter.Seq2[item[T], error]) ([]T, error) {
	var vs []T
	for it, err := range seq {
		if err != nil {
			return vs, err
		}
		vs = append(vs, it.Value)
	}
	return vs, nil
}
