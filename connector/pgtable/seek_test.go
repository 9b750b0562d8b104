package pgtable_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// The cursor of a time is the key of the last row before it, in the type of the key's first
// column. With a zone, the moment counts; without one, the wall clock.
func TestKeyset_SeekTime(t *testing.T) {
	t.Parallel()
	pool := setup(t,
		`create table event (id bigint primary key, at timestamptz not null, wall timestamp not null, day date not null)`,
		`insert into event select n, '2026-11-27 22:00Z'::timestamptz + n * interval '1 hour', '2026-11-27 22:00'::timestamp + n * interval '1 hour',
			('2026-11-27 22:00'::timestamp + n * interval '1 hour')::date from generate_series(0, 9) n`)
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	santiago, err := time.LoadLocation("America/Santiago")
	require.NoError(t, err)
	type row struct{ ID int64 }
	seek := func(key string, before time.Time) (int64, error) {
		source := pgtable.Keyset[row](pool, pgtable.Query{SQL: `select * from (select id, ` + key + ` as k from event) e where id < $1`, Args: []any{9}, Key: []string{"k", "id"}, LateCommits: pgtable.Unguarded{}})
		cursor, ok, err := source.(dataflow.TimeSeeker[pgtable.Cursor]).SeekTime(t.Context(), request{}, before)
		if err != nil || !ok {
			require.Nil(t, cursor)
			return -1, err
		}
		require.NoError(t, source.(dataflow.RequestChecker[pgtable.Cursor]).CheckRequest(request{From: cursor, Resumed: true}))
		rest, err := collect(source.Read(t.Context(), request{From: cursor, Resumed: true}))
		require.NoError(t, err)
		return 8 - int64(len(rest)), nil
	}
	utc := func(hour, minute int) time.Time { return time.Date(2026, 11, 28, hour, minute, 0, 0, time.UTC) }
	for _, c := range []struct {
		key    string
		before time.Time
		id     int64
	}{
		{"at", utc(0, 0), 1},
		{"at", utc(0, 1), 2},
		{"at", utc(0, 0).In(berlin), 1},
		{"at", time.Date(2026, 11, 28, 0, 0, 0, 0, berlin), 0},
		{"at", utc(-5, 0), -1},
		{"at", utc(48, 0), 8},
		{"wall", utc(0, 0), 1},
		{"wall", utc(0, 0).In(berlin), 2},
		{"day", utc(0, 0), 1},
		{"day", time.Date(2026, 11, 29, 0, 0, 0, 0, berlin), 8},
		{"day", time.Date(2026, 9, 6, 1, 0, 0, 0, santiago), -1}, // no clock shows midnight of that day
	} {
		id, err := seek(c.key, c.before)
		require.NoError(t, err, "%s before %s", c.key, c.before)
		require.Equal(t, c.id, id, "%s before %s", c.key, c.before)
	}
	var ce *dataflow.ConfigError
	_, err = seek("day", utc(1, 0))
	require.ErrorAs(t, err, &ce)
	require.Equal(t, `the source's key begins with "k", a date without a time of day: give a date`, ce.Reason)
	_, err = seek("id::integer", utc(0, 0))
	require.ErrorAs(t, err, &ce)
	require.Equal(t, `the source's key begins with "k", of type integer, which is no time: give a cursor`, ce.Reason)
}
