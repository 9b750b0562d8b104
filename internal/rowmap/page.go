package rowmap

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
)

// Page describes a page of rows in memory.
type Page struct {
	// Rows is the number of records, with a zero record in place of each bad row.
	Rows int
	// Bad has the errors of the bad rows, by their index.
	Bad map[int]error
	// Keys are the rows' keys, one after the other, including that of the row after
	// the page.
	Keys []string
	// Typed is true if the types of a key follow its values in Keys. See [Place].
	Typed bool
	// More is true if a row follows the page.
	More bool

	width int // how many texts of Keys belong to a row
	// mark is a cursor without a row; the page has none then.
	mark []string
	// named returns the name of row i and its cursor in place of its own: of a lookback, or nil
	// for a row that is no resume point. Nil: its own.
	named func(i int, own fmt.Stringer) (name string, cursor []string)
}

// cursor is a place in a query: the key of a row, column by column.
type cursor interface {
	~[]string
	String() string
}

// Reading is what a read takes from where. No part of it knows the type of the records.
type Reading[C cursor] struct {
	Keyset  *Keyset
	Request dataflow.Request[C]
	// Fetch reads the page after a cursor, or the first page for nil, and puts its records into
	// the first of the rows of [Read].
	Fetch func(ctx context.Context, from C) (*Page, error)
	// Lookback and Nulls are what is read before that. Nil: nothing. Their records go into the
	// second of the rows.
	Lookback *Lookback[C]
	Nulls    *NullRows[C]
}

// Read yields the rows of the pages of a reading. They are yielded before the next page is
// fetched.
func Read[T any, C cursor](ctx context.Context, of *Reading[C], rows ...*[]T) iter.Seq2[dataflow.Item[T, C], error] {
	return func(yield func(dataflow.Item[T, C], error) bool) {
		err := of.each(ctx, func(page *Page, to int) bool { return yieldPage(ctx, page, *rows[to], yield) })
		if err != nil {
			yield(dataflow.Item[T, C]{}, of.Keyset.Wrap(err))
		}
	}
}

// each calls yield with each page and the number of the rows in which its records are, until it
// returns false.
func (r *Reading[C]) each(ctx context.Context, yield func(page *Page, to int) bool) error {
	keyed := func(page *Page) bool { return yield(page, 0) }
	before := func(page *Page) bool { return yield(page, 1) }
	if r.Lookback != nil {
		if more, err := r.Lookback.each(ctx, r.Keyset, r.Request.From, before); err != nil || !more {
			return err
		}
	}
	from, err := r.Keyset.Start(r.Request.Resumed, r.Request.From)
	if err != nil {
		return err
	}
	if r.Nulls == nil {
		return eachPage(ctx, r.Keyset, from, r.Fetch, keyed)
	}
	r.Nulls.begun = false
	var failed error
	err = eachPage(ctx, r.Keyset, from, r.Fetch, func(page *Page) (more bool) {
		if more, failed = r.Nulls.each(ctx, r.Keyset, page, before); failed != nil || !more {
			return false
		}
		return keyed(page)
	})
	return cmp.Or(failed, err)
}

// eachPage calls yield with each page, until it returns false.
func eachPage[C cursor](ctx context.Context, k *Keyset, from []string, fetch func(context.Context, C) (*Page, error), yield func(*Page) bool) error {
	for more := true; more; {
		page, err := fetch(ctx, C(from))
		if err != nil {
			return err
		}
		page.width = k.width(page.Typed)
		if err = k.check(page.Keys, place(from), page.width); err != nil || !yield(page) {
			return err
		}
		from, more = row(page.Keys, page.Rows-1, page.width), page.More
	}
	return nil
}

// yieldPage yields the rows of a page, and reports whether the caller wants more.
func yieldPage[T any, C cursor](ctx context.Context, page *Page, rows []T, yield func(dataflow.Item[T, C], error) bool) bool {
	if page.mark != nil {
		return yield(dataflow.Item[T, C]{Mark: true, Cursor: C(page.mark)}, nil)
	}
	var zero T
	for i := range rows {
		at := placeOf[C](ctx, page, i)
		item := dataflow.Item[T, C]{Value: rows[i], Key: at.name, Cursor: at.cursor, Resume: at.cursor != nil, Again: at.again}
		rows[i] = zero // or a heavy row would stay in memory until the end of the page
		if !yield(item, at.err) || at.ends {
			return false
		}
	}
	return true
}

