package schedule_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/schedule"
)

func newSchedule(tb testing.TB, spec schedule.Spec) *schedule.Schedule {
	tb.Helper()
	s, err := schedule.New(spec)
	require.NoError(tb, err)
	return s
}

// at reads a time in UTC such as "2027-03-28 01:00" or "2027-03-28 01:00:30".
func at(tb testing.TB, text string) time.Time {
	tb.Helper()
	if len(text) == len("2006-01-02 15:04") {
		text += ":00"
	}
	parsed, err := time.Parse(time.DateTime, text)
	require.NoError(tb, err)
	return parsed
}

// ticks are the next ones after a time, as text.
func ticks(s *schedule.Schedule, after time.Time, n int) []string {
	var list []string
	for range n {
		if after = s.Next(after); after.IsZero() {
			return append(list, "never")
		}
		list = append(list, after.Format("2006-01-02 15:04:05.999 MST"))
	}
	return list
}

func TestSchedule_Next(t *testing.T) {
	t.Parallel()
	start := time.Date(2027, 5, 1, 10, 0, 7, 0, time.UTC)
	tests := []struct {
		name  string
		spec  schedule.Spec
		after string
		want  []string
	}{
		{
			"IntervalFromEpoch",
			schedule.Spec{Interval: time.Hour},
			"2027-05-01 10:00",
			[]string{"2027-05-01 11:00:00 UTC", "2027-05-01 12:00:00 UTC"},
		},
		{
			"IntervalBeforeEpoch",
			schedule.Spec{Interval: 7 * time.Second},
			"1969-12-31 23:59:50",
			[]string{"1969-12-31 23:59:53 UTC", "1970-01-01 00:00:00 UTC", "1970-01-01 00:00:07 UTC"},
		},
		{
			"IntervalFromStart",
			schedule.Spec{Interval: time.Minute, Start: start},
			"2027-05-02 10:00",
			[]string{"2027-05-02 10:00:07 UTC", "2027-05-02 10:01:07 UTC"},
		},
		{
			"StartIsTheFirst",
			schedule.Spec{Interval: time.Minute, Start: start},
			"2020-01-01 00:00",
			[]string{"2027-05-01 10:00:07 UTC", "2027-05-01 10:01:07 UTC"},
		},
		{
			"StartRoundedUp",
			schedule.Spec{Interval: time.Minute, Start: start.Add(1)},
			"2020-01-01 00:00",
			[]string{"2027-05-01 10:00:07.001 UTC", "2027-05-01 10:01:07.001 UTC"},
		},
		{
			"IntervalOffset",
			schedule.Spec{Interval: time.Hour, Offset: 1500 * time.Millisecond},
			"2027-05-01 10:00",
			[]string{"2027-05-01 10:00:01.5 UTC", "2027-05-01 11:00:01.5 UTC"},
		},
		{
			"IntervalOffsetFromStart",
			schedule.Spec{Interval: time.Minute, Start: start, Offset: time.Second},
			"2020-01-01 00:00",
			[]string{"2027-05-01 10:00:08 UTC", "2027-05-01 10:01:08 UTC"},
		},
		{
			"OddInterval",
			schedule.Spec{Interval: 1001 * time.Millisecond},
			"1970-01-01 00:00",
			[]string{"1970-01-01 00:00:01.001 UTC", "1970-01-01 00:00:02.002 UTC", "1970-01-01 00:00:03.003 UTC"},
		},
		{
			"EndIncluded",
			schedule.Spec{Interval: time.Minute, Start: start, End: start.Add(time.Minute)},
			"2020-01-01 00:00",
			[]string{"2027-05-01 10:00:07 UTC", "2027-05-01 10:01:07 UTC", "never"},
		},
		{
			"BeforeEnd",
			schedule.Spec{Interval: time.Minute, Start: start, End: start.Add(time.Minute - 1)},
			"2020-01-01 00:00",
			[]string{"2027-05-01 10:00:07 UTC", "never"},
		},
		{
			"FiveFields",
			schedule.Spec{Cron: "15,45 1-2 * * *"},
			"2027-05-01 00:00",
			[]string{"2027-05-01 01:15:00 UTC", "2027-05-01 01:45:00 UTC", "2027-05-01 02:15:00 UTC", "2027-05-01 02:45:00 UTC", "2027-05-02 01:15:00 UTC"},
		},
		{
			"SixFields",
			schedule.Spec{Cron: "10/25 59 23 31 12 *"},
			"2027-05-01 00:00",
			[]string{"2027-12-31 23:59:10 UTC", "2027-12-31 23:59:35 UTC", "2028-12-31 23:59:10 UTC"},
		},
		{"Spaces", schedule.Spec{Cron: "  @daily "}, "2027-05-01 00:00", []string{"2027-05-02 00:00:00 UTC"}},
		{"Hourly", schedule.Spec{Cron: "@hourly"}, "2027-05-01 00:00", []string{"2027-05-01 01:00:00 UTC"}},
		{"Midnight", schedule.Spec{Cron: "@midnight"}, "2027-05-01 00:00", []string{"2027-05-02 00:00:00 UTC"}},
		{"Weekly", schedule.Spec{Cron: "@weekly"}, "2027-05-01 00:00", []string{"2027-05-02 00:00:00 UTC", "2027-05-09 00:00:00 UTC"}},
		{"Monthly", schedule.Spec{Cron: "@monthly"}, "2027-05-01 00:00", []string{"2027-06-01 00:00:00 UTC"}},
		{"Yearly", schedule.Spec{Cron: "@yearly"}, "2027-05-01 00:00", []string{"2028-01-01 00:00:00 UTC"}},
		{"Annually", schedule.Spec{Cron: "@annually"}, "2027-05-01 00:00", []string{"2028-01-01 00:00:00 UTC"}},
		{
			"EitherDay",
			schedule.Spec{Cron: "0 0 13 * FRI"},
			"2027-05-07 00:00",
			[]string{"2027-05-13 00:00:00 UTC", "2027-05-14 00:00:00 UTC", "2027-05-21 00:00:00 UTC"},
		},
		{
			"BothDays",
			schedule.Spec{Cron: "0 0 ? * FRI"},
			"2027-05-07 00:00",
			[]string{"2027-05-14 00:00:00 UTC", "2027-05-21 00:00:00 UTC"},
		},
		{
			"StepRestricts",
			schedule.Spec{Cron: "0 0 */15 * FRI"},
			"2027-05-01 00:00",
			[]string{"2027-05-07 00:00:00 UTC", "2027-05-14 00:00:00 UTC", "2027-05-16 00:00:00 UTC"},
		},
		{"SundaySeven", schedule.Spec{Cron: "0 0 * * 7"}, "2027-05-01 00:00", []string{"2027-05-02 00:00:00 UTC", "2027-05-09 00:00:00 UTC"}},
		{"RangeToSeven", schedule.Spec{Cron: "0 0 * * 6-7"}, "2027-05-01 00:00", []string{"2027-05-02 00:00:00 UTC", "2027-05-08 00:00:00 UTC", "2027-05-09 00:00:00 UTC"}},
		{"RangeToSun", schedule.Spec{Cron: "0 0 * * sat-SUN"}, "2027-05-01 00:00", []string{"2027-05-02 00:00:00 UTC", "2027-05-08 00:00:00 UTC", "2027-05-09 00:00:00 UTC"}},
		{"SunToSun", schedule.Spec{Cron: "0 0 * * sun-SUN"}, "2027-05-01 00:00", []string{"2027-05-02 00:00:00 UTC", "2027-05-09 00:00:00 UTC"}},
		{"ZeroToSeven", schedule.Spec{Cron: "0 0 * * 0-7"}, "2027-05-01 00:00", []string{"2027-05-02 00:00:00 UTC", "2027-05-03 00:00:00 UTC"}},
		{"LastDay", schedule.Spec{Cron: "0 0 L * *"}, "2028-01-31 00:00", []string{"2028-02-29 00:00:00 UTC", "2028-03-31 00:00:00 UTC", "2028-04-30 00:00:00 UTC"}},
		{"LastOrFirst", schedule.Spec{Cron: "0 0 1,L * *"}, "2027-01-31 00:00", []string{"2027-02-01 00:00:00 UTC", "2027-02-28 00:00:00 UTC", "2027-03-01 00:00:00 UTC"}},
		// The last days of 2027's July, August and October are a Saturday, a Tuesday and a Sunday.
		{"LastWorkday", schedule.Spec{Cron: "0 0 LW 7,8,10 *"}, "2027-07-01 00:00", []string{"2027-07-30 00:00:00 UTC", "2027-08-31 00:00:00 UTC", "2027-10-29 00:00:00 UTC"}},
		// May 15th is a Saturday, August 15th a Sunday, and October 15th a Friday.
		{"NearestWorkday", schedule.Spec{Cron: "0 0 15W 5,8,10 *"}, "2027-05-01 00:00", []string{"2027-05-14 00:00:00 UTC", "2027-08-16 00:00:00 UTC", "2027-10-15 00:00:00 UTC"}},
		// May 1st is a Saturday, and October 31st a Sunday: W stays in the month.
		{"NearestInMonth", schedule.Spec{Cron: "0 0 1W,31W 5,10 *"}, "2027-05-01 00:00", []string{"2027-05-03 00:00:00 UTC", "2027-05-31 00:00:00 UTC", "2027-10-01 00:00:00 UTC", "2027-10-29 00:00:00 UTC"}},
		{"SecondFriday", schedule.Spec{Cron: "0 0 * * FRI#2"}, "2027-05-01 00:00", []string{"2027-05-14 00:00:00 UTC", "2027-06-11 00:00:00 UTC"}},
		{"FifthMonday", schedule.Spec{Cron: "0 0 * * 1#5"}, "2027-05-01 00:00", []string{"2027-05-31 00:00:00 UTC", "2027-08-30 00:00:00 UTC"}},
		{"FirstSunday", schedule.Spec{Cron: "0 0 * * 7#1"}, "2027-05-03 00:00", []string{"2027-06-06 00:00:00 UTC"}},
		{"LastFriday", schedule.Spec{Cron: "0 0 * * friL"}, "2027-05-01 00:00", []string{"2027-05-28 00:00:00 UTC", "2027-06-25 00:00:00 UTC"}},
		{"LastFridayCounted", schedule.Spec{Cron: "0 0 * * 5#L"}, "2027-05-01 00:00", []string{"2027-05-28 00:00:00 UTC", "2027-06-25 00:00:00 UTC"}},
		{"LastDayOrMonday", schedule.Spec{Cron: "0 0 L * MON"}, "2027-05-24 00:00", []string{"2027-05-31 00:00:00 UTC", "2027-06-07 00:00:00 UTC"}},
		// A February has five Fridays every 28 years, or 40 with a year such as 2100 in between.
		{"RarestDay", schedule.Spec{Cron: "0 0 * 2 5#5"}, "2030-01-01 00:00", []string{"2036-02-29 00:00:00 UTC", "2064-02-29 00:00:00 UTC", "2092-02-29 00:00:00 UTC", "2104-02-29 00:00:00 UTC"}},
		{
			"LongMonths",
			schedule.Spec{Cron: "0 0 31 * *"},
			"2027-01-31 00:00",
			[]string{"2027-03-31 00:00:00 UTC", "2027-05-31 00:00:00 UTC", "2027-07-31 00:00:00 UTC", "2027-08-31 00:00:00 UTC"},
		},
		{"LeapDay", schedule.Spec{Cron: "0 0 29 2 *"}, "2096-02-29 00:00", []string{"2104-02-29 00:00:00 UTC"}},
		{
			"CronFromStart",
			schedule.Spec{Cron: "0 12 * * *", Start: start, End: start.AddDate(0, 0, 1)},
			"2020-01-01 00:00",
			[]string{"2027-05-01 12:00:00 UTC", "never"},
		},
		{
			"CronAtStartAndEnd",
			schedule.Spec{Cron: "7 0 10 * * *", Start: start, End: start.AddDate(0, 0, 1)},
			"2020-01-01 00:00",
			[]string{"2027-05-01 10:00:07 UTC", "2027-05-02 10:00:07 UTC", "never"},
		},
		{
			"CronOffset",
			schedule.Spec{Cron: "0 10 * * *", Offset: 25 * time.Hour, Start: start},
			"2027-05-01 00:00",
			[]string{"2027-05-01 11:00:00 UTC", "2027-05-02 11:00:00 UTC"},
		},
		{
			"LocalTime",
			schedule.Spec{Cron: "0 10 * * *", TimeZone: "Asia/Kathmandu"},
			"2027-05-01 00:00",
			[]string{"2027-05-01 04:15:00 UTC", "2027-05-02 04:15:00 UTC"},
		},
		{"LastYear", schedule.Spec{Cron: "@yearly"}, "9998-06-01 00:00", []string{"9999-01-01 00:00:00 UTC", "never"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSchedule(t, test.spec)
			require.Equal(t, test.want, ticks(s, at(t, test.after), len(test.want)))
		})
	}
}

