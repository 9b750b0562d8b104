//go:build unix

package mysqltest

import (
	"database/sql"
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

type numbered struct{ N int }

// TestKeyset_KeyTypes reads by keys of each type, through drivers with other
// settings. Neighbouring keys differ by as little as the type allows.
func TestKeyset_KeyTypes(t *testing.T) {
	t.Parallel()
	c := config(t)
	plain := opened(t, c)
	dbs := []*sql.DB{plain}
	for _, change := range []func(*mysql.Config){
		func(c *mysql.Config) { c.ParseTime = false },
		func(c *mysql.Config) { c.InterpolateParams = true },
		func(c *mysql.Config) { c.Loc = time.FixedZone("far", 5*3600) },
	} {
		changed := c.Clone()
		change(changed)
		connector, err := mysql.NewConnector(changed)
		require.NoError(t, err)
		db := sql.OpenDB(connector)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		dbs = append(dbs, db)
	}
	for i, kt := range []struct {
		typ    string
		values []any
		first  string
	}{
		{"bigint", []any{math.MinInt64, -9007199254740993, 9007199254740992, 9007199254740993, 9007199254740994, math.MaxInt64}, "-9223372036854775808"},
		{"bigint unsigned", []any{0, 9007199254740993, math.MaxInt64, "9223372036854775808", "18446744073709551614", "18446744073709551615"}, "0"},
		{"tinyint", []any{-128, 0, 127}, "-128"},
		{"decimal(40, 20)", []any{"-1.00000000000000000001", "-1", "12345678901234567890.00000000000000000001", "12345678901234567890.00000000000000000002"}, "-1.00000000000000000001"},
		{"decimal(65, 0) unsigned", []any{"99999999999999999999999999999999999999999999999999999999999999998", "99999999999999999999999999999999999999999999999999999999999999999"}, "99999999999999999999999999999999999999999999999999999999999999998"},
		{"float", []any{-1e30, 0.1, 0.3, 16777215, 16777216}, "-1.0000000150474662e+30"},
		{"double", []any{-1e300, 0.1, 0.30000000000000004, 9007199254740993, 1e300}, "-1e+300"},
		{"datetime(6)", []any{"1000-01-01", "2024-01-01 00:00:00", "2024-01-01 00:00:00.000001", "2024-01-01 00:00:00.000002", "9999-12-31 23:59:59.999999"}, "'1000-01-01 00:00:00.000000'"},
		{"datetime", []any{"2024-01-01 00:00:00", "2024-01-01 00:00:01"}, "'2024-01-01 00:00:00'"},
		{"timestamp(6) null", []any{"2024-10-27 00:30:00", "2024-10-27 01:30:00", "2024-10-27 01:30:00.000001"}, "'2024-10-27 00:30:00.000000'"},
		{"date", []any{"2024-01-01", "2024-01-02"}, "'2024-01-01'"},
		{"year", []any{1999, 2024}, "1999"},
		{"varchar(20)", []any{"", "'", "''", "0.5", "1", "a", "b ", "Ünï", "x'00'"}, "''"},
		{"varchar(20) collate utf8mb4_bin", []any{"", "A", "B", "a", "b", "z", "Ünï", "🦆"}, "''"},
		{"varchar(20) character set latin1", []any{"a", "B", "c", "ü"}, "'a'"},
		{"text collate utf8mb4_unicode_ci", []any{"a", "ä1", "b", "ß", "z"}, "'a'"},
		{"varbinary(9)", []any{[]byte{}, []byte{0}, []byte{0, 0}, []byte("A"), []byte("a"), []byte("a "), []byte{0xff}, []byte{0xff, 0xfe}}, "x''"},
		// MariaDB's order: the last part first, except of versions 6 and 7.
		{"uuid", []any{"ffffffff-0000-4000-8000-000000000001", "11111111-0000-1000-8000-000000000002", "00000000-0000-4000-8000-0000000000ff", "0190a000-0000-7000-8000-0000000000ff", "0190a001-0000-7000-8000-000000000001"}, "'ffffffff-0000-4000-8000-000000000001'"},
		{"inet6", []any{"::", "::9", "::10", "::ffff:1.2.3.4", "a::"}, "'::'"},
		{"inet4", []any{"1.2.3.4", "9.0.0.0", "10.0.0.0"}, "'1.2.3.4'"},
		{"binary(3)", []any{[]byte{0, 0, 1}, []byte("abc"), []byte{0xff, 0xff, 0xff}}, "x'000001'"},
	} {
		t.Run(kt.typ, func(t *testing.T) {
			t.Parallel()
			table := "t" + strconv.Itoa(i)
			execAll(t, plain, "create table "+table+" (`the ``key` "+kt.typ+", n int)")
			for n, v := range kt.values {
				_, err := plain.ExecContext(t.Context(), "insert into "+table+" values (?, ?)", v, n)
				require.NoError(t, err)
			}
			for _, db := range dbs {
				for _, q := range []sqltable.Query{
					{SQL: "select * from " + table, Key: []string{"the `key"}, PageSize: 2},
					{SQL: "select `the ``key`, n, 1 as one from " + table + " where n > ? or '?' = ?", Args: []any{-1, "!"}, Key: []string{"one", "the `key"}, PageSize: 3},
				} {
					source := sqltable.Keyset[numbered](db, q)
					all := readAll(t, source)
					require.Len(t, all, len(kt.values))
					for n := range kt.values {
						require.Equal(t, n, all[n].Value.N, "%v", all)
					}
					require.Equal(t, kt.first, all[0].Cursor[len(q.Key)-1])
					resumeEverywhere(t, source)
					requireParts(t, source, 2)
					requireParts(t, source, 9)
				}
			}
		})
	}
}

func TestKeyset_Refused(t *testing.T) {
	t.Parallel()
	c := config(t)
	db := opened(t, c)
	execAll(t, db,
		"create table t (n int, k varchar(9), l varchar(9) collate utf8mb4_bin, e enum('b', 'a'), j json, i int, d datetime, ts timestamp null, dup int)",
		"insert into t values (1, 'a', 'a', 'a', '1', 1, '2024-01-01', '2024-01-01', 7), (2, 'A', 'A', 'b', '2', null, '2024-01-02', null, 7), (3, 'b', 'a ', 'b', '2', 3, '2024-01-03', null, 8)",
		"create table zero (n int, d datetime)")
	lax := c.Clone()
	lax.Params["sql_mode"] = "''"
	execAll(t, opened(t, lax), "insert into zero values (1, '0000-00-00'), (2, '2024-01-01')")
	for name, tc := range map[string]struct {
		sql  string
		key  []string
		want string
	}{
		"CaseInsensitive": {"select n, k from t", []string{"k"}, "the key (k) is not unique: '"},
		"TrailingSpace":   {"select n, l from t", []string{"l"}, "the key (l) is not unique: 'a"},
		"Twice":           {"select n, dup from t", []string{"dup"}, "several rows have 7"},
		"TwiceText":       {"select n, cast(dup as char) dup from t", []string{"dup"}, "several rows have '7'"},
		"Null":            {"select n, i from t", []string{"i"}, `key column "i" is NULL in the row (NULL)`},
		"NullSecond":      {"select n, ts, 1 as one from t", []string{"one", "ts"}, `key column "ts" is NULL in the row (1, NULL)`},
		"Enum":            {"select n, e from t", []string{"e"}, `key column "e" is of type ENUM, which MySQL sorts and compares differently`},
		"Nothing":         {"select n, null as k from t", []string{"k"}, `key column "k" is of type NULL`},
		"NoColumn":        {"select n from t", []string{"nn"}, `key column "nn" is not among the query's columns ([n]): select it`},
		"ZeroDate":        {"select n, d from zero", []string{"d"}, "a key has the invalid time 0000-00-00 00:00:00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{1, 2, 10} {
				_, err := read(t, sqltable.Keyset[numbered](db, sqltable.Query{SQL: tc.sql, Key: tc.key, PageSize: size}), nil)
				require.ErrorContains(t, err, tc.want)
				require.Equal(t, name != "NoColumn", dataflow.IsPermanent(err), "a migration may yet add a column")
			}
		})
	}
	t.Run("OtherCursor", func(t *testing.T) {
		t.Parallel()
		for column, cursors := range map[string][]string{"i": {"'a'", "1.5"}, "s": {"1", "x'00'"}, "d": {"'soon'", "'0000-00-00 00:00:00'", "17"}} {
			for _, cursor := range cursors {
				_, err := read(t, sqltable.Keyset[numbered](db, sqltable.Query{SQL: "select 1 as n, " + column + " as k from (select n as i, k as s, d from t) u", Key: []string{"k"}}), sqltable.Cursor{cursor})
				require.ErrorContains(t, err, "value 1 of the stored cursor "+cursor+" is not ", "of column %s", column)
				require.True(t, dataflow.IsPermanent(err))
			}
		}
	})
}

