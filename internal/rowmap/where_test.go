package rowmap_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

func TestKeyset_Where(t *testing.T) {
	t.Parallel()
	k := &rowmap.Keyset{SQL: "select * from t; ", Args: 1, Key: []string{"a"}, PageSize: 10, Mark: "$"}
	w := k.Where(`q."a" < $2`, 1)
	require.Equal(t, "select q.\"b\" from (\nselect q.* from (\nselect * from t\n) q where q.\"a\" < $2\n) q where (q.\"a\") > ($3) order by q.\"a\" limit 11",
		w.PageQuery([]string{`q."b"`}, true))
	require.Equal(t, "select * from t; ", k.SQL)
}
