package rowmap

import (
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
)

// againMark begins a text of a cursor within a lookback.
const againMark = "again: "

// again returns the cursor of a row within a lookback. It begins with the place up to which rows
// were read before, which so never goes back. The row's own cursor follows.
func again[C cursor](high, at C) C {
	c := make(C, 0, len(high)+len(at))
	c = append(c, high...)
	for _, text := range at {
		c = append(c, againMark+text)
	}
	return c
}

// splitAgain returns the two parts of a cursor: the place up to which rows were read before and, if
// it is within a lookback, the last row that was read again. at is nil otherwise.
func splitAgain[C cursor](k *Keyset, c C) (high, at C) {
	h, a := SplitMarked(c, len(k.Key))
	return C(h), C(a)
}

// SplitMarked cuts off the texts of a cursor that begin with the mark of a lookback, but none of the
// first texts.
func SplitMarked(texts []string, first int) (high, at []string) {
	i := len(texts)
	for i > first && strings.HasPrefix(texts[i-1], againMark) {
		i--
	}
	for _, text := range texts[i:] {
		at = append(at, strings.TrimPrefix(text, againMark))
	}
	return texts[:i:i], at
}

// TextAgain formats the two parts of a cursor within a lookback.
func TextAgain(high, at string) string { return high + ", reading again after " + at }

// WithoutAgain returns a request whose cursors are within no lookback. at is where the run has stopped
// within its lookback, nil if it has not.
func WithoutAgain[C cursor](k *Keyset, r dataflow.Request[C]) (plain dataflow.Request[C], at C) {
	r.From, at = splitAgain(k, r.From)
	r.Until, _ = splitAgain(k, r.Until)
	if !r.Continued {
		at = nil // another run has stopped there
	}
	return r, at
}

// LooksBack reports whether a read begins before its cursor: a run of the flow itself that has
// committed nothing yet, or that has stopped within its lookback.
func LooksBack[C cursor](lookback time.Duration, r dataflow.Request[C], at C) bool {
	return lookback > 0 && r.Resumed && !r.Bounded && !r.Backfill && (!r.Continued || at != nil)
}

// ReadAgain yields the rows of a lookback, and then those after it. high is the cursor before
// which it looks; begun, that a run has stopped within it.
func ReadAgain[T any, C cursor](high C, begun bool, lookback, rest iter.Seq2[dataflow.Item[T, C], error]) iter.Seq2[dataflow.Item[T, C], error] {
	return func(yield func(dataflow.Item[T, C], error) bool) {
		for item, err := range lookback {
			if item.Resume {
				item.Key, item.Cursor, item.Again = item.Cursor.String(), again(high, item.Cursor), true
				begun = true
			}
			var bad *dataflow.RecordError
			if !yield(item, err) || err != nil && !errors.As(err, &bad) {
				return
			}
		}
		if begun && !yield(dataflow.Item[T, C]{Mark: true, Cursor: high}, nil) {
			return
		}
		rest(yield)
	}
}

// ValidateLookback returns a [dataflow.ConfigError] if the lookback cannot be, as far as the fields
// show. p may be nil.
func (k *Keyset) ValidateLookback(lookback time.Duration, p *Plan) error {
	bad := func(format string, args ...any) error {
		return &dataflow.ConfigError{Field: "Query.Lookback", Reason: fmt.Sprintf(format, args...)}
	}
	if lookback < 0 {
		return bad("%s is negative: use a time such as 3*time.Hour, or 0 for none", lookback)
	}
	if lookback == 0 || p == nil || len(k.Key) == 0 {
		return nil
	}
	i := p.Index(k.Key[0])
	if i < 0 {
		return nil
	}
	t := p.Columns[i].Type
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if kind := t.Kind(); kind == reflect.Bool || reflect.Int <= kind && kind <= reflect.Float64 {
		return bad("the key begins with %q (field %s), of type %v, and not with a time: begin the key with the time of the last change, or leave Lookback out", k.Key[0], p.Columns[i].Field, t)
	}
	return nil
}

// LookbackTypeError returns the error of a key that does not begin with a time.
func (k *Keyset) LookbackTypeError(what string) error {
	return dataflow.Permanent(fmt.Errorf("the key begins with %q, %s, which is no time, and Query.Lookback is set: begin the key with the time of the last change, or leave Lookback out", k.Key[0], what))
}
