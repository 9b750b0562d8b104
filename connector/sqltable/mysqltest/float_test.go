//go:build unix

package mysqltest

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/connector/sqltable"
)

// A whole number that a float64 or a float32 cannot hold is a bad record. Other values are as they were.
func TestValues_WholeNumberInFloat(t *testing.T) {
	t.Parallel()
	type row struct {
		ID     int64
		Double float64
		Single *float32
		Real   float64
		Amount float64
	}
	db := setup(t, "create table x (id int primary key, `double` bigint, single bigint, `real` float, amount decimal(30,2))",
		"insert into x values (1, 9007199254740992, 16777216, 0.1, 12345678901234567890.12), (2, 9007199254740993, 1, 0, 0), (3, 1, 16777217, 0, 0), (4, 1, null, 0, 0)")
	single := float32(1 << 24)
	want := []row{{1, 1 << 53, &single, 0.1, 12345678901234567890.12}, {}, {}, {4, 1, nil, 0, 0}}
	const query = "select id, `double`, single, `real`, amount from x"
	for name, source := range map[string]func() ([]row, map[int]string){
		"Keyset": func() ([]row, map[int]string) {
			return outcomes(t, sqltable.Keyset[row](db, sqltable.Query{SQL: query, Key: []string{"id"}, PageSize: 2}))
		},
		"Select": func() ([]row, map[int]string) { return outcomes(t, sqltable.Select[row](db, query+" order by id")) },
	} {
		got, bad := source()
		require.Len(t, bad, 2, name)
		require.Contains(t, bad[1], "the whole number 9007199254740993 would be read as 9007199254740992: read it into an integer or a string", name)
		require.Contains(t, bad[2], "the whole number 16777217 would be read as 16777216", name)
		require.Equal(t, want[0], got[0], name)
		require.Equal(t, want[3], got[len(got)-1], name)
	}
}

// A field that is no number takes the bytes of a BIT column, or is an error.
func TestValues_BitsInOthers(t *testing.T) {
	t.Parallel()
	db := setup(t, "create table x (id int primary key, b bit(8))", "insert into x values (1, 5)")
	type raw struct {
		ID int64
		B  json.RawMessage
	}
	type float struct {
		ID int64
		B  float64
	}
	q := sqltable.Query{SQL: "select id, b from x", Key: []string{"id"}}
	require.Equal(t, []raw{{1, json.RawMessage{5}}}, values(readAll(t, sqltable.Keyset[raw](db, q))))
	_, bad := outcomes(t, sqltable.Keyset[float](db, q))
	require.Contains(t, bad[0], "bits do not fit float64")
}
