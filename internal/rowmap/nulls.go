package rowmap

import (
	"errors"
	"fmt"
	"iter"
	"slices"
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

// nulls joins a condition for each key column.
func (k *Keyset) nulls(condition, by string) string {
	columns := k.Qualified(k.Key)
	for i := range columns {
		columns[i] += " " + condition
	}
	return strings.Join(columns, by)
}

// CountNullsQuery counts the rows without a key, up to one more than [MostNulls]. Its parameters
// are the query's.
func (k *Keyset) CountNullsQuery() string {
	return fmt.Sprintf("select count(*) from (select 1 as one%s where %s limit %d) q", k.all(), k.nulls("is null", " or "), MostNulls+1)
}

// OfNulls returns the query of the rows without a key, numbered as their key. columns are those
// that it selects.
func (k *Keyset) OfNulls(columns []string) Keyset {
	number := "number"
	for slices.Contains(columns, number) {
		number += "_"
	}
	of := *k
	of.Nulls, of.Key, of.Casts, of.Ties = NullsRefuse, []string{number}, nil, false
	of.SQL = "select " + strings.Join(k.Qualified(columns), ", ") + ", row_number() over () as " + k.quote(number) + k.all() + " where " + k.nulls("is null", " or ")
	of.PageSize = MostNulls
	return of
}

// NullsPage is the limit of the only page of [Keyset.OfNulls].
func NullsPage() PageLimit { return PageLimit{Rows: MostNulls, Bytes: 1 << 40, most: MostNulls} }

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

// First yields the rows without a key before the first item of the others, of a read that begins
// at the beginning. They are no resume points. They wait for a row with a key: without one, there
// is no place at which they could be committed.
func First[T any, C cursor](k *Keyset, nulls, others iter.Seq2[dataflow.Item[T, C], error]) iter.Seq2[dataflow.Item[T, C], error] {
	return func(yield func(dataflow.Item[T, C], error) bool) {
		begun := false
		for item, err := range others {
			var bad *dataflow.RecordError
			if !begun && (err == nil || errors.As(err, &bad)) {
				begun = true
				if !yieldNulls(k, nulls, yield) {
					return
				}
			}
			if !yield(item, err) {
				return
			}
		}
	}
}

func yieldNulls[T any, C cursor](k *Keyset, nulls iter.Seq2[dataflow.Item[T, C], error], yield func(dataflow.Item[T, C], error) bool) bool {
	n := 0
	for item, err := range nulls {
		var bad *dataflow.RecordError
		if err != nil && !errors.As(err, &bad) {
			yield(dataflow.Item[T, C]{}, err)
			return false
		}
		n++
		if n > MostNulls {
			yield(dataflow.Item[T, C]{}, dataflow.Permanent(fmt.Errorf("more than %d rows have NULL in their key (%s), which are too many to read first: skip them and read them by a flow of their own, or select coalesce(…) as the key, with an index on that expression", MostNulls, strings.Join(k.Key, ", "))))
			return false
		}
		key := fmt.Sprintf("NULL#%d", n)
		if bad != nil {
			bad.Key = key
		}
		if !yield(dataflow.Item[T, C]{Value: item.Value, Key: key}, err) {
			return false
		}
	}
	return true
}
