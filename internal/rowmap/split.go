package rowmap

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Cuts returns the numbers, from 1, of the rows after which to cut so many rows
// into n parts of about the same size. There are fewer parts if there are fewer
// rows. No part is empty.
func Cuts(rows int64, n int) []int64 {
	parts := min(rows, int64(n))
	var cuts []int64
	for i := int64(1); i < parts; i++ {
		cuts = append(cuts, rows/parts*i+rows%parts*i/parts) // rows*i/parts without an overflow
	}
	return cuts
}

// RowsQuery selects, in order, the rows with these ascending numbers, counted from
// 1 in the order of the key. Only key columns can be selected. It needs one pass,
// which ends at the last of these rows. Its parameters are those of CountQuery.
func (k *Keyset) RowsQuery(list []string, resumed bool, numbers []int64) string {
	number := unusedName("number", k.Key)
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = strconv.FormatInt(n, 10)
	}
	s := "select " + k.columns() + ", row_number() over (order by " + k.columns() + ") as " + k.quote(number) + k.from()
	if resumed {
		s += k.after()
	}
	number = k.Qualified([]string{number})[0]
	return fmt.Sprintf("select %s from (\n%s\n) q where %s <= %s and %s in (%s) order by %s",
		strings.Join(list, ", "), s, number, texts[len(texts)-1], number, strings.Join(texts, ", "), number)
}

// unusedName returns a name that no column has. SQLite and MySQL ignore case.
func unusedName(name string, columns []string) string {
	for slices.ContainsFunc(columns, func(c string) bool { return strings.EqualFold(c, name) }) {
		name += "_"
	}
	return name
}

// Cursors splits the keys of rows, one after the other, into cursors. typed is as in
// [Page]. Rows with the same key are an error.
func Cursors[C cursor](k *Keyset, keys []string, typed bool) ([]C, error) {
	width := k.width(typed)
	if err := k.check(keys, nil, width); err != nil {
		return nil, err
	}
	cursors := make([]C, len(keys)/width)
	for i := range cursors {
		cursors[i] = C(row(keys, i, width))
	}
	return cursors, nil
}