// A session in another zone than the driver's would shift timestamps.
func TestSources_Clock(t *testing.T) {
	t.Parallel()
	c := config(t)
	execAll(t, opened(t, c), "create table t (n int, ts timestamp(6) null, d datetime(6))", "insert into t values (1, '2024-07-01 12:00:00.123456', '2024-07-01 12:00:00.123456')")
	type timed struct {
		N  int
		TS *time.Time `db:"ts"`
		D  *time.Time
	}
	with := func(zone string, parse bool, loc *time.Location) *sql.DB {
		changed := c.Clone()
		changed.Params, changed.ParseTime, changed.Loc = map[string]string{"time_zone": "'" + zone + "'"}, parse, loc
		connector, err := mysql.NewConnector(changed)
		require.NoError(t, err)
		db := sql.OpenDB(connector)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return db
	}
	// both reads with Keyset and with Select, with or without the timestamp.
	both := func(db *sql.DB, columns, key string) ([]timed, error) {
		var rows []timed
		items, err := read(t, sqltable.Keyset[timed](db, sqltable.Query{SQL: "select n, " + columns + " from t", Key: []string{key}}), nil)
		if err != nil {
			return nil, err
		}
		for it, err := range sqltable.Select[timed](db, "select n, "+columns+" from t").Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
			if err != nil {
				return nil, err
			}
			rows = append(rows, it.Value)
		}
		require.Equal(t, values(items), rows)
		return rows, nil
	}
	at := time.Date(2024, 7, 1, 12, 0, 0, 123456000, time.UTC)
	far := time.FixedZone("", 2*3600)

	rows, err := both(with("+00:00", true, time.UTC), "ts, d", "n")
	require.NoError(t, err)
	require.Equal(t, []timed{{1, &at, &at}}, rows)
	rows, err = both(with("+02:00", true, far), "ts, d", "n")
	require.NoError(t, err, "the zones are the same")
	require.True(t, rows[0].TS.Equal(at))
	require.True(t, rows[0].D.Equal(at.Add(-2*time.Hour)), "which is what the DSN says")
	_, err = both(with("+02:00", true, time.UTC), "ts, d", "n")
	require.ErrorContains(t, err, `column "ts" is a timestamp: the session's time_zone differs from the DSN's loc (UTC)`)
	require.True(t, dataflow.IsPermanent(err))
	rows, err = both(with("+02:00", true, time.UTC), "null as ts, d", "n")
	require.NoError(t, err, "a datetime has no zone")
	require.True(t, rows[0].D.Equal(at))
	_, err = both(with("+00:00", false, time.UTC), "ts, d", "n")
	require.ErrorContains(t, err, "add parseTime=true to the DSN")
	_, err = both(with("+02:00", true, far), "ts, d", "ts")
	require.ErrorContains(t, err, `key column "ts" is a timestamp, which is in the order of time only if the session is in UTC`)
}

