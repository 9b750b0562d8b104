package schedule_test

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/schedule"
)

// local is what a clock shows in a minute.
type local struct {
	minute, hour, day, month int
	weekday                  time.Weekday
	last                     bool // the last day of its month
}

// The three ways to follow a clock. See the package's comment.
const (
	calendarTime = iota
	realMinutes
	realHours
)

// oracleSchedules are expressions beside what they mean, written in Go.
var oracleSchedules = []struct {
	cron    string
	follows int
	match   func(l local) bool
}{
	{"* * * * *", realHours, func(local) bool { return true }},
	{"*/15 * * * *", realHours, func(l local) bool { return l.minute%15 == 0 }},
	{"0 * * * *", realHours, func(l local) bool { return l.minute == 0 }},
	{"@hourly", realHours, func(l local) bool { return l.minute == 0 }},
	{"30 * * * *", realHours, func(l local) bool { return l.minute == 30 }},
	{"0 */2 * * *", realHours, func(l local) bool { return l.minute == 0 && l.hour%2 == 0 }},
	{"0 */3 * * 1-5", realHours, func(l local) bool { return l.minute == 0 && l.hour%3 == 0 && l.weekday >= 1 && l.weekday <= 5 }},
	{"*/10 2 * * *", realMinutes, func(l local) bool { return l.minute%10 == 0 && l.hour == 2 }},
	{"* 0-3 * * *", realMinutes, func(l local) bool { return l.hour < 4 }},
	{"30 2 * * *", calendarTime, func(l local) bool { return l.minute == 30 && l.hour == 2 }},
	{"0,30 2 * * *", calendarTime, func(l local) bool { return l.minute%30 == 0 && l.hour == 2 }},
	{"0 0-23 * * *", calendarTime, func(l local) bool { return l.minute == 0 }},
	{"0 0 * * *", calendarTime, func(l local) bool { return l.minute == 0 && l.hour == 0 }},
	{"15 0,1,23 * * *", calendarTime, func(l local) bool { return l.minute == 15 && (l.hour < 2 || l.hour == 23) }},
	{"0 12 * * 7", calendarTime, func(l local) bool { return l.minute == 0 && l.hour == 12 && l.weekday == 0 }},
	{"0 3 * * 5-7", calendarTime, func(l local) bool { return l.minute == 0 && l.hour == 3 && (l.weekday == 0 || l.weekday > 4) }},
	{"0 2 */2 * 3", calendarTime, func(l local) bool { return l.minute == 0 && l.hour == 2 && (l.day%2 == 1 || l.weekday == 3) }},
	{"0 2 L * *", calendarTime, func(l local) bool { return l.minute == 0 && l.hour == 2 && l.last }},
	{"0 2 * * SUN#2", calendarTime, func(l local) bool {
		return l.minute == 0 && l.hour == 2 && l.weekday == 0 && l.day > 7 && l.day <= 14
	}},
	{"30 1 13 * FRI", calendarTime, func(l local) bool { return l.minute == 30 && l.hour == 1 && (l.day == 13 || l.weekday == 5) }},
	{"59 23 31 12 *", calendarTime, func(l local) bool { return l.minute == 59 && l.hour == 23 && l.day == 31 && l.month == 12 }},
}

func localOf(wall int64) local {
	t := time.Unix(wall*60, 0).UTC()
	return local{t.Minute(), t.Hour(), t.Day(), int(t.Month()), t.Weekday(), t.AddDate(0, 0, 1).Day() == 1}
}

// read goes through all minutes from one time to before another, and calls tick with each at which
// the schedule of that number ticks.
func read(zone *time.Location, from, to time.Time, tick func(i int, at time.Time)) {
	wallAt := func(at time.Time) int64 {
		_, offset := at.In(zone).Zone()
		return (at.Unix() + int64(offset)) / 60
	}
	at := from.AddDate(0, 0, -2)
	shown := wallAt(at)
	for at = at.Add(time.Minute); at.Before(to); at = at.Add(time.Minute) {
		wall := wallAt(at)
		ticks := make([]bool, len(oracleSchedules))
		for w := min(shown+1, wall); w <= wall; w++ {
			l := localOf(w)
			for i, s := range oracleSchedules {
				isReal, isNew := w == wall, w > shown
				counts := s.follows == calendarTime && isNew || s.follows == realMinutes && (isReal || isNew) || s.follows == realHours && isReal
				ticks[i] = ticks[i] || counts && s.match(l)
			}
		}
		shown = max(shown, wall)
		for i, ticks := range ticks {
			if ticks && !at.Before(from) {
				tick(i, at)
			}
		}
	}
}

// oracleZones returns a few zones, or all of this machine if DATAFLOW_CRON_ORACLE is "all".
func oracleZones(t *testing.T) (zones []string, from, to time.Time) {
	t.Helper()
	if os.Getenv("DATAFLOW_CRON_ORACLE") != "all" {
		return []string{"Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Atlantic/Azores"}, at(t, "2027-03-01 00:00"), at(t, "2027-04-10 00:00")
	}
	file, err := os.Open("/usr/share/zoneinfo/tzdata.zi")
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == "Z" {
			zones = append(zones, words[1])
		}
	}
	require.Greater(t, len(zones), 300)
	return zones, at(t, "2024-01-01 00:00"), at(t, "2031-01-01 00:00")
}

// The ticks are those of a reading minute by minute. In CI that is a sample. With
// DATAFLOW_CRON_ORACLE=all it is every zone of the machine's tzdata from 2024 to 2030.
func TestSchedule_MinuteByMinute(t *testing.T) {
	t.Parallel()
	zones, from, to := oracleZones(t)
	for _, name := range zones {
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			t.Parallel()
			zone, err := time.LoadLocation(name)
			require.NoError(t, err)
			schedules := make([]*schedule.Schedule, len(oracleSchedules))
			next := make([]time.Time, len(oracleSchedules))
			count := make([]int64, len(oracleSchedules))
			for i, s := range oracleSchedules {
				schedules[i] = newSchedule(t, schedule.Spec{Cron: s.cron, TimeZone: name})
				next[i] = schedules[i].Next(from.Add(-1))
			}
			read(zone, from, to, func(i int, at time.Time) {
				if !next[i].Equal(at) {
					require.Equal(t, at, next[i], "%s in %s", oracleSchedules[i].cron, name)
				}
				count[i]++
				next[i] = schedules[i].Next(at)
			})
			for i, s := range oracleSchedules {
				require.False(t, next[i].Before(to), "%s in %s has a tick at %s", s.cron, name, next[i])
				require.Equal(t, count[i], schedules[i].Count(from, to.Add(-1)), "%s in %s", s.cron, name)
			}
			require.Positive(t, slices.Max(count))
		})
	}
}
