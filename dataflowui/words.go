package dataflowui

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/activedataflow/dataflow/internal/jsonview"
)

// ticking is when a Runtime starts runs, as it is stored.
type ticking struct {
	Enabled  *bool
	Interval json.RawMessage
	Schedule struct {
		Cron    string
		Zone    string `json:"time_zone"`
		Stagger json.RawMessage
	}
}

func tickingOf(f *jsonview.Flow) (t ticking) {
	_ = json.Unmarshal(f.Runtime, &t) // a Runtime without a schedule has none of these
	return t
}

// disabled reports whether the runtime of a flow is.
func disabled(f *jsonview.Flow) bool {
	enabled := tickingOf(f).Enabled
	return enabled != nil && !*enabled
}

// zoneOf is the time zone of a flow's schedule, nil for UTC, and for one that this process does not
// know.
func zoneOf(f *jsonview.Flow) *time.Location {
	name := tickingOf(f).Schedule.Zone
	if name == "" || name == "UTC" {
		return nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return zone
}

// schedule says in words when a flow runs by itself.
func schedule(f jsonview.Flow) string {
	t := tickingOf(&f)
	text := "no schedule"
	switch interval := durationOf(t.Interval); {
	case t.Schedule.Cron != "":
		text = strings.TrimSpace(cronWords(t.Schedule.Cron) + " " + t.Schedule.Zone)
	case interval > 0:
		text = "every " + exactly(interval)
	case f.NextRunAt != nil:
		text = "by its schedule"
	}
	if stagger := durationOf(t.Schedule.Stagger); stagger > 0 {
		text += ", up to " + exactly(stagger) + " later"
	}
	return text
}

// durationOf reads a stored duration: a number of seconds, or a text such as "1m30s". It is 0 if it is neither.
func durationOf(stored json.RawMessage) time.Duration {
	text := strings.Trim(string(stored), `"`)
	if d, err := time.ParseDuration(text); err == nil {
		return d
	}
	n, _ := strconv.ParseFloat(text, 64)
	return time.Duration(n * float64(time.Second))
}

// exactly is a duration with all its units, where span names the largest alone: "1 h 30 min".
func exactly(d time.Duration) string {
	var parts []string
	for _, unit := range []struct {
		d    time.Duration
		name string
	}{{24 * time.Hour, " days"}, {time.Hour, " h"}, {time.Minute, " min"}, {time.Second, " s"}, {time.Millisecond, " ms"}} {
		if n := d / unit.d; n > 1 || n == 1 && unit.d < 24*time.Hour {
			parts = append(parts, strconv.FormatInt(int64(n), 10)+unit.name)
			d %= unit.d
		}
	}
	return strings.Join(parts, " ")
}

// cronWords says in words what an expression means, if it is one of the usual ones. A step that does
// not divide an hour or a day begins anew with each, and a day after the 28th is not in each month:
// no few words say that.
func cronWords(expression string) string {
	fields := strings.Fields(expression)
	if len(fields) != 5 {
		return "cron " + expression
	}
	minute, hour, day, month, weekday := fields[0], fields[1], fields[2], fields[3], fields[4]
	daily := day == "*" && month == "*"
	minutes, everyMinutes := stepOf(minute, 60)
	hours, everyHours := stepOf(hour, 24)
	at, minutely := isNumber(minute)
	switch {
	case minute == "*" && hour == "*" && daily && weekday == "*":
		return "every minute"
	case everyMinutes && hour == "*" && daily && weekday == "*":
		return fmt.Sprintf("every %d min", minutes)
	case minutely && hour == "*" && daily && weekday == "*":
		return fmt.Sprintf("every hour at minute %d", at)
	case minutely && everyHours && daily && weekday == "*":
		return fmt.Sprintf("every %d h at minute %d", hours, at)
	}
	clock, ok := clockOf(hour, minute)
	days, named := weekdays(weekday)
	date, monthly := isNumber(day)
	switch {
	case ok && daily && weekday == "*":
		return "daily at " + clock
	case ok && daily && named:
		return days + " at " + clock
	case ok && monthly && date <= 28 && month == "*" && weekday == "*":
		return fmt.Sprintf("on day %d of each month at %s", date, clock)
	default:
		return "cron " + expression
	}
}

// stepOf reads a field such as */15, if its step divides the whole.
func stepOf(field string, whole int) (int, bool) {
	text, every := strings.CutPrefix(field, "*/")
	n, ok := isNumber(text)
	return n, every && ok && n > 0 && whole%n == 0
}

func isNumber(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0
}

// clockOf is the times of a day, such as "03:00" or "06:30, 18:30".
func clockOf(hours, minute string) (string, bool) {
	m, ok := isNumber(minute)
	if !ok {
		return "", false
	}
	var times []string
	for text := range strings.SplitSeq(hours, ",") {
		h, ok := isNumber(text)
		if !ok {
			return "", false
		}
		times = append(times, fmt.Sprintf("%02d:%02d", h, m))
	}
	return strings.Join(times, ", "), true
}

// weekdays names the days of a field, such as "Mon–Fri".
func weekdays(field string) (string, bool) {
	names := []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}
	named := func(text string) (string, bool) {
		if n, ok := isNumber(text); ok && n < len(names) {
			return names[n], true
		}
		for _, name := range names {
			if strings.EqualFold(name, text) {
				return name, true
			}
		}
		return "", false
	}
	var days []string
	for part := range strings.SplitSeq(field, ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, ok := named(first)
		if !ok {
			return "", false
		}
		if isRange {
			to, ok := named(last)
			if !ok {
				return "", false
			}
			from += "–" + to
		}
		days = append(days, from)
	}
	return strings.Join(days, ", "), true
}

// lagText is how far a flow is after its source. Nil: the source tells none.
func lagText(lag *jsonview.Lag) string {
	switch {
	case lag == nil:
		return "–"
	case lag.Error != "":
		return "not known"
	case lag.AgeSeconds != nil && *lag.AgeSeconds == 0:
		return "none"
	case lag.AgeSeconds != nil:
		return seconds(lag.AgeSeconds)
	case lag.Bytes != nil:
		return size(*lag.Bytes) + " of log"
	default:
		return "–"
	}
}

func size(bytes int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	n, i := float64(bytes), 0
	for ; n >= 1000 && i < len(units)-1; i++ {
		n /= 1000
	}
	if i == 0 || n >= 100 {
		return fmt.Sprintf("%.0f %s", n, units[i])
	}
	return fmt.Sprintf("%.1f %s", n, units[i])
}