// Next is strictly after what it is given, to the nanosecond.
func TestSchedule_NextIsAfter(t *testing.T) {
	t.Parallel()
	noon := time.Date(2027, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, spec := range []schedule.Spec{{Interval: time.Hour}, {Cron: "@hourly"}, {Cron: "@hourly", TimeZone: "Europe/Berlin"}} {
		s := newSchedule(t, spec)
		require.Equal(t, noon, s.Next(noon.Add(-1)))
		require.Equal(t, noon.Add(time.Hour), s.Next(noon))
		require.Equal(t, noon.Add(time.Hour), s.Next(noon.Add(1)))
		require.Equal(t, time.UTC, s.Next(noon.In(time.FixedZone("", 3600))).Location())
		require.Zero(t, s.Count(noon.Add(1), noon.Add(time.Hour-1)))
		require.EqualValues(t, 2, s.Count(noon, noon.Add(time.Hour)))
		require.Equal(t, noon, s.Last(noon, noon.Add(time.Hour-1)))
		require.Zero(t, s.Last(noon.Add(1), noon.Add(time.Hour-1)))
	}
}

// The longest time between two ticks is eight years: 2100 has no 29 February.
func TestSchedule_LeapDay(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"", "Pacific/Apia", "Pacific/Niue"} {
		s := newSchedule(t, schedule.Spec{Cron: "0 12 29 2 *", TimeZone: zone})
		first := s.Next(at(t, "2096-01-01 00:00"))
		second := s.Next(first)
		require.InDelta(t, 0, first.Sub(at(t, "2096-02-29 12:00")), float64(14*time.Hour))
		require.Equal(t, first.AddDate(8, 0, 0), second)
		require.Equal(t, first, s.Last(time.Time{}, second.Add(-1)))
		require.EqualValues(t, 2, s.Count(first, second))
	}
}

