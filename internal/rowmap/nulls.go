package rowmap

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/activedataflow/dataflow"
)

// Nulls says what becomes of rows with NULL in a key column, which have no place in the order.
type Nulls uint8

// The ways.
const (
	NullsRefuse Nulls = iota
	NullsSkip
	NullsFirst
)

func (n Nulls) String() string { return [...]string{"refuse", "skip", "first"}[min(n, NullsFirst)] }

// MostNulls is the most rows without a key that are read first. They are one page, and are
// committed with the first row that has a key.
const MostNulls = 10_000

// hasNull is the condition that a row has NULL in a key column.
func (k *Keyset) hasNull() string { return k.nulls(" is null", " is not distinct from null", " or ") }

// isKeyed is the condition that a row has NULL in no key column.
func (k *Keyset) isKeyed() string { return k.nulls(" is not null", " is distinct from null", " and ") }

// nulls joins a condition for each key column. In Postgres, a value of a composite type with NULL in
// one of its parts is neither "is null" nor "is not null", so it takes another condition.
func (k *Keyset) nulls(condition, postgres, by string) string {
	if k.Mark == "$" {
		condition = postgres
	}
	columns := k.Qualified(k.Key)
	for i := range columns {
		columns[i] += condition
	}
	return strings.Join(columns, by)
}

// CountNullsQuery counts the rows without a key, up to one more than [MostNulls]. Its parameters
// are the query's.
func (k *Keyset) CountNullsQuery() string {
	return fmt.Sprintf("select count(*) from (select 1 as one%s where %s limit %d) q", k.all(), k.hasNull(), MostNulls+1)
}

// OfNulls returns the query of the rows without a key, numbered as their key. columns are those
// that it selects.
func (k *Keyset) OfNulls(columns []string) Keyset {
	number := unusedName("number", columns)
	of := *k
	of.Nulls, of.Key, of.Casts, of.Ties, of.Fenced = NullsRefuse, []string{number}, nil, false, false
	of.SQL = "select " + strings.Join(k.Qualified(columns), ", ") + ", row_number() over () as " + k.quote(number) + k.all() + " where " + k.hasNull()
	of.PageSize = MostNulls
	return of
}

// NullsPage is the limit of the only page of [Keyset.OfNulls].
func NullsPage() PageLimit {
	return PageLimit{Rows: MostNulls, Bytes: 1 << 40, Single: true, most: MostNulls}
}

// NullsNote says how many rows have no key, and what becomes of them; "" for none.
func (k *Keyset) NullsNote(rows int64) string {
	if rows == 0 {
		return ""
	}
	count := fmt.Sprint(rows)
	if rows > MostNulls {
		count = fmt.Sprintf("more than %d", MostNulls)
	}
	note := fmt.Sprintf("%s rows have NULL in their key (%s)", count, strings.Join(k.Key, ", "))
	if k.Nulls == NullsSkip {
		return note + " and are not read, as Query.Nulls says"
	}
	return note + "; a first load reads them once, before the first row with a key; of them, those added since are read by no run but a backfill from the beginning"
}

// NullRows are the rows without a key, which are read before the first row that has one. They are
// no resume points. They wait for a row with a key: without one, there is no place at which they
// could be committed.
type NullRows[C cursor] struct {
	Query Keyset // of OfNulls
	// Fetch reads the page after a cursor, or the first page for nil.
	Fetch func(ctx context.Context, from C) (*Page, error)

	begun bool
}

// each yields the rows without a key, if first is the first page with others. It reports whether
// the caller wants more.
func (n *NullRows[C]) each(ctx context.Context, k *Keyset, first *Page, yield func(*Page) bool) (more bool, err error) {
	if n.begun || first.Rows == 0 {
		return true, nil
	}
	n.begun, more = true, true
	rows := 0
	var tooMany error
	err = eachPage(ctx, &n.Query, nil, n.Fetch, func(page *Page) bool {
		before := rows
		if rows += page.Rows; rows > MostNulls {
			tooMany = dataflow.Permanent(fmt.Errorf("more than %d rows have NULL in their key (%s), which are too many to read first: skip them and read them by a flow of their own, or select coalesce(…) as the key, with an index on that expression", MostNulls, strings.Join(k.Key, ", ")))
			return false
		}
		page.named = func(i int, _ fmt.Stringer) (string, []string) { return fmt.Sprintf("NULL#%d", before+i+1), nil }
		more = yield(page)
		return more
	})
	return more, cmp.Or(tooMany, err)
}
