package pgtable_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// aged adds a row whose key has a given age.
const aged = `insert into ticket (at, utc) select t, t at time zone 'UTC' from (select now() - $1::int * interval '1 second') v (t)`

func TestLag(t *testing.T) {
	t.Parallel()
	for key, utc := range map[string]bool{"at": false, "utc": true} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			pool := setup(t, ticketTable)
			lag := func(by time.Duration) dataflow.Source[ticket, pgtable.Cursor] {
				return tickets(pool, pgtable.Lag{By: by, UTC: utc}, key, "id")
			}
			// One transaction began 50 minutes ago, the others later.
			late := begin(t, pool)
			exec(t, late, aged, 3000)
			exec(t, pool, aged, 2400)
			exec(t, pool, aged, 7200)
			exec(t, pool, aged, 0)

			hour := &follower{t: t, source: lag(time.Hour)}
			require.Equal(t, []ticket{{3, 1}}, hour.run())
			half := &follower{t: t, source: lag(30 * time.Minute)}
			require.Equal(t, []ticket{{3, 1}, {2, 1}}, half.run())
			n, err := half.source.(dataflow.Counter[pgtable.Cursor]).Count(t.Context(), dataflow.Request[pgtable.Cursor]{})
			require.NoError(t, err)
			require.EqualValues(t, 2, n)

			commit(t, late)
			require.Empty(t, hour.run(), "its time has not come")
			hour.source = lag(10 * time.Minute) // as if time had passed
			require.Equal(t, []ticket{{1, 1}, {2, 1}}, hour.run())
			half.source = lag(10 * time.Minute)
			require.Empty(t, half.run(), "a transaction of 50 minutes is too long for a lag of 30: row 1 is missed for ever")
			require.Empty(t, hour.run())
		})
	}
}

func TestLag_Standby(t *testing.T) {
	t.Parallel()
	for replayed, want := range map[string]int{
		`null`:                            0,
		`(now() - interval '2 hours')`:    1,
		`(now() - interval '20 minutes')`: 2,
		`(now() + interval '2 hours')`:    3, // the clock of its primary is ahead
	} {
		pool := standby(t, replayed)
		for _, seconds := range []int{3 * 3600, 3600, 0} {
			exec(t, pool, aged, seconds)
		}
		f := &follower{t: t, source: tickets(pool, pgtable.Lag{By: 10 * time.Minute}, "at", "id")}
		require.Len(t, f.run(), want, replayed)
	}
}
