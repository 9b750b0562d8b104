//go:build unix

package mysqltest

import (
	"database/sql"
	"strings"
	"testing"
	"time"

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
		{"enum('a','b')", "A", ""},
		{"enum('a','b')", "a ", ""},
		{"enum('a','b')", "\u00e1", ""},
		{"enum('a','A')  collate utf8mb4_bin", "A", "A"},
		{"enum('a','b')", int64(2), "b"},
		{"set('a','b')", "b,A", ""},
		{"set('a','b')", "b,a", "a,b"},
		{"year", "24", ""},
		{"year", int64(24), ""},
		{"year", 99.0, ""},
		{"year", "0", ""},
		{"year", "0000", "0000"},
		{"year", int64(0), "0000"},
		{"year", "1999", "1999"},
		{"time", int64(3600), ""},
		{"time", "3600", ""},
		{"time", 12.0, ""},
		{"time", int64(0), "00:00:00"},
		{"time", "10:30", "10:30:00"},
		{"time", "-838:59:59", "-838:59:59"},
		{"time", "10:30:01.70", ""},
		{"time(1)", "10:30:01.700000", "10:30:01.7"},
		{"time", "2024-01-01 10:30:01", ""},
		{"datetime", "2024-01-01 10:00:00.7", ""},
		{"datetime", "2024-01-01T10:00:00.0", "2024-01-01 10:00:00"},
		{"datetime(3)", "2024-01-01 10:00:00.1234", ""},
		{"datetime(6)", "2024-01-01 10:00:00.123456789", "2024-01-01 10:00:00.123456"},
		{"timestamp(3) null", "2024-01-01 10:00:00.1234", ""},
		{"tinytext", strings.Repeat("x", 255) + " ", ""},
		{"tinytext", strings.Repeat("x", 254) + " ", strings.Repeat("x", 254) + " "},
		{"tinytext character set latin1", strings.Repeat("\u00e4", 254) + " ", strings.Repeat("\u00e4", 254) + " "},
		{"text", strings.Repeat("x", 1<<16-1) + "\n", ""},
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

// The zero time is no date of MySQL's driver, which would write 0000-00-00, and NULL no time of a timestamp that is not
// null: MariaDB would store the time of the write.
func TestTo_NoTime(t *testing.T) {
	t.Parallel()
	type row struct {
		ID int64
		D  time.Time
		TS *time.Time
	}
	at := time.Date(2024, 1, 31, 9, 30, 0, 0, time.UTC)
	db := setup(t, "create table x (id bigint primary key, d datetime(6), ts timestamp not null)")
	for name, target := range map[string]dataflow.Target[row]{"InsertTo": sqltable.InsertTo[row](db, "x"), "UpsertTo": sqltable.UpsertTo[row](db, "x", "id")} {
		s := claimed(t, target)
		for want, bad := range map[string]row{
			`column "d" (field D): MySQL's driver would store the time 0001-01-01 00:00:00 as 0000-00-00`: {2, time.Time{}, &at},
			`column "ts" (field TS): MySQL would store NULL as the time of the write`:                     {2, at, nil},
		} {
			err := s.WriteFenced(t.Context(), batch(1, row{1, at, &at}, bad))
			require.ErrorContains(t, err, want, name)
			var of *dataflow.RowError
			require.ErrorAs(t, err, &of)
			require.Equal(t, 1, of.Row)
			require.Empty(t, texts(t, db, "select id from x"))
		}
	}
}

// Two keys of which MySQL would keep the same part are not merged.
func TestUpsertTo_CutKey(t *testing.T) {
	t.Parallel()
	type timed struct {
		K time.Time
		N int64
	}
	type float struct {
		K float64
		N int64
	}
	at := time.Date(2024, 1, 31, 9, 30, 0, 0, time.UTC)
	for column, digits := range map[string]time.Duration{"datetime": time.Second, "datetime(3)": time.Millisecond, "timestamp(6) null": time.Microsecond} {
		db := setup(t, "create table x (k "+column+", n bigint, unique index (k))")
		s := claimed(t, sqltable.UpsertTo[timed](db, "x", "k"))
		require.NoError(t, s.WriteFenced(t.Context(), batch(1, timed{at, 1}, timed{at.Add(digits), 2})))
		if digits > time.Microsecond {
			require.ErrorContains(t, s.WriteFenced(t.Context(), batch(1, timed{at, 3}, timed{at.Add(digits / 10), 4})), "digits after the second in a column of type "+strings.TrimSuffix(column, " null"))
		}
		require.Equal(t, []string{"1", "2"}, texts(t, db, "select n from x order by k"))
	}
	db := setup(t, "create table x (k decimal(10,2) primary key, n bigint)")
	s := claimed(t, sqltable.UpsertTo[float](db, "x", "k"))
	require.ErrorContains(t, s.WriteFenced(t.Context(), batch(1, float{0.101, 1}, float{0.102, 2})), "as a number with 2 digits after the point")
	require.NoError(t, s.WriteFenced(t.Context(), batch(1, float{0.1, 1}, float{0.12, 2})))
	require.Equal(t, []string{"1", "2"}, texts(t, db, "select n from x order by k"))
}
