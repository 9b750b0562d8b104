//go:build unix

package mysqltest

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

type item[T any] = dataflow.Item[T, sqltable.Cursor]

// read reads after a cursor. The cursor passes through JSON, as it does between
// runs. A nil cursor is the beginning.
func read[T any](t *testing.T, source dataflow.Source[T, sqltable.Cursor], from sqltable.Cursor) ([]item[T], error) {
	t.Helper()
	var r dataflow.Request[sqltable.Cursor]
	if from != nil {
		data, err := json.Marshal(from)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &r.From))
		r.Resumed = true
		require.NoError(t, source.(dataflow.RequestChecker[sqltable.Cursor]).CheckRequest(r))
	}
	return readRequest(t, source, r)
}

func readRequest[T any](t *testing.T, source dataflow.Source[T, sqltable.Cursor], r dataflow.Request[sqltable.Cursor]) ([]item[T], error) {
	t.Helper()
	var items []item[T]
	for it, err := range source.Read(t.Context(), r) {
		var bad *dataflow.RecordError
		if err != nil && !errors.As(err, &bad) {
			return items, err
		}
		items = append(items, it)
	}
	return items, nil
}

func readAll[T any](t *testing.T, source dataflow.Source[T, sqltable.Cursor]) []item[T] {
	t.Helper()
	items, err := read(t, source, nil)
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

// requireParts requires that the parts of a source together are the whole.
func requireParts[T any](t *testing.T, source dataflow.Source[T, sqltable.Cursor], n int) {
	t.Helper()
	whole := readAll(t, source)
	cursors, err := source.(dataflow.Splitter[sqltable.Cursor]).Split(t.Context(), dataflow.Request[sqltable.Cursor]{}, n)
	require.NoError(t, err)
	require.Len(t, cursors, min(n, len(whole))-1)
	var joined []item[T]
	for i := range len(cursors) + 1 {
		var r dataflow.Request[sqltable.Cursor]
		if i > 0 {
			r.Resumed, r.From = true, cursors[i-1]
		}
		if i < len(cursors) {
			r.Bounded, r.Until = true, cursors[i]
			within, err := source.(dataflow.Splitter[sqltable.Cursor]).Split(t.Context(), r, 1000)
			require.NoError(t, err)
			part, err := source.(dataflow.Counter[sqltable.Cursor]).Count(t.Context(), r)
			require.NoError(t, err)
			require.Len(t, within, int(part)-1, "a part of it is split too")
		}
		rows, err := readRequest(t, source, r)
		require.NoError(t, err)
		joined = append(joined, rows...)
	}
	require.Equal(t, whole, joined)
}

// resumeEverywhere checks that a read can resume after any row, and end at any row.
func resumeEverywhere[T any](t *testing.T, source dataflow.Source[T, sqltable.Cursor]) {
	t.Helper()
	all := readAll(t, source)
	for i := range all {
		rest, err := read(t, source, all[i].Cursor)
		require.NoError(t, err, "behind %v", all[i].Cursor)
		require.Equal(t, values(all[i+1:]), values(rest), "behind %v", all[i].Cursor)
		upTo, err := readRequest(t, source, dataflow.Request[sqltable.Cursor]{Bounded: true, Until: all[i].Cursor})
		require.NoError(t, err, "up to %v", all[i].Cursor)
		require.Equal(t, values(all[:i+1]), values(upTo), "up to %v", all[i].Cursor)
		n, err := source.(dataflow.Counter[sqltable.Cursor]).Count(t.Context(), dataflow.Request[sqltable.Cursor]{Resumed: true, From: all[0].Cursor, Bounded: true, Until: all[i].Cursor})
		require.NoError(t, err)
		require.EqualValues(t, i, n, "counted up to %v", all[i].Cursor)
	}
}
