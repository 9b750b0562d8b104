//go:build unix

package mysqltest

import (
	"database/sql"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

// inBerlin returns a database whose sessions, and whose driver, have the time zone of Berlin in 2024.
func inBerlin(t *testing.T, c *mysql.Config) *sql.DB {
	t.Helper()
	conn, err := opened(t, c).Conn(t.Context()) // which has a variable of its own
	require.NoError(t, err)
	for _, statement := range []string{
		"insert into mysql.time_zone (use_leap_seconds) values ('N')",
		"set @id = last_insert_id()",
		"insert into mysql.time_zone_name (name, time_zone_id) values ('" + c.DBName + "', @id)",
		"insert into mysql.time_zone_transition_type values (@id, 0, 3600, 0, 'CET'), (@id, 1, 7200, 1, 'CEST')",
		"insert into mysql.time_zone_transition values (@id, -2147483648, 0), (@id, 1711846800, 1), (@id, 1729990800, 0)",
	} {
		_, err := conn.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	require.NoError(t, conn.Close())
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	there := c.Clone()
	there.Loc, there.Params = berlin, map[string]string{"time_zone": "'" + c.DBName + "'"}
	return opened(t, there)
}

// A time of a timestamp column that the session's clock shows twice is a bad record: the server takes it for the first
// hour, and the driver for the second. A datetime keeps what the clock shows.
func TestTimestamp_RepeatedHour(t *testing.T) {
	t.Parallel()
	type stamped struct {
		N  int64
		TS time.Time `db:"ts"`
	}
	type dated struct {
		N int64
		D *time.Time
	}
	c := config(t)
	plain := opened(t, c)
	execAll(t, plain, "create table x (n bigint primary key, ts timestamp null, d datetime)")
	db := inBerlin(t, c)
	first := time.Date(2024, 10, 26, 23, 30, 0, 0, time.UTC)
	write, read := sqltable.InsertTo[stamped](db, "x"), sqltable.InsertTo[stamped](plain, "x")
	there, here := claimed(t, write), claimed(t, read)
	for n := range 6 {
		at := first.Add(time.Duration(n) * 30 * time.Minute) // 01:30, 02:00, 02:30, 02:00, 02:30, 03:00
		row := stamped{int64(n), at}
		err := there.WriteFenced(t.Context(), batch(1, row))
		if n == 0 || n == 5 {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, `column "ts" (field TS): the clock of the DSN's loc (Europe/Berlin) shows 2024-10-27 02:`)
		require.NoError(t, here.WriteFenced(t.Context(), batch(1, row)))
	}
	require.Equal(t, []string{"1729985400", "1729987200", "1729989000", "1729990800", "1729992600", "1729994400"}, texts(t, plain, "select unix_timestamp(ts) from x order by n"))
	const query = "select n, ts from x"
	for name, read := range map[string]func(*sql.DB) ([]stamped, map[int]string){
		"Keyset": func(db *sql.DB) ([]stamped, map[int]string) {
			return outcomes(t, sqltable.Keyset[stamped](db, sqltable.Query{SQL: query, Key: []string{"n"}, PageSize: 2}))
		},
		"Select": func(db *sql.DB) ([]stamped, map[int]string) { return outcomes(t, sqltable.Select[stamped](db, query)) },
	} {
		rows, bad := read(db)
		require.Len(t, bad, 4, name)
		require.Contains(t, bad[1], "shows 2024-10-27 02:00:00 twice", name)
		require.True(t, rows[0].TS.Equal(first), name)
		require.True(t, rows[5].TS.Equal(first.Add(150*time.Minute)), name)
		rows, bad = read(plain)
		require.Empty(t, bad, name)
		require.True(t, rows[3].TS.Equal(first.Add(90*time.Minute)), name)
	}
	at := first.Add(time.Hour)
	require.NoError(t, claimed(t, sqltable.InsertTo[dated](db, "x")).WriteFenced(t.Context(), dataflow.FencedBatch[dated]{Flow: "far", Fence: 1, State: []byte("{}"), Rows: []dated{{9, &at}}}))
	require.Equal(t, []string{"2024-10-27 02:30:00"}, texts(t, plain, "select cast(d as char) from x where n = 9"))
}
