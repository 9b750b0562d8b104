package week_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pattern is a cron expression as the oracle reads it: the values of each field.
type pattern struct {
	second, minute, hour, day, month, weekday map[int]bool

	anyDay, anyWeekday bool

	starHour, starMinute bool // ticks follow real time; skipped local times count only without starHour
	seconds              bool // the expression has a field for seconds
}

var descriptors = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *",
}

func parsePattern(text string) pattern {
	if full, ok := descriptors[text]; ok {
		text = full
	}
	fields := strings.Fields(text)
	p := pattern{seconds: len(fields) == 6}
	if !p.seconds {
		fields = append([]string{"0"}, fields...)
	}
	p.second, p.minute, p.hour = values(fields[0], 0, 59), values(fields[1], 0, 59), values(fields[2], 0, 23)
	p.day, p.month, p.weekday = values(fields[3], 1, 31), values(fields[4], 1, 12), values(fields[5], 0, 6)
	p.starHour = strings.HasPrefix(fields[2], "*")
	p.starMinute = strings.HasPrefix(fields[1], "*") || strings.HasPrefix(fields[0], "*")
	p.anyDay, p.anyWeekday = strings.HasPrefix(fields[3], "*"), strings.HasPrefix(fields[5], "*")
	return p
}

// values reads a list of values, ranges and stars, each with or without a step.
func values(field string, low, high int) map[int]bool {
	number := func(text string) int {
		for i, name := range []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} {
			if strings.EqualFold(text, name) {
				return i
			}
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			panic(fmt.Sprintf("the oracle cannot read %q", field))
		}
		return n
	}
	set := make(map[int]bool)
	for part := range strings.SplitSeq(field, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		step := 1
		if stepped {
			step = number(stepText)
		}
		from, to := low, high
		if span != "*" {
			first, last, ranged := strings.Cut(span, "-")
			from = number(first)
			switch {
			case ranged:
				to = number(last)
			case !stepped:
				to = from
			}
		}
		for v := from; v <= to; v += step {
			set[v] = true
		}
	}
	return set
}

// matches reports whether the pattern has a local time, given as if it were UTC.
func (p *pattern) matches(local time.Time) bool {
	day, weekday := p.day[local.Day()], p.weekday[int(local.Weekday())]
	dayMatches := day && weekday
	if !p.anyDay && !p.anyWeekday {
		dayMatches = day || weekday
	}
	return dayMatches && p.second[local.Second()] && p.minute[local.Minute()] && p.hour[local.Hour()] && p.month[int(local.Month())]
}

// walk returns the ticks after one time and up to another. A tick is a moment at which the zone's
// clock shows a local time of the pattern for the first time, or has just jumped over one. With a
// star for minutes or hours, it is each moment at which the clock shows one; with a star for hours,
// none is made up for.
func (p *pattern) walk(zone *time.Location, after, upTo time.Time) []time.Time {
	step := time.Minute
	if p.seconds {
		step = time.Second
	}
	local := func(now time.Time) time.Time {
		_, offset := now.In(zone).Zone()
		return now.Add(time.Duration(offset) * time.Second)
	}
	now := after.UTC().Truncate(time.Minute).Add(-4 * time.Hour) // no clock here is put back by more than this
	shown := local(now)                                          // the latest local time so far
	var ticks []time.Time
	for now = now.Add(step); !now.After(upTo); now = now.Add(step) {
		shows := local(now)
		match := (p.starHour || p.starMinute) && p.matches(shows)
		for shown.Before(shows) {
			shown = shown.Add(step)
			match = match || !p.starHour && p.matches(shown)
		}
		if match && now.After(after) {
			ticks = append(ticks, now)
		}
	}
	return ticks
}

// The oracle itself is tested against ticks worked out by hand.
func TestPattern(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cron, zone, after, upTo string
		want                    []string
	}{
		{"30 2 * * *", "Europe/Berlin", "2027-03-27 00:00", "2027-03-29 12:00", []string{"27 01:30", "28 01:00", "29 00:30"}},
		{"30 2 * * *", "Europe/Berlin", "2027-10-30 12:00", "2027-11-01 12:00", []string{"31 00:30", "01 01:30"}},
		{"0 * * * *", "Europe/Berlin", "2027-10-30 23:30", "2027-10-31 03:30", []string{"31 00:00", "31 01:00", "31 02:00", "31 03:00"}},
		{"0 0-23 * * *", "Europe/Berlin", "2027-10-30 23:30", "2027-10-31 03:30", []string{"31 00:00", "31 02:00", "31 03:00"}},
		{"30 * * * *", "Europe/Berlin", "2027-03-28 00:00", "2027-03-28 02:00", []string{"28 00:30", "28 01:30"}},
		{"*/30 2 * * *", "Europe/Berlin", "2027-03-28 00:00", "2027-03-29 01:00", []string{"28 01:00", "29 00:00", "29 00:30"}},
		{"15,45 1-3 * * *", "Europe/Berlin", "2027-03-28 00:00", "2027-03-28 02:00", []string{"28 00:15", "28 00:45", "28 01:00", "28 01:15", "28 01:45"}},
		{"@daily", "America/Havana", "2027-03-12 12:00", "2027-03-15 12:00", []string{"13 05:00", "14 05:00", "15 04:00"}},
		{"15 2 * * *", "Australia/Lord_Howe", "2027-10-02 12:00", "2027-10-03 18:00", []string{"02 15:30", "03 15:15"}},
		{"59 59 2 * * *", "Europe/Berlin", "2027-03-27 12:00", "2027-03-28 12:00", []string{"28 01:00"}},
		{"0 6 29 * mon", "", "2027-03-26 12:00", "2027-04-06 12:00", []string{"29 06:00", "05 06:00"}},
		{"0 0/8 * * 6,0", "", "2027-03-26 12:00", "2027-03-28 12:00", []string{"27 00:00", "27 08:00", "27 16:00", "28 00:00", "28 08:00"}},
	} {
		zone, err := time.LoadLocation(test.zone)
		require.NoError(t, err)
		after, err := time.Parse("2006-01-02 15:04", test.after)
		require.NoError(t, err)
		upTo, err := time.Parse("2006-01-02 15:04", test.upTo)
		require.NoError(t, err)
		p := parsePattern(test.cron)
		var got []string
		for _, tick := range p.walk(zone, after, upTo) {
			got = append(got, tick.Format("02 15:04"))
		}
		require.Equal(t, test.want, got, "%s in %s", test.cron, test.zone)
	}
}
