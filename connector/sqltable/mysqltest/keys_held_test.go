//go:build unix

package mysqltest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/reconcile"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// A key that the other database cannot hold ends the run with an error that names it, whichever side has it.
func TestKeys_NotHeld(t *testing.T) {
	t.Parallel()
	postgres, maria, lite := overPostgres(t, dbtest.Postgres(t)), overSQL(t, setup(t)), overSQL(t, dbtest.SQLite(t))
	type column struct {
		place
		typ, value string
	}
	const exact, day = "varchar(20) collate utf8mb4_nopad_bin", "'2024-01-01'"
	for i, test := range []struct {
		has, lacks column
		named      string // "" if it is only missing
	}{
		{column{lite, "text", "'a' || char(0) || 'b'"}, column{postgres, `text collate "C"`, "'z'"}, `"a\x00b"`},
		{column{lite, "text", "'no uuid'"}, column{postgres, "uuid", "'7b7a3d6e-0000-4000-8000-000000000000'"}, `"no uuid"`},
		{column{lite, "text", "'no uuid'"}, column{maria, "uuid", "'7b7a3d6e-0000-4000-8000-000000000000'"}, ""},
		{column{lite, "text", "cast(x'61ff' as text)"}, column{maria, exact, "'z'"}, "t'61ff'"},
		{column{maria, "bigint unsigned", "18446744073709551615"}, column{postgres, "bigint", "7"}, `"18446744073709551615"`},
		{column{maria, "bigint unsigned", "18446744073709551615"}, column{lite, "integer", "7"}, `"18446744073709551615"`},
		{column{postgres, "date", "'infinity'"}, column{maria, "date", day}, `"infinity"`},
		{column{postgres, "timestamp", "'10000-01-01'"}, column{maria, "datetime(6)", day}, `"10000-01-01 00:00:00"`},
		{column{postgres, "timestamptz", "'1900-01-01Z'"}, column{maria, "timestamp(6)", day}, ""},
		{column{postgres, "numeric", "'NaN'"}, column{maria, "decimal(20,5)", "1"}, `"NaN"`},
		{column{postgres, `text collate "C"`, "'日'"}, column{maria, "varchar(20) character set latin1 collate latin1_nopad_bin", "'z'"}, `"日"`},
		{column{maria, "date", "'0000-00-00'"}, column{postgres, "date", day}, ": 0000-00-00: mend"},
	} {
		var sides []reconcile.Side
		for _, side := range []column{test.has, test.lacks} {
			table := fmt.Sprint("t", i)
			require.NoError(t, side.exec(fmt.Sprintf("create table %s (k %s, n integer)", table, side.typ)))
			require.NoError(t, side.exec(fmt.Sprintf("insert into %s values (%s, 1)", table, side.value)))
			sides = append(sides, side.keys(reconcile.Table{Name: table, Key: []string{"n", "k"}, SameSpelling: true}))
		}
		for range 2 {
			found, end := []string(nil), error(nil)
			for item, err := range reconcile.New(sides[0], sides[1], &reconcile.Options{MaxGone: 1, Missing: true}).Read(t.Context(), dataflow.Request[reconcile.Cursor]{}) {
				if found, end = append(found, item.Value.Kind), err; err != nil {
					break
				}
			}
			if test.named == "" {
				require.NoError(t, end)
				require.Subset(t, found, []string{reconcile.Gone, reconcile.Missing})
			} else {
				require.ErrorContains(t, end, fmt.Sprintf("table t%d: key column %q: ", i, "k"))
				require.ErrorContains(t, end, test.named)
				require.True(t, dataflow.IsPermanent(end), end)
			}
			slices.Reverse(sides)
		}
	}
}
