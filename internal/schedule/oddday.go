package schedule

import (
	"errors"
	"fmt"
	"strings"
)

// odd are the days of one field that another number stands for in each month.
type odd struct {
	last    bool      // of the month
	lastW   bool      // the last from Monday to Friday
	nearest uint64    // the days from Monday to Friday that are nearest to these
	nth     [6]uint64 // nth[2] has the weekdays whose second in a month counts, nth[0] whose last
}

// oddDays are those of both fields.
type oddDays struct{ month, week odd }

// oddDay reads L, LW and 15W.
func oddDay(part string, f *field, v *values) (bool, error) {
	day, isNear := strings.CutSuffix(part, "w")
	switch {
	case part == "l":
		v.odd.last = true
	case part == "lw", part == "wl":
		v.odd.lastW = true
	case strings.HasPrefix(part, "l-"):
		return false, errors.New("days before the last are not read; list the days, such as 25-28, or use L")
	case isNear:
		n, err := f.value(day)
		if err != nil {
			return false, fmt.Errorf("a W stands after one day, as in 15W: %w", err)
		}
		v.odd.nearest |= 1 << n
	default:
		return false, nil
	}
	return true, nil
}

// oddWeekday reads fri#2, fri#L and friL.
func oddWeekday(part string, f *field, v *values) (bool, error) {
	day, nth, counted := strings.Cut(part, "#")
	if !counted {
		if part == "l" {
			return false, errors.New("an L alone is no day of the week; write SAT for Saturdays, or FRIL for the last Friday")
		}
		if !strings.HasSuffix(part, "l") {
			return false, nil
		}
		day, nth = strings.TrimSuffix(part, "l"), "l"
	}
	n, ok := number(nth)
	switch {
	case nth == "l":
		n = 0
	case !ok || n < 1 || n > 5:
		return false, fmt.Errorf("%q is not from 1 to 5; write FRI#2 for the second Friday, FRIL for the last", nth)
	}
	weekday, err := f.value(day)
	if err != nil {
		return false, fmt.Errorf("one day of the week must stand before # or L: %w", err)
	}
	v.odd.nth[n] |= 1 << (weekday % 7)
	return true, nil
}

// days returns the days of a month of this length, bit n for the nth. The first is this weekday.
func (o *odd) days(weekday, length int) uint64 {
	var days uint64
	if o.last {
		days |= 1 << length
	}
	if o.lastW {
		days |= 1 << nearestWorkday(length, weekday, length)
	}
	for set := o.nearest; set != 0; set &= set - 1 {
		if n := lowest(set); n <= length {
			days |= 1 << nearestWorkday(n, weekday, length)
		}
	}
	for nth, set := range o.nth {
		for ; set != 0; set &= set - 1 {
			first := 1 + (lowest(set)-weekday+7)%7
			if nth == 0 {
				days |= 1 << (first + (length-first)/7*7)
			} else if n := first + (nth-1)*7; n <= length {
				days |= 1 << n
			}
		}
	}
	return days
}

// nearestWorkday returns the day from Monday to Friday that is nearest to a day, in its month.
func nearestWorkday(day, weekday, length int) int {
	switch (weekday + day - 1) % 7 {
	case 6: // a Saturday
		if day == 1 {
			return day + 2
		}
		return day - 1
	case 0: // a Sunday
		if day == length {
			return day - 2
		}
		return day + 1
	default:
		return day
	}
}
