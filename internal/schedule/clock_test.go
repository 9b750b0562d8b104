package schedule_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/schedule"
)

// Each case was worked out by hand from the zone's rules, which are given in the comments.
func TestSchedule_ClockChanges(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		zone  string
		cron  string
		after string
		want  []string // UTC
	}{
		// 2027-03-28 02:00 +01 → 03:00 +02, 2027-10-31 03:00 +02 → 02:00 +01.
		{"Skipped", "Europe/Berlin", "30 2 * * *", "2027-03-27 12:00", []string{"2027-03-28 01:00", "2027-03-29 00:30"}},
		{"Twice", "Europe/Berlin", "30 2 * * *", "2027-10-30 12:00", []string{"2027-10-31 00:30", "2027-11-01 01:30"}},
		{"SkippedToTheSecond", "Europe/Berlin", "59 59 2 * * *", "2027-03-27 12:00", []string{"2027-03-28 01:00", "2027-03-29 00:59:59"}},
		{
			"SeveralSkipped", "Europe/Berlin", "15,45 1-3 * * *", "2027-03-28 00:00",
			[]string{"2027-03-28 00:15", "2027-03-28 00:45", "2027-03-28 01:00", "2027-03-28 01:15", "2027-03-28 01:45", "2027-03-28 23:15"},
		},
		{"SkippedMeetsRegular", "Europe/Berlin", "0 2,3 * * *", "2027-03-28 00:00", []string{"2027-03-28 01:00", "2027-03-29 00:00"}},
		{"FirstAfterGap", "Europe/Berlin", "0 3 * * *", "2027-03-27 12:00", []string{"2027-03-28 01:00", "2027-03-29 01:00"}},
		{"HourlyOverGap", "Europe/Berlin", "0 * * * *", "2027-03-27 23:30", []string{"2027-03-28 00:00", "2027-03-28 01:00", "2027-03-28 02:00"}},
		{"HourlyOverFold", "Europe/Berlin", "0 * * * *", "2027-10-30 23:30", []string{"2027-10-31 00:00", "2027-10-31 01:00", "2027-10-31 02:00"}},
		{"AtHourlyOverFold", "Europe/Berlin", "@hourly", "2027-10-30 23:30", []string{"2027-10-31 00:00", "2027-10-31 01:00", "2027-10-31 02:00"}},
		{"QuartersOverFold", "Europe/Berlin", "*/15 * * * *", "2027-10-31 00:40", []string{"2027-10-31 00:45", "2027-10-31 01:00", "2027-10-31 01:15"}},
		{"HalfPastOverGap", "Europe/Berlin", "30 * * * *", "2027-03-28 00:00", []string{"2027-03-28 00:30", "2027-03-28 01:30", "2027-03-28 02:30"}},
		{"EvenHoursOverGap", "Europe/Berlin", "0 */2 * * *", "2027-03-27 22:30", []string{"2027-03-27 23:00", "2027-03-28 02:00", "2027-03-28 04:00"}},
		{"EvenHoursOverFold", "Europe/Berlin", "0 */2 * * *", "2027-10-30 22:30", []string{"2027-10-31 00:00", "2027-10-31 01:00", "2027-10-31 03:00"}},
		{"ListedHoursOverFold", "Europe/Berlin", "0 0-23 * * *", "2027-10-30 23:30", []string{"2027-10-31 00:00", "2027-10-31 02:00", "2027-10-31 03:00"}},
		{"MinutesOfSkippedHour", "Europe/Berlin", "*/10 2 * * *", "2027-03-27 01:45", []string{"2027-03-27 01:50", "2027-03-28 01:00", "2027-03-29 00:00"}},
		{"MinutesOfRepeatedHour", "Europe/Berlin", "*/30 2 * * *", "2027-10-30 12:00", []string{"2027-10-31 00:00", "2027-10-31 00:30", "2027-10-31 01:00", "2027-10-31 01:30", "2027-11-01 01:00"}},
		{"MinutesOverGap", "Europe/Berlin", "* * * * *", "2027-03-28 00:58", []string{"2027-03-28 00:59", "2027-03-28 01:00", "2027-03-28 01:01"}},
		{"MinutesOverFold", "Europe/Berlin", "* * * * *", "2027-10-31 00:58", []string{"2027-10-31 00:59", "2027-10-31 01:00", "2027-10-31 01:01"}},
		{"InsideFold", "Europe/Berlin", "30 2 * * *", "2027-10-31 01:10", []string{"2027-11-01 01:30"}},
		{"SecondsOverFold", "Europe/Berlin", "*/20 59 2 * * *", "2027-10-31 00:59:10", []string{"2027-10-31 00:59:20", "2027-10-31 00:59:40", "2027-10-31 01:59", "2027-10-31 01:59:20", "2027-10-31 01:59:40", "2027-11-01 01:59"}},

		// 2027-03-14 00:00 -05 → 01:00 -04, 2026-11-01 01:00 -04 → 00:00 -05.
		{"GapAtMidnight", "America/Havana", "0 0 * * *", "2027-03-12 12:00", []string{"2027-03-13 05:00", "2027-03-14 05:00", "2027-03-15 04:00"}},
		{"FoldFromMidnight", "America/Havana", "30 0 * * *", "2026-10-31 12:00", []string{"2026-11-01 04:30", "2026-11-02 05:30"}},
		{"MidnightBeforeFold", "America/Havana", "0 0 * * *", "2026-10-31 12:00", []string{"2026-11-01 04:00", "2026-11-02 05:00"}},
		// 2024-04-26 00:00 +02 → 01:00 +03, 2024-11-01 00:00 +03 → 10-31 23:00 +02.
		{"GapAtMidnightFriday", "Africa/Cairo", "0 0 * * *", "2024-04-24 12:00", []string{"2024-04-24 22:00", "2024-04-25 22:00", "2024-04-26 21:00"}},
		{"WeekdayInGap", "Africa/Cairo", "15 0 * * FRI", "2024-04-24 12:00", []string{"2024-04-25 22:00", "2024-05-02 21:15"}},
		{"FoldToMidnight", "Africa/Cairo", "30 23 * * *", "2024-10-31 12:00", []string{"2024-10-31 20:30", "2024-11-01 21:30"}},
		{"MidnightAfterFold", "Africa/Cairo", "0 0 * * *", "2024-10-31 12:00", []string{"2024-10-31 22:00", "2024-11-01 22:00"}},
		// 2027-03-28 00:00 +02 → 01:00 +03.
		{"GapAtMidnightSunday", "Asia/Beirut", "@daily", "2027-03-27 12:00", []string{"2027-03-27 22:00", "2027-03-28 21:00"}},
		// 2018-11-04 00:00 -03 → 01:00 -02, 2018-02-18 00:00 -02 → 02-17 23:00 -03.
		{"SouthernGap", "America/Sao_Paulo", "0 0 * * *", "2018-11-03 12:00", []string{"2018-11-04 03:00", "2018-11-05 02:00"}},
		{"SouthernFold", "America/Sao_Paulo", "45 23 * * *", "2018-02-17 12:00", []string{"2018-02-18 01:45", "2018-02-19 02:45"}},

		// 2027-10-03 02:00 +10:30 → 02:30 +11, 2027-04-04 02:00 +11 → 01:30 +10:30.
		{"HalfHourGap", "Australia/Lord_Howe", "15 2 * * *", "2027-10-02 12:00", []string{"2027-10-02 15:30", "2027-10-03 15:15"}},
		{"HalfHourFold", "Australia/Lord_Howe", "45 1 * * *", "2027-04-03 12:00", []string{"2027-04-03 14:45", "2027-04-04 15:15"}},
		{"HourlyOverHalfHour", "Australia/Lord_Howe", "0 * * * *", "2027-10-02 14:00", []string{"2027-10-02 14:30", "2027-10-02 16:00", "2027-10-02 17:00"}},

		// 2011-12-30 00:00 -10 → 2011-12-31 00:00 +14.
		{"DayThatNeverWas", "Pacific/Apia", "0 12 * * *", "2011-12-29 12:00", []string{"2011-12-29 22:00", "2011-12-30 10:00", "2011-12-30 22:00"}},
		{"MidnightsThatMeet", "Pacific/Apia", "0 0 * * *", "2011-12-29 00:00", []string{"2011-12-29 10:00", "2011-12-30 10:00", "2011-12-31 10:00"}},
		{"HourlyOverDateLine", "Pacific/Apia", "0 * * * *", "2011-12-30 08:30", []string{"2011-12-30 09:00", "2011-12-30 10:00", "2011-12-30 11:00"}},
		// 1969-10-01 00:00 +11 → 1969-09-30 01:00 -12.
		{"DayThatCameTwice", "Pacific/Kwajalein", "0 12 * * *", "1969-09-29 12:00", []string{"1969-09-30 01:00", "1969-10-02 00:00"}},

		// Standard time itself was changed. 2014-10-26 02:00 +04 → 01:00 +03.
		{"StandardBack", "Europe/Moscow", "30 1 * * *", "2014-10-25 12:00", []string{"2014-10-25 21:30", "2014-10-26 22:30"}},
		// 2016-05-01 02:30 -04:30 → 03:00 -04.
		{"StandardAhead", "America/Caracas", "45 2 * * *", "2016-04-30 12:00", []string{"2016-05-01 07:00", "2016-05-02 06:45"}},
		// 2018-05-04 23:30 +08:30 → 2018-05-05 00:00 +09.
		{"StandardAheadToMidnight", "Asia/Pyongyang", "45 23 * * *", "2018-05-04 12:00", []string{"2018-05-04 15:00", "2018-05-05 14:45"}},

		// Far ahead, the time package uses a zone's rule instead of its table of changes. Leap
		// years are special there.
		{"LastDayOfLeapYear", "Europe/Berlin", "0 12 * * *", "2048-12-30 12:00", []string{"2048-12-31 11:00", "2049-01-01 11:00"}},
		{"LastDayOfLeapYearSouth", "Australia/Sydney", "0 12 * * *", "2048-12-30 12:00", []string{"2048-12-31 01:00", "2049-01-01 01:00"}},
		{"GapFarAhead", "Europe/Berlin", "30 2 * * *", "2094-03-27 12:00", []string{"2094-03-28 01:00", "2094-03-29 00:30"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSchedule(t, schedule.Spec{Cron: test.cron, TimeZone: test.zone})
			now := at(t, test.after)
			for i, want := range test.want {
				tick := at(t, want)
				got := s.Next(now)
				require.Equal(t, tick, got)
				require.Equal(t, tick, s.Last(now.Add(1), tick))
				require.EqualValues(t, i+1, s.Count(at(t, test.after).Add(1), tick))
				now = got
			}
		})
	}
}

