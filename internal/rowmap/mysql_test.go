package rowmap_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

func TestKeyset_MySQL(t *testing.T) {
	t.Parallel()
	k := &rowmap.Keyset{
		SQL: "select * from t where x = ? and y = ?", Args: 2, Key: []string{"a", "b`c", "d"}, PageSize: 10,
		MySQL: &rowmap.MySQL{Casts: []string{"?", "cast(? as date)", "unhex(?)"}},
	}
	from := " from (\nselect * from t where x = ? and y = ?\n) q"
	args := []any{"x", "y", 1, 2, 3}
	positional := func(k *rowmap.Keyset, query string, args []any, wantArgs ...any) string {
		t.Helper()
		query, got := k.Positional(query, args)
		require.Equal(t, wantArgs, got)
		return query
	}
	order := " order by q.`a`, q.`b``c`, q.`d` limit 11"
	after := " where (q.`a` > ? or (q.`a` = ? and (q.`b``c` > cast(? as date) or (q.`b``c` = cast(? as date) and q.`d` > unhex(?)))))"
	require.Equal(t, "select x"+from+order, positional(k, k.PageQuery([]string{"x"}, false), args[:2], "x", "y"))
	require.Equal(t, "select x"+from+after+order, positional(k, k.PageQuery([]string{"x"}, true), args, "x", "y", 1, 1, 2, 2, 3))
	require.Equal(t, "select x"+from+" where q.`a` = ? and (q.`b``c` is null or (q.`b``c` = cast(? as date) and (q.`d` is null))) limit 1",
		positional(k, k.NullQuery([]string{"x"}), args[:4], "x", "y", 1, 2))

	upTo := k.UpTo()
	within := " where (q.`a` < ? or (q.`a` = ? and (q.`b``c` < cast(? as date) or (q.`b``c` = cast(? as date) and q.`d` <= unhex(?)))))"
	require.Equal(t, "select count(*) from (\nselect q.*"+from+within+"\n) q"+after,
		positional(upTo, upTo.CountQuery(true), []any{"x", "y", 7, 8, 9, 1, 2, 3}, "x", "y", 7, 7, 8, 8, 9, 1, 1, 2, 2, 3))

	text := &rowmap.Keyset{SQL: "select * from t", Key: []string{"a", "b"}, PageSize: 10, MySQL: &rowmap.MySQL{Collated: true}}
	require.Equal(t, "select x, case when greatest(length(weight_string(q.`a`)) + 8, 4 * char_length(q.`a`)) > @@max_sort_length"+
		" or greatest(length(weight_string(q.`b`)) + 8, 4 * char_length(q.`b`)) > @@max_sort_length then 2"+
		" else coalesce(q.`a` = lag(q.`a`) over w and q.`b` = lag(q.`b`) over w, false) end from (select q.* from (\nselect * from t\n) q"+
		" where (q.`a` > ? or (q.`a` = ? and q.`b` > ?)) order by q.`a`, q.`b` limit 11) q window w as (order by q.`a`, q.`b`) order by q.`a`, q.`b`",
		positional(text, text.PageQuery([]string{"x"}, true), []any{1, 2}, 1, 1, 2))
}

func TestKeyset_Positional_Others(t *testing.T) {
	t.Parallel()
	k := &rowmap.Keyset{SQL: "select * from t", Key: []string{"a"}, Mark: "?"}
	query, args := k.Positional(k.PageQuery([]string{"x"}, true), []any{1})
	require.Equal(t, k.PageQuery([]string{"x"}, true), query)
	require.Equal(t, []any{1}, args)
}
