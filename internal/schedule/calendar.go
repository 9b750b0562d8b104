package schedule

import (
	"math/bits"
	"time"
)

// wall is a local time without a zone: the seconds since 1970-01-01 00:00:00 of a clock that
// is never changed.
type wall = int64

const (
	minuteSeconds = 60
	hourSeconds   = 3600
	daySeconds    = 86400

	// searchYears is the longest time between two ticks: two 29 Februaries with a year such as
	// 2100 between them. A restricted weekday cannot lengthen it, since it adds days.
	searchYears = 8

	// searchYearsOdd is the same for days such as FRI#5, which a February has every 28 years, or
	// 40 with a year such as 2100 in between.
	searchYearsOdd = 40
)

// follows is what a calendar goes by when clocks are changed.
type follows int

const (
	// localTime: each local time has one tick.
	localTime follows = iota
	// realTimeInHours: each moment whose local time matches has a tick, and all skipped local
	// times of a gap have one together.
	realTimeInHours
	// realTime: each moment whose local time matches has a tick.
	realTime
)

// calendar is a cron expression. Bit n of a field is set if n is among its values.
type calendar struct {
	second, minute, hour uint64
	day, month, weekday  uint64
	either               bool // a day has to match day or weekday, and not both
	odd                  *oddDays
	follows              follows
}

func (c *calendar) searchYears() int {
	if c.odd != nil {
		return searchYearsOdd
	}
	return searchYears
}

// next returns the calendar's first local time after the given one.
func (c *calendar) next(after wall) (wall, bool) {
	day, second := divFloor(after+1, daySeconds)
	year, month, n := date(day)
	days, first := c.days(year, month)
	if has(days, n) {
		if found, ok := c.timeFrom(second); ok {
			return day*daySeconds + found, true
		}
	}
	days = from(days, n+1)
	for last := year + c.searchYears(); days == 0; days, first = c.days(year, month) {
		later := from(c.month, int(month)+1)
		if later == 0 {
			year, later = year+1, c.month
		}
		if year > last {
			return 0, false
		}
		month = time.Month(lowest(later))
	}
	return (first+int64(lowest(days))-1)*daySeconds + c.earliest(), true
}

// prev returns the calendar's last local time up to the given one.
func (c *calendar) prev(upTo wall) (wall, bool) {
	day, second := divFloor(upTo, daySeconds)
	year, month, n := date(day)
	days, first := c.days(year, month)
	if has(days, n) {
		if found, ok := c.timeUpTo(second); ok {
			return day*daySeconds + found, true
		}
	}
	days = below(days, n)
	for last := year - c.searchYears(); days == 0; days, first = c.days(year, month) {
		earlier := below(c.month, int(month))
		if earlier == 0 {
			year, earlier = year-1, c.month
		}
		if year < last {
			return 0, false
		}
		month = time.Month(highest(earlier))
	}
	return (first+int64(highest(days))-1)*daySeconds + c.latest(), true
}

// count returns how many local times the calendar has after one local time and up to another.
// upTo must not be before after.
func (c *calendar) count(after, upTo wall) int64 {
	dayA, secondA := divFloor(after, daySeconds)
	dayB, secondB := divFloor(upTo, daySeconds)
	perDay := c.timesUpTo(daySeconds - 1)
	n := c.countDays(dayA, dayB) * perDay
	if c.hasDay(dayB) {
		n += c.timesUpTo(secondB)
	}
	if c.hasDay(dayA) {
		n -= c.timesUpTo(secondA)
	}
	return n
}

// countDays returns how many days the calendar has from one day to before another.
func (c *calendar) countDays(fromDay, toDay int64) int64 {
	if fromDay >= toDay {
		return 0
	}
	var n int64
	year, month, d := date(fromDay)
	lastYear, lastMonth, lastD := date(toDay)
	for ; ; d = 1 {
		days, _ := c.days(year, month)
		days = from(days, d)
		if year == lastYear && month == lastMonth {
			return n + ones(below(days, lastD))
		}
		n += ones(days)
		if month++; month > time.December {
			year, month = year+1, time.January
		}
	}
}

func (c *calendar) hasDay(day int64) bool {
	year, month, n := date(day)
	days, _ := c.days(year, month)
	return has(days, n)
}