// An interval is elapsed time: its day has 24 hours whatever clocks do.
func TestSchedule_IntervalsHaveNoClock(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	s := newSchedule(t, schedule.Spec{Interval: 24 * time.Hour, Start: time.Date(2027, 3, 27, 2, 30, 0, 0, berlin)})
	require.Equal(t, []string{"2027-03-27 01:30:00 UTC", "2027-03-28 01:30:00 UTC"}, ticks(s, at(t, "2027-01-01 00:00"), 2))
}

func TestSchedule_Gap(t *testing.T) {
	t.Parallel()
	year := [2]string{"2026-11-01 00:00", "2027-11-01 00:00"}
	berlin := func(cron string) schedule.Spec { return schedule.Spec{Cron: cron, TimeZone: "Europe/Berlin"} }
	with := func(spec schedule.Spec, change func(*schedule.Spec)) schedule.Spec {
		change(&spec)
		return spec
	}
	tests := []struct {
		name       string
		spec       schedule.Spec
		within     [2]string
		wall, when string // empty: none
	}{
		{"Skipped", berlin("30 2 * * *"), year, "2027-03-28 02:30:00", "2027-03-28 01:00"},
		{"FirstOfSeveral", berlin("20,40 10,30 2 * * *"), year, "2027-03-28 02:10:20", "2027-03-28 01:00"},
		{"NextYear", berlin("30 2 * * *"), [2]string{"2027-03-28 01:00", "2029-01-01 00:00"}, "2028-03-26 02:30:00", "2028-03-26 01:00"},
		{"JustAfter", berlin("30 2 * * *"), [2]string{"2027-03-28 00:59:59", "2027-03-28 01:00:01"}, "2027-03-28 02:30:00", "2027-03-28 01:00"},
		{"AfterIsNotIncluded", berlin("30 2 * * *"), [2]string{"2027-03-28 01:00", "2028-01-01 00:00"}, "", ""},
		{"BeforeIsNotIncluded", berlin("30 2 * * *"), [2]string{"2027-01-01 00:00", "2027-03-28 01:00"}, "", ""},
		{"BesideGap", berlin("0 3 * * *"), year, "", ""},
		{"OtherWeekday", berlin("30 2 * * MON"), year, "", ""},
		{"MeetsRegular", berlin("0 2,3 * * *"), year, "2027-03-28 02:00:00", "2027-03-28 01:00"},
		{"EveryHourMeetsRegular", berlin("0 * * * *"), year, "", ""},
		{"EveryMinute", berlin("* * * * *"), year, "", ""},
		{"EveryHourNotMoved", berlin("30 * * * *"), year, "", ""},
		{"ListedHoursMoved", berlin("30 0-23 * * *"), year, "2027-03-28 02:30:00", "2027-03-28 01:00"},
		{"ListedHoursMeetRegular", berlin("0 0-23 * * *"), year, "", ""},
		{"MinutesOfSkippedHour", berlin("*/10 2 * * *"), year, "2027-03-28 02:00:00", "2027-03-28 01:00"},
		{"Offset", with(berlin("30 2 * * *"), func(s *schedule.Spec) { s.Offset = 5 * time.Minute }), year, "2027-03-28 02:30:00", "2027-03-28 01:05"},
		{"AfterStart", with(berlin("30 2 * * *"), func(s *schedule.Spec) { s.Start = at(t, "2027-03-28 01:00:01") }), year, "", ""},
		{"AtEnd", with(berlin("30 2 * * *"), func(s *schedule.Spec) { s.End = at(t, "2027-03-28 01:00") }), year, "2027-03-28 02:30:00", "2027-03-28 01:00"},
		{"AfterEnd", with(berlin("30 2 * * *"), func(s *schedule.Spec) { s.End = at(t, "2027-03-28 00:59") }), year, "", ""},
		{"Backwards", berlin("30 2 * * *"), [2]string{"2028-01-01 00:00", "2027-01-01 00:00"}, "", ""},
		{"HalfHour", schedule.Spec{Cron: "0 0-23 * * *", TimeZone: "Australia/Lord_Howe"}, year, "2027-10-03 02:00:00", "2027-10-02 15:30"},
		{"DateLine", schedule.Spec{Cron: "0 12 * * *", TimeZone: "Pacific/Apia"}, [2]string{"2011-12-01 00:00", "2012-01-01 00:00"}, "2011-12-30 12:00:00", "2011-12-30 10:00"},
		{"EveryHourOfLostDay", schedule.Spec{Cron: "0 0-23 30 12 *", TimeZone: "Pacific/Apia"}, [2]string{"2011-12-01 00:00", "2012-01-01 00:00"}, "2011-12-30 00:00:00", "2011-12-30 10:00"},
		{"UTC", schedule.Spec{Cron: "30 2 * * *"}, year, "", ""},
		{"NoChanges", schedule.Spec{Cron: "30 2 * * *", TimeZone: "Asia/Tokyo"}, year, "", ""},
		{"Interval", schedule.Spec{Interval: time.Minute}, year, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSchedule(t, test.spec)
			wall, when, ok := s.Gap(at(t, test.within[0]), at(t, test.within[1]))
			require.Equal(t, test.wall, wall)
			require.Equal(t, test.wall != "", ok)
			if !ok {
				require.Zero(t, when)
				return
			}
			require.Equal(t, at(t, test.when), when)
			require.Equal(t, when, s.Next(when.Add(-1)), "it is a tick")
		})
	}
}
