package rowmap_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

type cursor []string

func (c cursor) String() string { return rowmap.Text(c) }

func TestKeyset_Queries(t *testing.T) {
	t.Parallel()
	k := rowmap.Keyset{SQL: " select * from t; ", Args: 2, Key: []string{"a", `b"c`, "d"}, PageSize: 10, Mark: "$"}
	from := " from (\nselect * from t\n) q"
	require.Equal(t, "select q.*"+from+" limit 0", k.DescribeQuery())
	require.Equal(t, `select x, y`+from+` order by q."a", q."b""c", q."d" limit 11`, k.PageQuery([]string{"x", "y"}, false))
	after := ` where (q."a", q."b""c", q."d") > ($3, $4, $5)`
	require.Equal(t, `select x`+from+after+` order by q."a", q."b""c", q."d" limit 11`, k.PageQuery([]string{"x"}, true))
	require.Equal(t, `select count(*)`+from, k.CountQuery(false))
	require.Equal(t, `select count(*)`+from+after, k.CountQuery(true))
	require.Equal(t, `select x`+from+` where q."a" is null limit 1`, k.FirstNullQuery([]string{"x"}))
	require.Equal(t, `select x`+from+` where q."a" = $3 and (q."b""c" is null or (q."b""c" = $4 and (q."d" is null))) limit 1`, k.NullQuery([]string{"x"}))
}

func TestText(t *testing.T) {
	t.Parallel()
	for want, key := range map[string][]string{
		"17":               {"17"},
		"a, b":             {"a, b"},
		"()":               {},
		"(a, b)":           {"a", "b"},
		`("a, b", "", 1)`:  {"a, b", "", "1"},
		`(" x", "\"", ü)`:  {" x", `"`, "ü"},
		`("(", "\\", a'b)`: {"(", `\`, "a'b"},
		`("a\n", 2)`:       {"a\n", "2"},
	} {
		require.Equal(t, want, rowmap.Text(key))
	}
}

// pages serves numbered rows, which it puts into rows.
func pages(rows *[]int, size, last int) func(context.Context, cursor) (*rowmap.Page, error) {
	return func(_ context.Context, from cursor) (*rowmap.Page, error) {
		n := 0
		if from != nil {
			n, _ = strconv.Atoi(from[0])
		}
		page := &rowmap.Page{Bad: map[int]error{}}
		*rows = nil
		for n++; n <= last; n++ {
			page.Keys = append(page.Keys, strconv.Itoa(n), "x")
			if page.More = len(*rows) == size; page.More {
				break
			}
			if n == 5 {
				page.Bad[len(*rows)] = errors.New("five")
			}
			*rows = append(*rows, n)
		}
		page.Rows = len(*rows)
		return page, nil
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	k := rowmap.Keyset{SQL: "q", Key: []string{"n", "x"}}
	for size := 1; size <= 11; size++ {
		next := 4
		var rows []int
		for item, err := range rowmap.Read(t.Context(), &rowmap.Reading[cursor]{Keyset: &k, Request: dataflow.Request[cursor]{Resumed: true, From: cursor{"3", "x"}}, Fetch: pages(&rows, size, 10)}, &rows) {
			require.True(t, item.Resume)
			require.Equal(t, cursor{strconv.Itoa(next), "x"}, item.Cursor)
			require.Equal(t, 2, cap(item.Cursor), "an append must not reach the next cursor")
			if next == 5 {
				var bad *dataflow.RecordError
				require.ErrorAs(t, err, &bad)
				require.Equal(t, "(5, x)", bad.Key)
			} else {
				require.NoError(t, err)
				require.Equal(t, next, item.Value)
			}
			next++
		}
		require.Equal(t, 11, next)
	}
}

func TestRead_Errors(t *testing.T) {
	t.Parallel()
	k := rowmap.Keyset{SQL: "q", Key: []string{"n", "x"}}
	first := func(r dataflow.Request[cursor], fetch func(context.Context, cursor) (*rowmap.Page, error)) error {
		for _, err := range rowmap.Read(t.Context(), &rowmap.Reading[cursor]{Keyset: &k, Request: r, Fetch: fetch}, &[]int{1}) {
			return err
		}
		return nil
	}
	start := dataflow.Request[cursor]{}
	require.EqualError(t, first(dataflow.Request[cursor]{Resumed: true, From: cursor{"3"}}, pages(new([]int), 1, 1)),
		`query "q": the stored cursor 3 has 1 value, but the key has 2 columns (n, x): restore the old key, or give the changed flow a new name`)
	require.EqualError(t, first(start, func(context.Context, cursor) (*rowmap.Page, error) { return nil, context.Canceled }), `query "q": context canceled`)
	notUnique := `query "q": the key (n, x) is not unique: several rows have (1, x): add a column to the key that distinguishes them`
	same := func(context.Context, cursor) (*rowmap.Page, error) {
		return &rowmap.Page{Rows: 1, Keys: []string{"1", "x", "1", "x"}, More: true}, nil
	}
	require.EqualError(t, first(start, same), notUnique, "the row behind the page counts")
	standing := func(context.Context, cursor) (*rowmap.Page, error) {
		return &rowmap.Page{Rows: 1, Keys: []string{"1", "x"}, More: true}, nil
	}
	require.EqualError(t, first(dataflow.Request[cursor]{Resumed: true, From: cursor{"1", "x"}}, standing), notUnique, "or the read would never end")
}

func TestOnConflict(t *testing.T) {
	t.Parallel()
	require.Equal(t, `on conflict ("a") do update set "b" = excluded."b", "c""" = excluded."c"""`, rowmap.OnConflict([]string{"a", "b", `c"`}, []string{"a"}))
	require.Equal(t, `on conflict ("b", "a") do nothing`, rowmap.OnConflict([]string{"a", "b"}, []string{"b", "a"}))
}