// A page is found by an index, even if the key has several columns.
func TestKeyset_UsesIndex(t *testing.T) {
	t.Parallel()
	c := config(t)
	db := opened(t, c)
	db.SetMaxOpenConns(1)
	execAll(t, db, "create table digit (d int)", "insert into digit values (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)",
		"create table t (id bigint primary key, at datetime(6) not null, name varchar(20) not null, index (at, id), index (name, id))",
		"insert into t select n, '2024-01-01' + interval (n div 100) minute, concat('n', n div 10) from (select a.d + 10 * b.d + 100 * c.d + 1000 * e.d as n from digit a, digit b, digit c, digit e) s",
		"analyze table t")
	type row struct {
		ID   int64
		At   time.Time
		Name string
	}
	for _, key := range [][]string{{"id"}, {"at", "id"}, {"name", "id"}} {
		source := sqltable.Keyset[row](db, sqltable.Query{SQL: "select id, at, name from t where id >= ?", Args: []any{0}, Key: key, PageSize: 10})
		all := readAll(t, sqltable.Keyset[row](db, sqltable.Query{SQL: "select id, at, name from t", Key: key}))
		require.Len(t, all, 10_000)
		execAll(t, db, "flush status")
		items, err := read(t, source, all[len(all)-6].Cursor)
		require.NoError(t, err)
		require.Len(t, items, 5)
		rows := handled(t, db)
		require.Less(t, rows, 200, "rows that were read for the last five, by the key %v", key)
	}
}

