package sqltable_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

// The cursor of a time is the key of the last row before it, in the form in which SQLite has the
// times. With a zone, the moment counts; without one, the wall clock.
func TestKeyset_SeekTime(t *testing.T) {
	t.Parallel()
	db := setup(t, `create table hours (id integer primary key, at text not null)`, `create table empty (id integer primary key, k text not null)`)
	start := time.Date(2026, 11, 27, 22, 0, 0, 0, time.UTC)
	for n := range 9 {
		_, err := db.ExecContext(t.Context(), `insert into hours values (?, ?)`, n, start.Add(time.Duration(n)*time.Hour).Format(time.DateTime))
		require.NoError(t, err)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	santiago, err := time.LoadLocation("America/Santiago")
	require.NoError(t, err)
	type row struct{ ID int64 }
	seek := func(query string, before time.Time) (int64, error) {
		source := sqltable.Keyset[row](db, sqltable.Query{SQL: query, Key: []string{"k", "id"}})
		cursor, ok, err := source.(dataflow.TimeSeeker[sqltable.Cursor]).SeekTime(t.Context(), request{}, before)
		if err != nil || !ok {
			require.Nil(t, cursor)
			return -1, err
		}
		rest, err := collect(source.Read(t.Context(), request{From: cursor, Resumed: true}))
		require.NoError(t, err)
		return 8 - int64(len(rest)), nil
	}
	of := func(format string) string { return `select id, strftime('` + format + `', at) as k from hours` }
	utc := func(hour, minute, second int) time.Time {
		return time.Date(2026, 11, 28, hour, minute, second, 0, time.UTC)
	}
	midnight := time.Date(2026, 11, 28, 0, 0, 0, 0, berlin)
	for _, c := range []struct {
		query  string
		before time.Time
		id     int64
	}{
		{of("%Y-%m-%d %H:%M:%S"), utc(0, 0, 0), 1},
		{of("%Y-%m-%d %H:%M:%S"), utc(0, 0, 1), 2},
		{of("%Y-%m-%d %H:%M:%S"), midnight, 1},
		{of("%Y-%m-%d %H:%M:%f"), utc(0, 0, 0), 1},
		{of("%Y-%m-%d %H:%M"), utc(0, 0, 0), 1},
		{of("%Y-%m-%dT%H:%M:%fZ"), utc(0, 0, 0), 1},
		{of("%Y-%m-%dT%H:%M:%fZ"), midnight, 0},
		{of("%Y-%m-%dT%H:%M:%S+00:00"), midnight, 0},
		{of("%Y-%m-%d %H:%M:%S +0000 UTC"), midnight, 0},
		{of("%Y-%m-%d %H:%M:%S+05:30"), utc(-5, -30, 0), 1},
		{of("%Y-%m-%d"), utc(0, 0, 0), 1},
		{of("%Y-%m-%d"), midnight, 1},
		{of("%Y-%m-%d"), utc(-24, 0, 0), -1},
		{of("%Y-%m-%d"), time.Date(2026, 9, 6, 1, 0, 0, 0, santiago), -1}, // no clock shows midnight of that day
		{of("%Y-%m-%d %H:%M:%S"), utc(48, 0, 0), 8},
		{`select id, k from empty`, utc(0, 0, 0), -1},
	} {
		id, err := seek(c.query, c.before)
		require.NoError(t, err, "%s before %s", c.query, c.before)
		require.Equal(t, c.id, id, "%s before %s", c.query, c.before)
	}
	for query, want := range map[string]string{
		of("%Y-%m-%d"): `the source's key begins with "k", a date without a time of day: give a date`,
		`select id, unixepoch(at) as k from hours`:    `the source's key begins with "k", such as 1795845600, which is no time: give a cursor`,
		`select id, 'order ' || id as k from hours`:   `the source's key begins with "k", such as 'order 8', which is no time: give a cursor`,
		`select id, cast(at as blob) as k from hours`: `the source's key begins with "k", such as x'323032362d31312d32382030363a30303a3030', which is no time: give a cursor`,
	} {
		_, err := seek(query, utc(1, 0, 0))
		var ce *dataflow.ConfigError
		require.ErrorAs(t, err, &ce, query)
		require.Equal(t, want, ce.Reason)
	}
}
