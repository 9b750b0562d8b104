package rowmap_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

// fill returns a page of rows of so many bytes each, cut as the limit says.
func fill(l rowmap.PageLimit, bytes ...int) rowmap.PageWeight {
	var w rowmap.PageWeight
	for _, b := range bytes {
		if !w.Add(l, b) {
			break
		}
	}
	return w
}

func same(n, bytes int) []int {
	rows := make([]int, n)
	for i := range rows {
		rows[i] = bytes
	}
	return rows
}

func TestPageLimit(t *testing.T) {
	t.Parallel()
	k := rowmap.Keyset{}
	l := k.FirstPage()
	var sizes []int
	for range 8 {
		sizes = append(sizes, l.Rows)
		l.Learn(fill(l, same(10_000, 60)...))
	}
	require.Equal(t, []int{125, 250, 500, 1000, 2000, 4000, 8000, 8000}, sizes, "light rows")

	page := fill(l, same(10_000, 1_000_000)...)
	require.Equal(t, 5, page.Rows, "four megabytes beyond the first row")
	require.Greater(t, l.Rest(page), rowmap.DefaultPageBytes)
	l.Learn(page)
	require.Equal(t, 1, l.Rows, "the next page is half as heavy at most")
	page = fill(l, 60, 60)
	require.Equal(t, 1, page.Rows)
	require.Zero(t, l.Rest(page))
	l.Learn(page)
	require.Equal(t, 2, l.Rows, "light again")

	l = k.FirstPage()
	page = fill(l, append(same(100, 60), same(25, 5_000_000)...)...)
	require.Equal(t, 100, page.Rows)
	require.Equal(t, 25*5_000_000, l.Rest(page), "the rest weighs what the next row does")
	l.Learn(page)
	require.Equal(t, 125, l.Rows)
	require.Equal(t, 1, fill(l, same(2, 5_000_000)...).Rows)
}

func TestPageLimit_Set(t *testing.T) {
	t.Parallel()
	k := rowmap.Keyset{PageSize: 150, PageBytes: 100}
	l := k.FirstPage()
	require.Equal(t, 125, l.Rows)
	l.Learn(fill(l, same(200, 0)...))
	require.Equal(t, 150, l.Rows)
	l.Learn(fill(l, same(20, 0)...))
	require.Equal(t, 150, l.Rows, "a page that is not full says nothing")
	require.Equal(t, 11, fill(l, same(200, 10)...).Rows)
	k.PageSize = 3
	require.Equal(t, 3, fill(k.FirstPage(), same(200, 10)...).Rows)
}