// handled returns how many rows the session has read.
func handled(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "show session status like 'Handler_read%'")
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	for rows.Next() {
		var name string
		var count int
		require.NoError(t, rows.Scan(&name, &count))
		n += count
	}
	require.NoError(t, rows.Err())
	return n
}

// What MariaDB says about a query: rows that are committed late, and pages that are sorted.
func TestKeyset_Notes(t *testing.T) {
	t.Parallel()
	db := setup(
		t,
		"create table many (id bigint auto_increment primary key, name varchar(20) not null)",
		"insert into many (name) select seq from seq_1_to_10000",
	)
	type row struct {
		ID   int64
		Name string
	}
	notes := func(query string, key ...string) []string {
		source := sqltable.Keyset[row](db, sqltable.Query{SQL: query, Key: key})
		found, err := source.(dataflow.Noter[sqltable.Cursor]).Notes(t.Context(), dataflow.Request[sqltable.Cursor]{}) //nolint:forcetypeassert // it is one
		require.NoError(t, err)
		return found
	}
	found := notes("select id, name from many", "id")
	require.Len(t, found, 1)
	require.Contains(t, found[0], "a row that is committed after one with a greater `id` was read is never read")
	const late = "select id, name from many where now() > now() - interval 1 minute"
	require.Empty(t, notes(late, "id"))
	require.Equal(t, []string{"each page sorts all rows, which are 10000 or more: create an index on the key (`name`, `id`), in this order"}, notes(late, "name", "id"))
	_, err := db.ExecContext(t.Context(), "create index by_name on many (name, id)")
	require.NoError(t, err)
	require.Empty(t, notes(late, "name", "id"))
	require.Empty(t, notes(late, "name"))
	_, err = db.ExecContext(t.Context(), "insert into many (name) values ('7')")
	require.NoError(t, err)
	require.Equal(t, []string{"rows share a key (name), and one of them may never be read: add a column to the key that makes it unique, with a unique index"}, notes(late, "name"))
	require.Empty(t, notes(late+" and sleep(0.01) = 0", "name"), "it has not looked at all rows in its time")
}

// The cursor of a time is the key of the last row before it. Of a timestamp the moment counts, of a
// datetime and a date the wall clock.
func TestKeyset_SeekTime(t *testing.T) {
	t.Parallel()
	db := setup(
		t,
		"create table hours (id int primary key, stamp timestamp not null, wall datetime not null, day date not null)",
		"insert into hours select seq, '2026-11-27 22:00:00' + interval seq hour, '2026-11-27 22:00:00' + interval seq hour, date('2026-11-27 22:00:00' + interval seq hour) from seq_0_to_8",
	)
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	midnight := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	type row struct{ ID int64 }
	for _, c := range []struct {
		key    string
		before time.Time
		id     int64
		failed string
	}{
		{key: "stamp", before: midnight, id: 1},
		{key: "stamp", before: time.Date(2026, 11, 28, 0, 0, 0, 0, berlin), id: 0},
		{key: "wall", before: time.Date(2026, 11, 28, 0, 0, 0, 0, berlin), id: 1},
		{key: "day", before: midnight, id: 1},
		{key: "wall", before: midnight.AddDate(0, 0, -1), id: -1},
		{key: "day", before: midnight.Add(time.Hour), failed: `the source's key begins with "k", a date without a time of day: give a date`},
		{key: "id + 0", before: midnight, failed: `the source's key begins with "k", of type BIGINT, which is no time: give a cursor`},
	} {
		source := sqltable.Keyset[row](db, sqltable.Query{SQL: "select id, " + c.key + " as k from hours", Key: []string{"k", "id"}})
		cursor, ok, err := source.(dataflow.TimeSeeker[sqltable.Cursor]).SeekTime(t.Context(), dataflow.Request[sqltable.Cursor]{}, c.before) //nolint:forcetypeassert // it is one
		if c.failed != "" {
			var ce *dataflow.ConfigError
			require.ErrorAs(t, err, &ce)
			require.Equal(t, c.failed, ce.Reason)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.id >= 0, ok)
		if ok {
			rest, err := read(t, source, cursor)
			require.NoError(t, err)
			require.Len(t, rest, int(8-c.id), "%s before %s", c.key, c.before)
		}
	}
}

