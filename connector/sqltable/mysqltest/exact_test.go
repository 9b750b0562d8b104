//go:build unix

package mysqltest

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

// stores writes a value beside another record, and returns what the column holds, or the error.
func stores[V any](t *testing.T, column string, v V) (string, error) {
	t.Helper()
	type row struct {
		ID int64
		V  *V
	}
	db := setup(t, "create table x (id bigint primary key, v "+column+")")
	write := func(target func(db *sql.DB) dataflow.Target[row]) error {
		return claimed(t, target(db)).WriteFenced(t.Context(), batch(1, row{1, nil}, row{2, &v}))
	}
	err := write(func(db *sql.DB) dataflow.Target[row] { return sqltable.InsertTo[row](db, "x") })
	if err != nil {
		var bad *dataflow.RowError
		require.ErrorAs(t, err, &bad, column)
		require.Equal(t, 1, bad.Row)
		require.ErrorContains(t, write(func(db *sql.DB) dataflow.Target[row] { return sqltable.UpsertTo[row](db, "x", "id") }), "would store")
		return "", err
	}
	return texts(t, db, "select cast(v as char) from x where id = 2")[0], nil
}

// Strict mode lets MySQL store some values as others. Such a record is a bad one.
func TestTo_ChangedValues(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		column string
		v      any
		want   string // "" for an error
	}{
		{"enum('a','b')", "1", ""},
		{"enum('a','b')", "01 ", ""},
		{"enum('1','2')", "2", "2"},
		{"enum('a','it''s')", "it's", "it's"},
		{"set('a','b')", "3", ""},
		{"set('1','2')", "1,2", "1,2"},
		{"int", "2.5", ""},
		{"int", "25e-1", ""},
		{"int", "1e3", "1000"},
		{"bigint unsigned", "18446744073709551615.0", "18446744073709551615"},
		{"int", 2.5, ""},
		{"bit(8)", 2.5, ""},
		{"int", -3.0, "-3"},
		{"decimal(10,2)", "1.005", ""},
		{"decimal(10,2)", "-1.25000", "-1.25"},
		{"decimal(10)", "1.5", ""},
		{"decimal(10,2)", 0.1 + 0.2, "0.30"},
		{"varchar(3)", "abc ", ""},
		{"varchar(3)", []byte("abc "), ""},
		{"varchar(4) character set utf8mb4", "äöü ", "äöü "},
		{"varchar(9)", "1.50 ", "1.50 "},
		{"text", "abc  ", "abc  "},
		{"varchar(3)", "abc\n", ""},
		{"varchar(3)", "abc\t \r\n", ""},
		{"varchar(4)", "abc\n", "abc\n"},
		{"char(3)", "abc\n", ""},
		{"char(3)", "abc  ", "abc"},
		{"enum('a','b')", "\t1", ""},
		{"set('a','b')", "\n1", ""},
		{"enum('a','b')", 1.5, ""},
		{"set('a','b')", 1.5, ""},
		{"year", "2020.5", ""},
		{"year", 2020.7, ""},
		{"varchar(4)", 3.14159, ""},
		{"char(4)", 1.0000001, ""},
		{"varchar(7)", 3.14159, "3.14159"},
		{"varchar(8)", -3.14159, "-3.14159"},
		{"varchar(4)", 1e20, "1e20"},
		{"varchar(6)", 1.5e-7, "1.5e-7"},
		{"varchar(5)", 1.5e-7, ""},
		{"varchar(5)", 0.125, "0.125"},
		{"varchar(6)", 1234567.0, ""},
		{"varchar(3)", 0.12, ""},
		{"double", int64(1<<53 + 1), ""},
		{"double", int64(-1 << 53), "-9.007199254740992e15"},
		{"double", uint64(1<<64 - 1), ""},
		{"float", int64(1<<24 + 1), ""},
		{"float", 1e-60, ""},
		{"float", 0.5, "0.5"},
		{"bigint", int64(1<<53 + 1), "9007199254740993"},
		{"varchar(30)", int64(1<<53 + 1), "9007199254740993"},
	} {
		var got string
		var err error
		switch v := tc.v.(type) {
		case string:
			got, err = stores(t, tc.column, v)
		case []byte:
			got, err = stores(t, tc.column, v)
		case float64:
			got, err = stores(t, tc.column, v)
		case int64:
			got, err = stores(t, tc.column, v)
		case uint64:
			got, err = stores(t, tc.column, v)
		}
		if tc.want == "" {
			require.ErrorContains(t, err, `column "v" (field V): MySQL would store `, "%s %v", tc.column, tc.v)
			continue
		}
		require.NoError(t, err, "%s %v", tc.column, tc.v)
		require.Equal(t, tc.want, got, "%s %v", tc.column, tc.v)
	}
}

// Two keys that MySQL would round to one are not merged.
func TestUpsertTo_RoundedKey(t *testing.T) {
	t.Parallel()
	type row struct {
		K string
		N int64
	}
	for _, column := range []string{"decimal(6,2)", "varchar(5)"} {
		db := setup(t, "create table x (k "+column+" primary key, n bigint)")
		keys := map[string][]string{"decimal(6,2)": {"1.001", "1.002"}, "varchar(5)": {"abcde", "abcde "}}[column]
		err := claimed(t, sqltable.UpsertTo[row](db, "x", "k")).WriteFenced(t.Context(), batch(1, row{keys[0], 1}, row{keys[1], 2}))
		require.ErrorContains(t, err, "MySQL would store")
		require.Empty(t, texts(t, db, "select k from x"))
	}
}
