package rowmap_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

func TestCuts(t *testing.T) {
	t.Parallel()
	for rows := range int64(60) {
		for n := 1; n < 70; n++ {
			cuts := rowmap.Cuts(rows, n)
			require.Len(t, cuts, int(max(min(rows, int64(n)), 1)-1))
			last, least, most := int64(0), rows, int64(0)
			for _, c := range append(cuts, rows) {
				least, most, last = min(least, c-last), max(most, c-last), c
			}
			require.LessOrEqual(t, most-least, int64(1), "%d rows in %d parts: %v", rows, n, cuts)
		}
	}
	require.Equal(t, int64(math.MaxInt64/2), rowmap.Cuts(math.MaxInt64, 1000)[499])
}

// A key column may be named like the row number.
func TestKeyset_RowsQuery(t *testing.T) {
	t.Parallel()
	k := rowmap.Keyset{SQL: "select 1", Key: []string{"a", "number"}, Mark: "$"}
	require.Equal(t, `select q."a" from (
select q."a", q."number", row_number() over (order by q."a", q."number") as "number_" from (
select 1
) q where (q."a", q."number") > ($1, $2)
) q where q."number_" <= 9 and q."number_" in (4, 9) order by q."number_"`, k.RowsQuery([]string{`q."a"`}, true, []int64{4, 9}))
}
