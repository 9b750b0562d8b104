package sqltable

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/keyrange"
)

// A parameter is compared exactly, or refused. MySQL would compare a number that does not fit, or
// a date that is none, as another one.
func TestKeys_MySQLParameters(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind      keyrange.Kind
		text, sql string
		value     any
		refused   string
	}{
		{kind: keyrange.Integer, text: "-17", sql: "?", value: int64(-17)},
		{kind: keyrange.Integer, text: "18446744073709551615", sql: "?", value: uint64(18446744073709551615)},
		{kind: keyrange.Numeric, text: "-0.125", sql: "cast(? as decimal(65, 3))", value: "-0.125"},
		{kind: keyrange.Numeric, text: "100000000000000000000000000000000000000000000000000", sql: "cast(? as decimal(65, 0))", value: "100000000000000000000000000000000000000000000000000"},
		{kind: keyrange.Numeric, text: "NaN", refused: "up to 65 digits, and 30 after the point"},
		{kind: keyrange.Numeric, text: "0.0000000000000000000000000000001", refused: "up to 65 digits"},
		{kind: keyrange.Bytes, text: "00ff", sql: "?", value: []byte{0, 255}},
		{kind: keyrange.Date, text: "00000001", sql: "cast(? as date)", value: "2000-01-02"},
		{kind: keyrange.Date, text: "7fffffff", refused: "years 0 to 9999"},
		{kind: keyrange.TimestampTZ, text: "00000000000f4241", sql: "cast(? as datetime(6))", value: "2000-01-01 00:00:01.000001"},
		{kind: keyrange.Timestamp, text: "7fffffffffffffff", refused: "years 0 to 9999"},
		{kind: keyrange.Timestamp, text: "ff00000000000000", refused: "years 0 to 9999"},
	} {
		sql, value, err := mysqlDialect{}.param(test.kind, test.text)
		if test.refused != "" {
			require.ErrorContains(t, err, test.refused, test.text)
			continue
		}
		require.NoError(t, err, test.text)
		require.Equal(t, []any{test.sql, test.value}, []any{sql, value}, test.text)
	}
}
