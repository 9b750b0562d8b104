package rowmap

import (
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
}

// cursor is a place in a query: the key of a row, column by column.
type cursor interface {
	~[]string
	String() string
}

// Read yields the rows of the pages that fetch returns, each a resume point. fetch
// gets the cursor of the previous page's last row, or nil for the first page, and puts
// the page's records into rows. They are yielded before the next page is fetched.
func Read[T any, C cursor](ctx context.Context, k *Keyset, r dataflow.Request[C], rows *[]T, fetch func(context.Context, C) (*Page, error)) iter.Seq2[dataflow.Item[T, C], error] {
	return func(yield func(dataflow.Item[T, C], error) bool) {
		err := eachPage(ctx, k, r, fetch, func(page *Page) bool { return yieldPage(ctx, k.width(page.Typed), page, *rows, yield) })
		if err != nil {
			yield(dataflow.Item[T, C]{}, k.Wrap(err))
		}
	}
}

// eachPage calls yield with each page, until it returns false.
func eachPage[C cursor](ctx context.Context, k *Keyset, r dataflow.Request[C], fetch func(context.Context, C) (*Page, error), yield func(*Page) bool) error {
	from, err := k.Start(r.Resumed, r.From)
	for more := true; more && err == nil; {
		var page *Page
		if page, err = fetch(ctx, C(from)); err != nil {
			return err
		}
		width := k.width(page.Typed)
		if err = k.check(page.Keys, place(from), width); err != nil || !yield(page) {
			return err
		}
		from, more = row(page.Keys, page.Rows-1, width), page.More
	}
	return err
}

// yieldPage yields the rows of a page, and reports whether the caller wants more.
func yieldPage[T any, C cursor](ctx context.Context, width int, page *Page, rows []T, yield func(dataflow.Item[T, C], error) bool) bool {
	var zero T
	for i := range rows {
		if err := ctx.Err(); err != nil {
			yield(dataflow.Item[T, C]{}, err)
			return false
		}
		item := dataflow.Item[T, C]{Value: rows[i], Cursor: C(row(page.Keys, i, width)), Resume: true}
		rows[i] = zero // or a heavy row would stay in memory until the end of the page
		var err error
		if page.Bad != nil {
			err = badRow(page.Bad[i], item.Cursor)
		}
		if !yield(item, err) {
			return false
		}
	}
	return true
}

// badRow returns the error of a bad row, and nil for nil.
func badRow(cause error, at fmt.Stringer) error {
	if cause == nil {
		return nil
	}
	return &dataflow.RecordError{Stage: dataflow.StageRead, Key: at.String(), Err: cause}
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
