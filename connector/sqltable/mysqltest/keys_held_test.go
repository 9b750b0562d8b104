//go:build unix

package mysqltest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/reconcile"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestKeys_NotHeld(t *testing.T) {
	t.Parallel()
	postgres, maria, lite := overPostgres(t, dbtest.Postgres(t)), overSQL(t, setup(t)), overSQL(t, dbtest.SQLite(t))
	type column struct {
		place
		typ, value string
	}
	for i, test := range []struct{ has, lacks column }{
		{column{lite, "text", "'a' || char(0) || 'b'"}, column{postgres, `text collate "C"`, "'z'"}},
		{column{lite, "text", "cast(x'61ff' as text)"}, column{postgres, `text collate "C"`, "'z'"}},
		{column{lite, "text", "'no uuid'"}, column{postgres, `uuid`, "'7b7a3d6e-0000-4000-8000-000000000000'"}},
		{column{lite, "text", "cast(x'61ff' as text)"}, column{maria, `varchar(20) collate utf8mb4_nopad_bin`, "'z'"}},
		{column{maria, "bigint unsigned", "18446744073709551615"}, column{postgres, `bigint`, "7"}},
		{column{maria, "bigint unsigned", "18446744073709551615"}, column{lite, `integer`, "7"}},
		{column{maria, "varchar(20) collate utf8mb4_nopad_bin", "concat('a', char(0), 'b')"}, column{postgres, `text collate "C"`, "'z'"}},
		{column{postgres, "date", "'10000-01-01'"}, column{maria, `date`, "'2024-01-01'"}},
		{column{postgres, "date", "'infinity'"}, column{maria, `date`, "'2024-01-01'"}},
		{column{postgres, "date", "'0044-03-15 BC'"}, column{maria, `date`, "'2024-01-01'"}},
		{column{postgres, "timestamp", "'10000-01-01'"}, column{maria, `datetime(6)`, "'2024-01-01'"}},
		{column{postgres, "timestamptz", "'10000-01-01Z'"}, column{maria, `timestamp(6)`, "'2024-01-01'"}},
		{column{postgres, "timestamptz", "'1900-01-01Z'"}, column{maria, `timestamp(6)`, "'2024-01-01'"}},
		{column{postgres, "numeric", "'NaN'"}, column{maria, `decimal(20,5)`, "1"}},
		{column{postgres, "numeric", "1e70"}, column{maria, `decimal(20,5)`, "1"}},
		{column{postgres, "numeric", "1e-31"}, column{maria, `decimal(20,5)`, "1"}},
		{column{postgres, `text collate "C"`, "'日😀'"}, column{maria, `varchar(20) character set latin1 collate latin1_nopad_bin`, "'z'"}},
		{column{maria, "date", "'0000-00-00'"}, column{postgres, `date`, "'2024-01-01'"}},
		{column{maria, "datetime", "'2024-00-10'"}, column{postgres, `timestamp`, "'2024-01-01'"}},
	} {
		for _, side := range []column{test.has, test.lacks} {
			_ = side.exec("set sql_mode = ''")
			require.NoError(t, side.exec(fmt.Sprintf("create table t%d (k %s, n integer)", i, side.typ)))
			require.NoError(t, side.exec(fmt.Sprintf("insert into t%d values (%s, 1)", i, side.value)))
		}
		has, lacks := test.has.keys(reconcile.Table{Name: fmt.Sprint("t", i), Key: []string{"k", "n"}, SameSpelling: true}), test.lacks.keys(reconcile.Table{Name: fmt.Sprint("t", i), Key: []string{"k", "n"}, SameSpelling: true})
		for _, sides := range [][2]reconcile.Side{{has, lacks}, {lacks, has}} {
			var found []string
			var end error
			for item, err := range reconcile.New(sides[0], sides[1], &reconcile.Options{MaxGone: 1, Missing: true}).Read(t.Context(), dataflow.Request[reconcile.Cursor]{}) {
				found = append(found, item.Key)
				end = err
			}
			fmt.Printf("%s %s -> %s: %q %v %v\n", test.has.typ, test.has.value, test.lacks.typ, found, end, dataflow.IsPermanent(end))
		}
	}
}
