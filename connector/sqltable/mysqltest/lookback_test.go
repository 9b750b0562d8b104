//go:build unix

package mysqltest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

// A read begins before its cursor, and yields what it has read before as such.
func TestKeyset_Lookback(t *testing.T) {
	t.Parallel()
	type row struct{ ID int64 }
	for typ, again := range map[string][]row{
		"datetime(6)": {{3}, {4}}, "timestamp(6) null": {{3}, {4}}, "datetime": {{3}, {4}}, "date": {{2}, {3}, {4}},
	} {
		db := setup(t, "create table t (id bigint primary key, at "+typ+")",
			"insert into t values (1, '2024-01-01 10:00'), (2, '2024-01-02 10:00'), (3, '2024-01-03 10:00'), (4, '2024-01-04 10:00'), (5, '2024-01-05 10:00')")
		query := sqltable.Query{SQL: "select id, at from t", Key: []string{"at", "id"}, PageSize: 2}
		all := readAll(t, sqltable.Keyset[row](db, query))
		query.Lookback = 25 * time.Hour
		source := sqltable.Keyset[row](db, query)
		r := dataflow.Request[sqltable.Cursor]{From: all[3].Cursor, Resumed: true}
		var got, rest []row
		for it, err := range source.Read(t.Context(), r) {
			require.NoError(t, err)
			switch {
			case it.Mark:
				require.Equal(t, all[3].Cursor, it.Cursor)
			case it.Again:
				got = append(got, it.Value)
				continued := dataflow.Request[sqltable.Cursor]{From: it.Cursor, Resumed: true, Continued: true}
				n, err := source.(dataflow.Counter[sqltable.Cursor]).Count(t.Context(), continued)
				require.NoError(t, err)
				require.Equal(t, int64(len(again)+1-len(got)), n)
			default:
				rest = append(rest, it.Value)
			}
		}
		require.Equal(t, again, got, typ)
		require.Equal(t, []row{{5}}, rest)
	}
	db := setup(t, "create table t (id bigint primary key, k varchar(9))", "insert into t values (1, 'a')")
	_, err := read(t, sqltable.Keyset[row](db, sqltable.Query{SQL: "select id, k from t", Key: []string{"k"}, Lookback: time.Hour}), sqltable.Cursor{"'a'"})
	require.ErrorContains(t, err, `the key begins with "k", of type VARCHAR, which is no time`)
}