func TestSchedule_Empty(t *testing.T) {
	t.Parallel()
	start := time.Date(2027, 5, 1, 0, 0, 0, 0, time.UTC)
	for _, spec := range []schedule.Spec{
		{Interval: time.Hour, Start: start, End: start.AddDate(0, 0, 1)},
		{Cron: "@hourly", TimeZone: "Europe/Berlin", Start: start, End: start.AddDate(0, 0, 1)},
	} {
		s := newSchedule(t, spec)
		for _, r := range [][2]time.Time{
			{start.AddDate(0, 0, -9), start.Add(-1)},                // before it begins
			{start.AddDate(0, 0, 1).Add(1), start.AddDate(0, 0, 9)}, // after it has ended
			{start.Add(9 * time.Hour), start.Add(8 * time.Hour)},    // backwards
		} {
			require.Zero(t, s.Count(r[0], r[1]))
			require.Zero(t, s.Last(r[0], r[1]))
		}
		require.EqualValues(t, 25, s.Count(time.Time{}, start.AddDate(900, 0, 0)))
		require.Equal(t, start.AddDate(0, 0, 1), s.Last(time.Time{}, start.AddDate(900, 0, 0)))
		require.Zero(t, s.Next(start.AddDate(0, 0, 1)))
	}
}

// Count does not walk through thousands of years, and times out of range do not overflow.
func TestSchedule_Vast(t *testing.T) {
	t.Parallel()
	far := time.Unix(1<<60, 0)
	perSecond := newSchedule(t, schedule.Spec{Cron: "* * * * * *"})
	require.EqualValues(t, 146097*86400, perSecond.Count(at(t, "2000-01-01 00:00:01"), at(t, "2400-01-01 00:00")))
	require.EqualValues(t, 146097*86400, newSchedule(t, schedule.Spec{Interval: time.Second}).
		Count(at(t, "2000-01-01 00:00:01"), at(t, "2400-01-01 00:00")))
	for zone, last := range map[string]string{"": "9999-01-01 00:00", "Europe/Berlin": "9999-12-31 23:00"} {
		s := newSchedule(t, schedule.Spec{Cron: "@yearly", TimeZone: zone})
		require.InDelta(t, 9999, s.Count(time.Time{}, far), 1)
		require.Equal(t, at(t, last), s.Last(time.Time{}, far))
		require.Zero(t, s.Next(far))
		require.Equal(t, s.Next(time.Time{}), s.Next(time.Unix(-1<<60, 0)))
	}
}
