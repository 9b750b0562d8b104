package schedule_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/schedule"
)

// expression is a cron expression as a list of allowed values for each field. An empty list
// stands for *.
type expression struct{ second, minute, hour, day, month, weekday []int }

func (e expression) String() string {
	var fields []string
	for _, values := range [][]int{e.second, e.minute, e.hour, e.day, e.month, e.weekday} {
		text := make([]string, len(values))
		for i, v := range values {
			text[i] = strconv.Itoa(v)
		}
		fields = append(fields, max(strings.Join(text, ","), "*"))
	}
	return strings.Join(fields, " ")
}

// matches reports whether the expression has a local time, given as if it were UTC.
func (e expression) matches(local time.Time) bool {
	is := func(values []int, v int) bool { return len(values) == 0 || slices.Contains(values, v) }
	day, weekday := is(e.day, local.Day()), is(e.weekday, int(local.Weekday()))
	dayMatches := day && weekday
	if len(e.day) > 0 && len(e.weekday) > 0 {
		dayMatches = day || weekday
	}
	return dayMatches && is(e.second, local.Second()) && is(e.minute, local.Minute()) &&
		is(e.hour, local.Hour()) && is(e.month, int(local.Month()))
}

// walked is what the second implementation has found.
type walked struct {
	ticks   []time.Time // without duplicates, in order
	skipped map[int64]time.Time
}

// followsHours reports whether the expression has a star for its hours, and followsMinutes for its
// minutes or seconds. Such an expression ticks whenever the clock shows one of its local times, and
// the former makes up for none that is skipped.
func (e expression) followsHours() bool   { return len(e.hour) == 0 }
func (e expression) followsMinutes() bool { return len(e.minute) == 0 || len(e.second) == 0 }

// walk is the second implementation. It applies the rule literally. It looks at the clock at
// each step, and notes when each local time is first shown, and where the clock jumps over
// local times that are never shown. It begins early enough to know what has been shown.
func walk(e expression, zone *time.Location, from, to time.Time, step, early time.Duration) walked {
	first := map[int64]time.Time{}
	jumped := map[int64]time.Time{}
	seconds := int64(step / time.Second)
	var last int64
	var again []time.Time
	for now := from.Add(-early); !now.After(to); now = now.Add(step) {
		clock := now.In(zone)
		local := time.Date(clock.Year(), clock.Month(), clock.Day(), clock.Hour(), clock.Minute(), clock.Second(), 0, time.UTC).Unix()
		if _, ok := first[local]; !ok {
			first[local] = now
		}
		if (e.followsHours() || e.followsMinutes()) && !now.Before(from) && e.matches(time.Unix(local, 0).UTC()) {
			again = append(again, now)
		}
		for missing := last + seconds; last != 0 && missing < local; missing += seconds {
			jumped[missing] = now
		}
		last = local
	}
	found := walked{ticks: again, skipped: map[int64]time.Time{}}
	if e.followsHours() {
		return found
	}
	add := func(local int64, when time.Time) bool {
		if when.Before(from) || !e.matches(time.Unix(local, 0).UTC()) {
			return false
		}
		found.ticks = append(found.ticks, when)
		return true
	}
	for local, when := range first {
		add(local, when)
	}
	for local, when := range jumped {
		if _, shown := first[local]; !shown && add(local, when) {
			found.skipped[local] = when
		}
	}
	slices.SortFunc(found.ticks, time.Time.Compare)
	found.ticks = slices.CompactFunc(found.ticks, time.Time.Equal)
	return found
}

// next is the first tick after a time.
func (w walked) next(after time.Time) (time.Time, bool) {
	i := slices.IndexFunc(w.ticks, func(tick time.Time) bool { return tick.After(after) })
	if i < 0 {
		return time.Time{}, false
	}
	return w.ticks[i], true
}