// rowPlace is all of a row but its record.
type rowPlace[C cursor] struct {
	name   string // empty: the text of the cursor
	cursor C      // nil: it is no resume point
	again  bool
	err    error // of a bad row, or what ends the read
	ends   bool  // the read ends with err
}

// placeOf returns the place of row i of a page. It does not know the type of the records, so that
// the compiler makes it once.
func placeOf[C cursor](ctx context.Context, page *Page, i int) (at rowPlace[C]) {
	if err := ctx.Err(); err != nil {
		return rowPlace[C]{err: err, ends: true}
	}
	at.cursor = C(row(page.Keys, i, page.width))
	if page.named != nil {
		at.name, at.cursor = page.named(i, at.cursor)
		at.again = at.cursor != nil
	}
	if page.Bad != nil {
		at.err = badRow(page.Bad[i], at.name, at.cursor)
	}
	return at
}

// badRow returns the error of a bad row, and nil for nil.
func badRow(cause error, key string, at fmt.Stringer) error {
	if cause == nil {
		return nil
	}
	if key == "" {
		key = at.String()
	}
	return &dataflow.RecordError{Stage: dataflow.StageRead, Key: key, Err: cause}
}

// width returns how many texts of a page belong to a row.
func (k *Keyset) width(typed bool) int {
	if typed {
		return 2 * len(k.Key)
	}
	return len(k.Key)
}

// row returns the cursor of row i.
func row(keys []string, i, width int) []string {
	if i < 0 {
		return nil
	}
	return keys[i*width : (i+1)*width : (i+1)*width]
}

// Start returns the cursor at which a read begins, nil for the beginning. It
// returns a permanent error if the cursor does not fit the key.
func (k *Keyset) Start(resumed bool, from []string) ([]string, error) {
	if !resumed {
		return nil, nil
	}
	if n := len(place(from)); n != len(k.Key) {
		return nil, dataflow.Permanent(fmt.Errorf("the stored cursor %s has %s, but the key has %s (%s): restore the old key, or give the changed flow a new name",
			Text(from), count(n, "value"), count(len(k.Key), "column"), strings.Join(k.Key, ", ")))
	}
	return from, nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// Check returns an error unless the keys of a page's rows all differ, and differ
// from the cursor before them. Rows with the same key would be lost if a page or a
// run ended between them.
func (k *Keyset) Check(keys, from []string) error { return k.check(keys, from, len(k.Key)) }

func (k *Keyset) check(keys, from []string, width int) error {
	for i := range len(keys) / width {
		key := keys[i*width : i*width+len(k.Key)]
		if slices.Equal(key, from) {
			return dataflow.Permanent(fmt.Errorf("the key (%s) is not unique: several rows have %s: add a column to the key that distinguishes them", strings.Join(k.Key, ", "), Text(key)))
		}
		from = key
	}
	return nil
}

// NullError returns the error of a row with null in a key column. A nil value is
// null.
func (k *Keyset) NullError(key []*string) error {
	values := make([]string, len(key))
	column := ""
	for i, v := range key {
		switch {
		case v != nil:
			values[i] = *v
			continue
		case column == "":
			column = k.Key[i]
		}
		values[i] = "NULL"
	}
	return dataflow.Permanent(fmt.Errorf("key column %q is NULL in the row (%s), so the row has no place in the order: exclude such rows in the query, or select coalesce(%[1]s, …) as the key, with an index on that expression; or set Query.Nulls to skip such rows or to read them first", column, strings.Join(values, ", ")))
}

// Text formats a cursor for people and for the name of a record: "17", or
// "(2024-01-01, 17)". A value that could be misread is quoted.
func Text(key []string) string {
	if high, at := SplitMarked(key, 1); len(place(at)) < len(at) { // with types, or the key has such texts
		return TextAgain(Text(high), Text(at))
	}
	key = place(key)
	if len(key) == 1 {
		return key[0]
	}
	quoted := make([]string, len(key))
	for i, v := range key {
		quoted[i] = v
		if v == "" || strings.ContainsAny(v, `,()"\`) || strings.TrimSpace(v) != v {
			quoted[i] = fmt.Sprintf("%q", v)
		}
	}
	return "(" + strings.Join(quoted, ", ") + ")"
}
