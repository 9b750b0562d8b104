package rowmap

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
)

// againMark begins a text of a cursor within a lookback.
const againMark = "again: "

// again returns the cursor of a row within a lookback. It begins with the place up to which rows
// were read before, which so never goes back. The row's own cursor follows.
func again(high, at []string) []string {
	c := make([]string, 0, len(high)+len(at))
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

// Lookback is the part of a [Reading] before its cursor.
type Lookback[C cursor] struct {
	// At is where the run has stopped within the lookback, nil if it has not.
	At C
	// Begin returns the last row before the lookback, nil for the beginning.
	Begin func(ctx context.Context) (C, error)
	// Fetch reads the page after a cursor, and no row after that of the reading.
	Fetch func(ctx context.Context, from C) (*Page, error)
}

// each yields the rows of the lookback, up to a cursor, and then that cursor. It reports whether
// the caller wants more.
func (l *Lookback[C]) each(ctx context.Context, k *Keyset, high C, yield func(*Page) bool) (more bool, err error) {
	from := l.At
	if from == nil {
		if from, err = l.Begin(ctx); err != nil {
			return false, err
		}
	}
	begun, more := l.At != nil, true
	err = eachPage(ctx, k, from, l.Fetch, func(page *Page) bool {
		page.named = func(i int, own fmt.Stringer) (string, []string) {
			return own.String(), again(high, row(page.Keys, i, page.width))
		}
		begun = begun || page.Rows > 0
		more = yield(page)
		return more
	})
	if err == nil && more && begun {
		more = yield(&Page{mark: high})
	}
	return more, err
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
