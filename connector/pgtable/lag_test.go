package pgtable_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// A source tells the age of the oldest row after its cursor, where its key says what time it is.
func TestKeyset_Lag(t *testing.T) {
	t.Parallel()
	pool := setup(t,
		`create table event (id bigint primary key, at timestamptz not null, utc timestamp not null, day date not null)`,
		`insert into event select n, now() - n * interval '1 hour', now() at time zone 'utc' - n * interval '1 hour', now() from generate_series(1, 3) n`)
	type event struct{ ID int64 }
	for name, c := range map[string]struct {
		key   []string
		guard pgtable.Guard
		tells bool
	}{
		"WithZone":       {key: []string{"at", "id"}, tells: true},
		"WithGuard":      {key: []string{"at", "id"}, guard: pgtable.Lag{By: 90 * time.Minute}, tells: true}, // what is held back lags too
		"InUTC":          {key: []string{"utc", "id"}, guard: pgtable.OpenTransactions{UTC: true}, tells: true},
		"ZoneNotKnown":   {key: []string{"utc", "id"}, guard: pgtable.Unguarded{}},
		"ZoneNotKnown_2": {key: []string{"utc", "id"}, guard: pgtable.OpenTransactions{}},
		"Day":            {key: []string{"day", "id"}},
		"Number":         {key: []string{"id"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := pgtable.Keyset[event](pool, pgtable.Query{SQL: `select * from event where id > $1`, Args: []any{0}, Key: c.key, LateCommits: c.guard})
			lag := func(r dataflow.Request[pgtable.Cursor]) (time.Duration, bool) {
				t.Helper()
				age, ok, err := source.(dataflow.Lagger[pgtable.Cursor]).Lag(t.Context(), r)
				require.NoError(t, err)
				return age, ok
			}
			age, ok := lag(dataflow.Request[pgtable.Cursor]{})
			require.Equal(t, c.tells, ok)
			if !c.tells {
				return
			}
			require.InDelta(t, 3*time.Hour, age, float64(10*time.Minute))
			cursor := func(id string) (c2 pgtable.Cursor) {
				var at string
				require.NoError(t, pool.QueryRow(t.Context(), `select to_json(`+c.key[0]+`) #>> '{}' from event where id = $1::bigint`, id).Scan(&at))
				return pgtable.Cursor{at, id}
			}
			age, ok = lag(dataflow.Request[pgtable.Cursor]{Resumed: true, From: cursor("2")})
			require.True(t, ok)
			require.InDelta(t, time.Hour, age, float64(10*time.Minute))
			age, ok = lag(dataflow.Request[pgtable.Cursor]{Resumed: true, From: cursor("1")})
			require.True(t, ok)
			require.Zero(t, age)
		})
	}
}

// Rows of infinity, and of the future, have no age.
func TestKeyset_Lag_Odd(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table event (at timestamptz primary key)`)
	source := pgtable.Keyset[struct{}](pool, pgtable.Query{SQL: `select at from event`, Key: []string{"at"}, LateCommits: pgtable.Unguarded{}})
	for _, at := range []string{"infinity", "9999-01-01", "-infinity"} {
		_, err := pool.Exec(t.Context(), `insert into event values ($1)`, at)
		require.NoError(t, err)
		age, ok, err := source.(dataflow.Lagger[pgtable.Cursor]).Lag(t.Context(), dataflow.Request[pgtable.Cursor]{})
		require.NoError(t, err)
		require.True(t, ok)
		require.Zero(t, age, at)
	}
	_, err := pool.Exec(t.Context(), `update event set at = '4713-01-01 BC' where at = '-infinity'`)
	require.NoError(t, err)
	age, ok, err := source.(dataflow.Lagger[pgtable.Cursor]).Lag(t.Context(), dataflow.Request[pgtable.Cursor]{})
	require.NoError(t, err)
	require.True(t, ok)
	require.Greater(t, age, 290*365*24*time.Hour, "as much as a Duration holds")
	_, err = pool.Exec(t.Context(), `drop table event`)
	require.NoError(t, err)
	_, _, err = source.(dataflow.Lagger[pgtable.Cursor]).Lag(t.Context(), dataflow.Request[pgtable.Cursor]{})
	require.ErrorContains(t, err, "event")
}
