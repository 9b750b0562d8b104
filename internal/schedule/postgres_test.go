package schedule_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/dbtest"
	"github.com/activedataflow/dataflow/internal/schedule"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

// makeMoment lists what, according to Postgres, a zone's clock shows in each minute. Here and
// below, minutes are counted from a midnight, in UTC or by the clock: half a million
// timestamps would take a lot longer.
const makeMoment = `
create temporary table moment as
select utc, shown, lag(shown) over (order by utc) as before
from (
	select utc, ((date_part('epoch', to_timestamp($2::bigint + utc * 60) at time zone $1) - $2) / 60)::int as shown
	from generate_series(1440, $3::int) as utc
) as minute`

// makeLocal finds out when each local minute runs. It does not use the conversion of Postgres,
// whose rules for skipped and repeated local times are different. A minute that is shown runs
// when it is first shown. A minute that is skipped runs in the first minute after the gap.
const makeLocal = `
create temporary table local as
with real as (
	select shown as wall, min(utc) as utc from moment group by shown
), skipped as (
	select jumped as wall, utc
	from moment, generate_series(before + 1, shown - 1) as jumped
	where shown > before + 1 and not exists (select from real where real.wall = jumped)
)
select utc, wall % 60 as minute, wall / 60 % 24 as hour, $1::date + wall / 1440 as day
from (select * from real union all select * from skipped) as minute
where utc >= $2::int`

// makeReal is what expressions with a star go by: each minute, with what the clock shows, and, if
// only the minutes have a star, the skipped minutes too.
const makeReal = `
create temporary table in_hours as
select utc, minute, hour, day from local
where not exists (select from moment m where m.shown = (local.day - $1::date) * 1440 + local.hour * 60 + local.minute)
union all
select utc, shown % 60, shown / 60 % 24, $1::date + shown / 1440 from moment where utc >= $2::int`

// makeEach is the same without skipped minutes.
const makeEach = `
create temporary table each as
select utc, shown % 60 as minute, shown / 60 % 24 as hour, $1::date + shown / 1440 as day from moment where utc >= $2::int`

// selectTicks packs the minutes of a schedule, up to half a million. A minute occurs more than
// once if several local minutes run in it.
const selectTicks = `string_agg(int4send(utc), null order by utc) filter (where %s)`

// selectChanges returns when the offset changes, and to what.
const selectChanges = `select utc, shown - utc from moment where shown <> before + 1 order by utc`

type postgresSchedule struct{ cron, table, sql string }

// postgresSchedules are cron expressions and their equivalents in SQL.
var postgresSchedules = []postgresSchedule{
	{"* * * * *", "each", "true"},
	{"30 2 * * *", "local", "hour = 2 and minute = 30"},
	{"0 0 * * *", "local", "hour = 0 and minute = 0"},
	{"15,45 1-3 * * *", "local", "hour between 1 and 3 and minute in (15, 45)"},
	{"0 * * * *", "each", "minute = 0"},
	{"0-59 0-23 * * *", "local", "true"},
	{"*/20 0,23 13 * 0", "in_hours", "hour in (0, 23) and minute in (0, 20, 40) and (extract(day from day) = 13 or extract(dow from day) = 0)"},
	{"10 1-2,23 * * 6,5", "local", "hour in (1, 2, 23) and minute = 10 and extract(dow from day) in (5, 6)"},
}

// Each zone is compared for a year, minute by minute.
var postgresZones = []struct{ zone, from, why string }{
	{"Europe/Berlin", "2026-11-01", "the usual"},
	{"America/Havana", "2026-11-01", "gap at 00:00, fold back to 00:00"},
	{"Asia/Beirut", "2026-11-01", "gap at 00:00, fold at 24:00"},
	{"Australia/Lord_Howe", "2026-11-01", "half an hour"},
	{"Africa/Cairo", "2024-01-01", "gap at 00:00 of a Friday, fold at 24:00 of a Thursday"},
	{"America/Sao_Paulo", "2018-01-01", "gap at 00:00, fold at 24:00, in the south"},
	{"Asia/Beirut", "2022-11-01", "a year in which the rules were changed and changed back"},
	{"Pacific/Apia", "2011-04-01", "no 30 December, and clock changes before and after"},
	{"Asia/Pyongyang", "2018-01-01", "standard time put ahead by half an hour, at 23:30"},
	{"Europe/Moscow", "2014-01-01", "standard time put back by an hour"},
	{"Pacific/Kwajalein", "1969-04-01", "30 September came twice"},
}