// requireSame compares a schedule with the ticks that walk found from one time to another.
func (w walked) requireSame(t *testing.T, s *schedule.Schedule, rnd *rand.Rand, from, to time.Time) {
	t.Helper()
	var got []time.Time
	for tick := s.Next(from.Add(-1)); !tick.IsZero() && !tick.After(to) && len(got) <= len(w.ticks); tick = s.Next(tick) {
		got = append(got, tick)
	}
	require.Equal(t, w.ticks, got)
	for range 20 {
		a := from.Add(time.Duration(rnd.Int64N(int64(to.Sub(from)))))
		b := a.Add(time.Duration(rnd.Int64N(int64(to.Sub(a)))))
		if len(w.ticks) > 0 && rnd.IntN(2) == 0 { // the edges
			b = w.ticks[rnd.IntN(len(w.ticks))]
			a = w.ticks[rnd.IntN(len(w.ticks))]
		}
		if want, ok := w.next(a); ok {
			require.Equal(t, want, s.Next(a), "after %s", a)
		}
		within := slices.DeleteFunc(slices.Clone(w.ticks), func(tick time.Time) bool { return tick.Before(a) || tick.After(b) })
		require.EqualValues(t, len(within), s.Count(a, b), "from %s to %s", a, b)
		var last time.Time
		if len(within) > 0 {
			last = within[len(within)-1]
		}
		require.Equal(t, last, s.Last(a, b), "from %s to %s", a, b)
	}
}

// requireGap compares Gap. Gap does not report a schedule of every hour that has a regular tick
// at the end of the gap.
func (w walked) requireGap(t *testing.T, s *schedule.Schedule, e expression, zone *time.Location, from, to time.Time) {
	t.Helper()
	var skipped []int64
	for local, when := range w.skipped {
		clock := when.In(zone)
		shown := time.Date(clock.Year(), clock.Month(), clock.Day(), clock.Hour(), clock.Minute(), clock.Second(), 0, time.UTC)
		if len(e.hour) < 24 || !e.matches(shown) {
			skipped = append(skipped, local)
		}
	}
	wall, when, ok := s.Gap(from.Add(-1), to.Add(1))
	require.Equal(t, len(skipped) > 0, ok)
	if ok {
		first := slices.Min(skipped)
		require.Equal(t, time.Unix(first, 0).UTC().Format(time.DateTime), wall)
		require.Equal(t, w.skipped[first], when)
	}
}

// walkZones have all kinds of clock changes.
var walkZones = []string{
	"Europe/Berlin", "Europe/Dublin", "Europe/Moscow", "Europe/Istanbul", "America/New_York", "America/Havana",
	"America/Sao_Paulo", "America/Santiago", "America/Caracas", "America/Nuuk", "America/St_Johns", "Africa/Cairo",
	"Africa/Casablanca", "Asia/Beirut", "Asia/Amman", "Asia/Gaza", "Asia/Tehran", "Asia/Kathmandu", "Asia/Pyongyang",
	"Australia/Lord_Howe", "Australia/Sydney", "Pacific/Apia", "Pacific/Kwajalein", "Pacific/Chatham", "Antarctica/Troll",
}

// someTime is a random time, in most cases near a clock change of the zone.
func someTime(rnd *rand.Rand, zone *time.Location) time.Time {
	when := time.Date(1975+rnd.IntN(75), time.Month(1+rnd.IntN(12)), 1+rnd.IntN(28), rnd.IntN(24), 0, 0, 0, time.UTC)
	if _, end := when.In(zone).ZoneBounds(); !end.IsZero() && rnd.IntN(4) > 0 {
		return end.UTC().Truncate(time.Hour)
	}
	return when
}

func some(rnd *rand.Rand, n, low, high int) []int {
	values := make([]int, n)
	for i := range values {
		values[i] = low + rnd.IntN(high-low+1)
	}
	return values
}