// In another character set than utf8mb4, the server would send question marks for other characters, and store others
// than the records have.
func TestCharset(t *testing.T) {
	t.Parallel()
	type row struct {
		N int
		S string
	}
	type number struct{ N int }
	c := config(t)
	good := opened(t, c)
	execAll(t, good, "create table words (n int primary key, s varchar(20) collate utf8mb4_bin)", "insert into words values (1, 'é'), (2, '日'), (3, '😀')", "create table copies like words")
	for _, charset := range []string{"utf8", "latin1"} {
		other := c.Clone()
		require.NoError(t, other.Apply(mysql.Charset(charset, "")))
		db := opened(t, other)
		for _, key := range []string{"n", "s"} {
			_, err := read(t, sqltable.Keyset[row](db, sqltable.Query{SQL: "select n, s from words", Key: []string{key}}), nil)
			require.ErrorContains(t, err, `column "s" is a text`)
			require.ErrorContains(t, err, "add charset=utf8mb4 to the DSN")
			require.True(t, dataflow.IsPermanent(err))
		}
		var end error
		for it, err := range sqltable.Select[row](db, "select n, s from words").Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
			require.Zero(t, it.Value.N)
			end = err
		}
		require.ErrorContains(t, end, `column "s" is a text`)
		require.Len(t, readAll(t, sqltable.Keyset[number](db, sqltable.Query{SQL: "select n from words", Key: []string{"n"}})), 3, "numbers are the same in each")
		_, err := fencedOf(sqltable.UpsertTo[row](db, "copies", "n")).Claim(t.Context(), "far", 1)
		if charset == "utf8" {
			require.NoError(t, err, "the server refuses characters that it does not have there")
			continue
		}
		require.ErrorContains(t, err, "the session's character set is latin1")
		require.True(t, dataflow.IsPermanent(err))
	}
	require.Len(t, readAll(t, sqltable.Keyset[row](good, sqltable.Query{SQL: "select n, s from words", Key: []string{"s"}, PageSize: 1})), 3)
}

// The server sorts by the first bytes of a key only. Rows that differ after that come in any order, and reading on after
// one of them would lose others.
func TestKeyset_LongKeys(t *testing.T) {
	t.Parallel()
	c := config(t)
	db := opened(t, c)
	far := c.Clone()
	far.Params["max_sort_length"] = "65536"
	for table, most := range map[string]int{"varchar(2000)": 256, "longtext collate utf8mb4_bin": 256, "text collate utf8mb4_unicode_ci": 256, "text collate utf8mb4_uca1400_as_cs": 169, "varbinary(2000)": 1016, "longblob": 1016} {
		name := "`" + table + "`"
		execAll(t, db, "create table "+name+" (k "+table+", n int)",
			fmt.Sprintf("insert into %s values (concat(repeat('x', %d), 'd'), 4), (concat(repeat('x', %[2]d), 'b'), 2), (concat(repeat('x', %[2]d), 'a'), 1), (concat(repeat('x', %[2]d), 'c'), 3)", name, most-1))
		for _, size := range []int{1, 2, 10} {
			query := sqltable.Query{SQL: "select n, k from " + name, Key: []string{"k"}, PageSize: size}
			require.Equal(t, []numbered{{1}, {2}, {3}, {4}}, values(readAll(t, sqltable.Keyset[numbered](db, query))), "of a key that is sorted as a whole")
			execAll(t, db, "update "+name+" set k = concat('x', k)")
			for _, key := range [][]string{{"k"}, {"one", "k"}} {
				query := sqltable.Query{SQL: "select n, 1 as one, k from " + name, Key: key, PageSize: size}
				_, err := read(t, sqltable.Keyset[numberedOne](db, query), nil)
				require.ErrorContains(t, err, "has a value that is too long to sort")
				require.True(t, dataflow.IsPermanent(err))
				resumeEverywhere(t, sqltable.Keyset[numberedOne](opened(t, far), query))
			}
			execAll(t, db, "update "+name+" set k = substring(k, 2)")
		}
	}
}

type numberedOne struct{ N, One int }