// days returns the calendar's days of a month, bit n for the nth, and the number of the
// month's first day since 1970-01-01.
func (c *calendar) days(year int, month time.Month) (days uint64, first int64) {
	first = dayNumber(year, month)
	if !has(c.month, int(month)) {
		return 0, first
	}
	length := dayNumber(year, month+1) - first
	_, weekday := divFloor(first+int64(time.Thursday), 7) // 1970-01-01 was one
	// The week as it is from the 1st on, repeated five times, with the 1st at bit 1.
	week := (c.weekday>>weekday | c.weekday<<(7-weekday)) & (1<<7 - 1)
	weekdays := week * (1 | 1<<7 | 1<<14 | 1<<21 | 1<<28) << 1
	days = c.day
	if c.odd != nil {
		days |= c.odd.month.days(int(weekday), int(length))
		weekdays |= c.odd.week.days(int(weekday), int(length))
	}
	if c.either {
		days |= weekdays
	} else {
		days &= weekdays
	}
	return days & (1<<(length+1) - 2), first
}

// timeFrom returns the calendar's first time of day, in seconds, from the given one on.
func (c *calendar) timeFrom(second int64) (int64, bool) {
	h, m, s := clock(second)
	if has(c.hour, h) {
		if later := from(c.second, s); has(c.minute, m) && later != 0 {
			return seconds(h, m, lowest(later)), true
		}
		if later := from(c.minute, m+1); later != 0 {
			return seconds(h, lowest(later), lowest(c.second)), true
		}
	}
	if later := from(c.hour, h+1); later != 0 {
		return seconds(lowest(later), lowest(c.minute), lowest(c.second)), true
	}
	return 0, false
}

// timeUpTo returns the calendar's last time of day, in seconds, up to the given one.
func (c *calendar) timeUpTo(second int64) (int64, bool) {
	h, m, s := clock(second)
	if has(c.hour, h) {
		if earlier := below(c.second, s+1); has(c.minute, m) && earlier != 0 {
			return seconds(h, m, highest(earlier)), true
		}
		if earlier := below(c.minute, m); earlier != 0 {
			return seconds(h, highest(earlier), highest(c.second)), true
		}
	}
	if earlier := below(c.hour, h); earlier != 0 {
		return seconds(highest(earlier), highest(c.minute), highest(c.second)), true
	}
	return 0, false
}

// timesUpTo returns how many times of day the calendar has up to the given one.
func (c *calendar) timesUpTo(second int64) int64 {
	h, m, s := clock(second)
	n := ones(below(c.hour, h)) * ones(c.minute) * ones(c.second)
	if has(c.hour, h) {
		n += ones(below(c.minute, m)) * ones(c.second)
		if has(c.minute, m) {
			n += ones(below(c.second, s+1))
		}
	}
	return n
}

func (c *calendar) earliest() int64 {
	return seconds(lowest(c.hour), lowest(c.minute), lowest(c.second))
}

func (c *calendar) latest() int64 {
	return seconds(highest(c.hour), highest(c.minute), highest(c.second))
}

// everyHour reports whether the calendar has every hour of the day.
func (c *calendar) everyHour() bool { return c.hour == 1<<24-1 }

// has reports whether n is in the set. from is the part of the set from n on, below the part
// below n.
func has(set uint64, n int) bool     { return set>>n&1 != 0 }
func from(set uint64, n int) uint64  { return set >> n << n }
func below(set uint64, n int) uint64 { return set & (1<<n - 1) }
func lowest(set uint64) int          { return bits.TrailingZeros64(set) }
func highest(set uint64) int         { return bits.Len64(set) - 1 }
func ones(set uint64) int64          { return int64(bits.OnesCount64(set)) }

func clock(second int64) (h, m, s int) {
	return int(second / hourSeconds), int(second % hourSeconds / minuteSeconds), int(second % minuteSeconds)
}

func seconds(h, m, s int) int64 { return int64(h)*hourSeconds + int64(m)*minuteSeconds + int64(s) }

func date(day int64) (int, time.Month, int) { return time.Unix(day*daySeconds, 0).UTC().Date() }

// dayNumber returns the number of the first day of a month since 1970-01-01.
func dayNumber(year int, month time.Month) int64 {
	return time.Date(year, month, 1, 0, 0, 0, 0, time.UTC).Unix() / daySeconds
}

// divFloor divides, rounding down where Go rounds to zero.
func divFloor(n, by int64) (quotient, rest int64) {
	quotient, rest = n/by, n%by
	if rest < 0 {
		quotient, rest = quotient-1, rest+by
	}
	return quotient, rest
}
