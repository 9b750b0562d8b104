package connectortest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// result is what a read yielded.
type result[T, C any] struct {
	items []dataflow.Item[T, C]
	errs  []*dataflow.RecordError // one for each item, nil if it is a good one
	bad   []*dataflow.RecordError
	err   error // that ended the read
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

// keys names the records, good and bad, as the engine does: an empty key is the
// text of the cursor at a resume point, and nothing that lasts elsewhere.
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

// behind is what follows item i.
func behind[T, C any](all *result[T, C], i int) *result[T, C] {
	return &result[T, C]{items: all.items[i+1:], errs: all.errs[i+1:]}
}

// requireNamed makes sure that a key names one record.
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

// readWith reads until the source ends, or until more, which is called after each
// record, returns false. It fails the test if that takes too long.
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
			all.err = fmt.Errorf("the read went on after the error that ends it: %w", all.err)
			return all
		}
		var bad *dataflow.RecordError
		if err != nil && !errors.As(err, &bad) {
			all.err = err
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

// from asks for what is behind a cursor, which has been to the database and back.
func (s *sourceSuite[T, C]) from(t *testing.T, cursor C) dataflow.Request[C] {
	t.Helper()
	data, err := json.Marshal(cursor)
	require.NoError(t, err, "write the cursor %s as JSON", text(cursor))
	var back C
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&back), "read the cursor %s", data)
	again, err := json.Marshal(back)
	require.NoError(t, err)
	require.JSONEq(t, string(data), string(again), "the cursor loses something as JSON")
	return dataflow.Request[C]{From: back, Resumed: true}
}

func hasCursor[C any]() bool {
	var zero C
	_, none := any(zero).(dataflow.NoCursor)
	return !none
}