// The ticks of a year agree with Postgres's own implementation of time zones. With the race detector, a
// third of the zones is tried with a third of the schedules each; scripts/versions.sh tries all.
func TestSchedule_AgainstPostgres(t *testing.T) {
	t.Parallel()
	pool := dbtest.Postgres(t)
	for z, test := range postgresZones {
		schedules := postgresSchedules
		if dbtest.Race {
			if z%3 != 1 {
				continue
			}
			schedules = slices.DeleteFunc(slices.Clone(schedules), func(s postgresSchedule) bool { return slices.Index(postgresSchedules, s)%3 != z/3%3 })
		}
		t.Run(strings.ReplaceAll(test.zone, "/", "_")+"_"+test.from[:4], func(t *testing.T) {
			t.Parallel()
			conn, err := pool.Acquire(t.Context())
			require.NoError(t, err)
			defer conn.Release()
			from := at(t, test.from+" 00:00")
			to := from.AddDate(1, 0, 0)
			// Two days are enough to know which local times a clock that was put back repeats.
			base := from.AddDate(0, 0, -3)
			minutes := func(when time.Time) int { return int(when.Sub(base) / time.Minute) }
			for _, statement := range []struct {
				sql  string
				args []any
			}{
				{"drop table if exists moment, local, in_hours, each", nil},
				{makeMoment, []any{test.zone, base.Unix(), minutes(to) - 1}},
				{makeLocal, []any{base, minutes(from)}},
				{makeReal, []any{base, minutes(from)}},
				{makeEach, []any{base, minutes(from)}},
			} {
				_, err = conn.Exec(t.Context(), statement.sql, append([]any{pgx.QueryExecModeExec}, statement.args...)...)
				require.NoError(t, err)
			}
			requireSameRules(t, conn.Conn(), test.zone, base, to)
			columns := make([]string, len(schedules))
			packed := make([]any, len(schedules))
			for i, same := range schedules {
				columns[i], packed[i] = fmt.Sprintf("(select "+selectTicks+" from %s)", same.sql, same.table), new([]byte)
			}
			query := "select " + strings.Join(columns, ", ")
			require.NoError(t, conn.QueryRow(t.Context(), query).Scan(packed...))
			for i, same := range schedules {
				want := unpack(*packed[i].(*[]byte))
				require.NotEmpty(t, want, same.cron)
				requireTicks(t, schedule.Spec{Cron: same.cron, TimeZone: test.zone}, want, base, from, to)
			}
		})
	}
}

func unpack(packed []byte) []uint32 {
	list := make([]uint32, len(packed)/4)
	for i := range list {
		list[i] = binary.BigEndian.Uint32(packed[4*i:])
	}
	return slices.Compact(list)
}

// requireTicks compares a list of minutes with all ticks from one time to before another.
func requireTicks(t *testing.T, spec schedule.Spec, minutes []uint32, base, from, to time.Time) {
	t.Helper()
	s := newSchedule(t, spec)
	now := from.Add(-1)
	for _, minute := range minutes {
		want := base.Unix() + 60*int64(minute)
		after := now
		if now = s.Next(now); now.Unix() != want {
			require.Equal(t, time.Unix(want, 0).UTC(), now, "%s after %s", spec.Cron, after)
		}
		if pause := now.Sub(after); pause > time.Minute { // the clock may have been put back
			require.Equal(t, now, s.Next(after.Add(pause/2)), "%s after %s and a while", spec.Cron, after)
		}
	}
	require.False(t, s.Next(now).Before(to), "%s has a tick after %s", spec.Cron, now)
	require.EqualValues(t, len(minutes), s.Count(from, to.Add(-1)), spec.Cron)
	require.Equal(t, now, s.Last(from, to.Add(-1)), spec.Cron)
}

// requireSameRules fails if Go and Postgres have different zone files, so that this is not
// mistaken for a wrong tick. Go reads the zone files of the machine, and so does Postgres on
// Debian, but either may have been built with its own. The rules of the zones above have been
// the same for years. If this fails because a country changed its rules, update the older one
// (package tzdata; PostgreSQL's minor release; Go's, for time/tzdata), or choose another year.
func requireSameRules(t *testing.T, conn *pgx.Conn, zone string, base, to time.Time) {
	t.Helper()
	type change struct{ At, Shift int } // minutes
	rows, err := conn.Query(t.Context(), selectChanges)
	require.NoError(t, err)
	theirs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[change])
	require.NoError(t, err)

	location, err := time.LoadLocation(zone)
	require.NoError(t, err)
	const early = 1440 // where makeMoment begins
	var ours []change
	_, last := base.Add(early * time.Minute).In(location).Zone()
	for minute := early; base.Add(time.Duration(minute) * time.Minute).Before(to); minute += 15 {
		if _, shift := base.Add(time.Duration(minute) * time.Minute).In(location).Zone(); shift != last {
			ours = append(ours, change{minute, shift / 60})
			last = shift
		}
	}
	require.NotEmpty(t, ours, "a zone without clock changes shows little")
	require.Equal(t, theirs, ours, "PostgreSQL and Go have different rules for %s: their zone files are of different versions", zone)
}