func TestSchedule_AgainstWalking(t *testing.T) {
	t.Parallel()
	const rounds = 10
	for _, name := range walkZones {
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			t.Parallel()
			zone, err := time.LoadLocation(name)
			require.NoError(t, err)
			rnd := rand.New(rand.NewPCG(4, uint64(len(name))))

			for range rounds { // minute by minute, over some days
				e := expression{second: []int{0}, minute: some(rnd, rnd.IntN(4), 0, 59), hour: some(rnd, rnd.IntN(3), 0, 4)}
				if rnd.IntN(3) == 0 {
					e.hour = some(rnd, 2, 21, 23)
				}
				middle := someTime(rnd, zone)
				if rnd.IntN(3) == 0 {
					e.weekday = []int{int(middle.Weekday())}
				}
				if rnd.IntN(3) == 0 {
					e.day = []int{middle.Day(), middle.AddDate(0, 0, 1).Day()}
				}
				from, to := middle.Add(-40*time.Hour), middle.Add(50*time.Hour)
				found := walk(e, zone, from, to, time.Minute, 30*time.Hour)
				s := newSchedule(t, schedule.Spec{Cron: e.String(), TimeZone: name})
				t.Log(e, from)
				found.requireSame(t, s, rnd, from, to)
				found.requireGap(t, s, e, zone, from, to)
			}
			for range rounds / 5 { // second by second, over some hours
				e := expression{second: some(rnd, 1+rnd.IntN(3), 0, 59), minute: some(rnd, rnd.IntN(5), 0, 59), hour: some(rnd, rnd.IntN(2), 0, 3)}
				middle := someTime(rnd, zone)
				from, to := middle.Add(-time.Hour), middle.Add(2*time.Hour)
				found := walk(e, zone, from, to, time.Second, 4*time.Hour)
				s := newSchedule(t, schedule.Spec{Cron: e.String(), TimeZone: name})
				t.Log(e, from)
				found.requireSame(t, s, rnd, from, to)
			}
		})
	}
}

// The ticks of an interval are what repeated addition from the anchor gives.
func TestSchedule_IntervalsAgainstAdding(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(4, 2))
	for range 300 {
		anchor := time.UnixMilli(rnd.Int64N(4e12) - 2e12).UTC()
		spec := schedule.Spec{Start: anchor, Interval: time.Duration(1000+rnd.Int64N(100_000)) * time.Millisecond}
		spec.Offset = schedule.Stagger(anchor.String(), spec.Interval)
		to := anchor.Add(time.Duration(rnd.Int64N(int64(time.Hour))) + spec.Interval)
		var found walked
		for tick := anchor.Add(spec.Offset); !tick.After(to); tick = tick.Add(spec.Interval) {
			found.ticks = append(found.ticks, tick)
		}
		found.requireSame(t, newSchedule(t, spec), rnd, anchor.Add(-time.Hour), to)
	}
}

func FuzzSchedule(f *testing.F) {
	f.Add("30 2 * * *", uint(0), int64(1_805_000_000_000))
	f.Add("0 0 29 2 *", uint(5), int64(-2_000_000_000_000))
	f.Add("*/7 0,59 */3 1-7 * FRI", uint(21), int64(1_325_200_000_000))
	f.Add("@weekly", uint(22), int64(-8_000_000_000_000))
	f.Add("* * * * * *", uint(9), int64(4_000_000_000_000))
	f.Fuzz(func(t *testing.T, cron string, zone uint, milli int64) {
		name := walkZones[zone%uint(len(walkZones))]
		s, err := schedule.New(schedule.Spec{Cron: cron, TimeZone: name})
		if err != nil {
			var fault *schedule.FieldError
			require.ErrorAs(t, err, &fault)
			require.NotEmpty(t, fault.Field)
			return
		}
		location, err := time.LoadLocation(name)
		require.NoError(t, err)
		start := time.UnixMilli(milli % 60e12).UTC() // from the year 69 to 3871
		now := start
		for i := range 20 {
			tick := s.Next(now)
			require.True(t, tick.After(now), "%s is not after %s", tick, now)
			require.Equal(t, tick, s.Next(tick.Add(-1)))
			require.Equal(t, tick, s.Next(now.Add(tick.Sub(now)/2)), "there is nothing in between")
			require.Equal(t, tick, s.Last(now.Add(1), tick))
			require.Zero(t, s.Last(now.Add(1), tick.Add(-1)))
			require.EqualValues(t, i+1, s.Count(start.Add(1), tick))
			if wall, at, ok := s.Gap(tick.Add(-1), tick.Add(1)); ok {
				require.Equal(t, tick, at)
				require.Less(t, wall, tick.In(location).Format(time.DateTime))
			}
			now = tick
		}
	})
}
