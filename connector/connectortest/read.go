package connectortest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// result is what a read has yielded.
type result[T, C any] struct {
	items []dataflow.Item[T, C]
	errs  []*dataflow.RecordError // one for each item, nil for a good one
	bad   []*dataflow.RecordError
	err   error // the error that ended the read
}

// rows returns the good records.
func (r *result[T, C]) rows() []T {
	var rows []T
	for i, item := range r.items {
		if r.errs[i] == nil && !item.Mark {
			rows = append(rows, item.Value)
		}
	}
	return rows
}

// keys names the records, good and bad, as the engine does. At a resume point, an
// empty key means the text of the cursor. Elsewhere, a record without a key has no
// lasting name.
func (r *result[T, C]) keys() []string {
	var keys []string
	for i, item := range r.items {
		switch {
		case r.errs[i] != nil:
			keys = append(keys, r.errs[i].Key)
		case item.Mark:
		case item.Key != "":
			keys = append(keys, item.Key)
		case item.Resume:
			keys = append(keys, fmt.Sprint(item.Cursor))
		}
	}
	return keys
}

// after returns what follows item i.
func after[T, C any](all *result[T, C], i int) *result[T, C] {
	return &result[T, C]{items: all.items[i+1:], errs: all.errs[i+1:]}
}

// requireSame is require.Equal for many values: of thousands it shows the first that differs.
func requireSame[V any](t *testing.T, want, got []V, what string, args ...any) {
	t.Helper()
	if len(want) <= few && len(got) <= few {
		require.Equal(t, want, got, append([]any{what}, args...)...)
		return
	}
	what = fmt.Sprintf(what, args...)
	for i := range min(len(want), len(got)) {
		require.Equal(t, want[i], got[i], "%s: number %d", what, i+1)
	}
	require.Len(t, got, len(want), what)
}

// requireNamed requires that each key names one record.
func requireNamed[T, C any](t *testing.T, all *result[T, C]) {
	t.Helper()
	seen := make(map[string]bool)
	for _, key := range all.keys() {
		require.False(t, seen[key], "two records have the key %q", key)
		seen[key] = true
	}
}

func (s *sourceSuite[T, C]) read(t *testing.T, src dataflow.Source[T, C], r dataflow.Request[C]) *result[T, C] {
	t.Helper()
	all := s.readWith(t.Context(), t, src, r, nil)
	s.requireClosed(t, src)
	return all
}

// readWith reads until the source ends, or until more returns false. more is called
// after each record; nil means to read on. The test fails if this takes longer than
// Patience.
func (s *sourceSuite[T, C]) readWith(ctx context.Context, t *testing.T, src dataflow.Source[T, C], r dataflow.Request[C], more func(read int) bool) *result[T, C] {
	t.Helper()
	done := make(chan *result[T, C], 1)
	go func() { done <- collect(ctx, src, r, more) }()
	tired := time.NewTimer(s.Patience)
	defer tired.Stop()
	select {
	case all := <-done:
		return all
	case <-tired.C:
		require.FailNow(t, "the read does not end", "it has taken %s", s.Patience)
		return nil
	}
}

func collect[T, C any](ctx context.Context, src dataflow.Source[T, C], r dataflow.Request[C], more func(read int) bool) *result[T, C] {
	all := &result[T, C]{}
	defer func() {
		if p := recover(); p != nil {
			all.err = fmt.Errorf("the read panicked: %v", p)
		}
	}()
	read := 0
	for item, err := range src.Read(ctx, r) {
		if all.err != nil {
			all.err = fmt.Errorf("the read continued after the error that ended it: %w", all.err)
			return all
		}
		var bad *dataflow.RecordError
		if err != nil && !errors.As(err, &bad) {
			if all.err = err; err == io.EOF { //nolint:errorlint // a wrapped one says what has ended
				all.err = fmt.Errorf("%w: a read without more records returns, and yields no error", err)
			}
			continue
		}
		all.items, all.errs = append(all.items, item), append(all.errs, bad)
		if bad != nil {
			all.bad = append(all.bad, bad)
		}
		if item.Mark && bad == nil {
			continue
		}
		if read++; more != nil && !more(read) {
			return all
		}
	}
	return all
}

// from returns a request from a cursor that has passed through JSON.
func (s *sourceSuite[T, C]) from(t *testing.T, cursor C) dataflow.Request[C] {
	t.Helper()
	data, err := json.Marshal(&cursor) // as the engine does
	require.NoError(t, err, "write the cursor %s as JSON", text(cursor))
	require.False(t, string(data) == "{}" && !reflect.ValueOf(cursor).IsZero(), "the cursor %s is {} as JSON, which holds exported fields only", text(cursor))
	var back C
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&back), "read the cursor %s", data)
	again, err := json.Marshal(&back)
	require.NoError(t, err)
	require.JSONEq(t, string(data), string(again), "the cursor loses something as JSON")
	return dataflow.Request[C]{From: back, Resumed: true}
}

func hasCursor[C any]() bool {
	var zero C
	_, none := any(zero).(dataflow.NoCursor)
	return !none
}
