package schedule

import (
	"errors"
	"fmt"
	"strings"
)

const descriptors = "@hourly @daily @midnight @weekly @monthly @yearly @annually"

// described returns the fields that a descriptor stands for, with the second first.
func described(descriptor string) ([]string, bool) {
	fields, ok := map[string]string{
		"@hourly": "0 0 * * * *", "@daily": "0 0 0 * * *", "@midnight": "0 0 0 * * *", "@weekly": "0 0 0 * * 0",
		"@monthly": "0 0 0 1 * *", "@yearly": "0 0 0 1 1 *", "@annually": "0 0 0 1 1 *",
	}[descriptor]
	return strings.Fields(fields), ok
}

// parseCron reads an expression. Its errors say what to write instead.
func parseCron(expr string) (calendar, error) {
	trimmed := strings.TrimSpace(expr)
	fields := strings.Fields(trimmed)
	switch {
	case strings.HasPrefix(trimmed, "TZ=") || strings.HasPrefix(trimmed, "CRON_TZ="):
		return calendar{}, fmt.Errorf("%q names a time zone; use TimeZone for it", expr)
	case strings.HasPrefix(trimmed, "@every"):
		return calendar{}, fmt.Errorf("%q is an interval; use Interval for it", expr)
	case strings.HasPrefix(trimmed, "@"):
		known, ok := described(trimmed)
		if !ok {
			return calendar{}, fmt.Errorf("%q is not a time; use one of %s, or 5 fields", expr, descriptors)
		}
		fields = known
	case len(fields) == 5:
		fields = append([]string{"0"}, fields...)
	case len(fields) != 6:
		return calendar{}, fmt.Errorf("%q has %d fields; it must have 5 (minute, hour, day of month, month, day of week), "+
			"or 6 with the second first, or be one of %s", expr, len(fields), descriptors)
	}
	var read [6]values
	for i, f := range cronFields() {
		var err error
		if read[i], err = f.read(fields[i]); err != nil {
			return calendar{}, fmt.Errorf("%q: the %s field %q: %w; %s", expr, f.name, fields[i], err, f.right)
		}
	}
	c := calendar{
		second: read[0].set, minute: read[1].set, hour: read[2].set, day: read[3].set, month: read[4].set, weekday: read[5].set,
		either: !read[3].free && !read[5].free,
	}
	switch {
	case read[2].star:
		c.follows = realTime
	case read[0].star || read[1].star:
		c.follows = realTimeInHours
	}
	if odd := (oddDays{month: read[3].odd, week: read[5].odd}); odd != (oddDays{}) {
		c.odd = &odd
	}
	return c, nil
}

// field is one of the six of an expression.
type field struct {
	name      string
	right     string // the allowed values, for an error
	low, high int
	names     string // of the values, three letters each, from the first
	odd       func(part string, f *field, v *values) (bool, error)
}

func cronFields() [6]field {
	return [6]field{
		{name: "second", right: "seconds are 0 to 59", high: 59},
		{name: "minute", right: "minutes are 0 to 59", high: 59},
		{name: "hour", right: "hours are 0 to 23", high: 23},
		{name: "day-of-month", right: "days are 1 to 31, L (the last), LW (the last from Monday to Friday), or 15W (the nearest to the 15th)", low: 1, high: 31, odd: oddDay},
		{name: "month", right: "months are 1 to 12, or JAN to DEC", low: 1, high: 12, names: "janfebmaraprmayjunjulaugsepoctnovdec"},
		{name: "day-of-week", right: "days of the week are 0 to 7, or SUN to SAT; Sunday is 0 and 7; FRI#2 is the second Friday, FRIL the last", high: 7, names: "sunmontuewedthufrisat", odd: oddWeekday},
	}
}

// sunday is the other number of a Sunday.
const sunday = 7

// size is how many values a field has.
func (f *field) size() int {
	if f.high == sunday {
		return 7
	}
	return f.high - f.low + 1
}

// values are what a field allows.
type values struct {
	set  uint64
	star bool // it begins with a star, or is ?
	free bool // it is a star that allows all values
	odd  odd
}

// read reads the values of a field.
func (f *field) read(text string) (values, error) {
	v := values{star: strings.HasPrefix(text, "*") || text == "?"}
	for part := range strings.SplitSeq(text, ",") {
		if err := f.readPart(part, &v); err != nil {
			return v, err
		}
	}
	if f.high == sunday && has(v.set, sunday) {
		v.set = v.set&^(1<<sunday) | 1
	}
	v.free = v.star && v.set == (1<<f.size()-1)<<f.low
	return v, nil
}

// readPart reads one of the parts between commas.
func (f *field) readPart(part string, v *values) error {
	if f.odd != nil {
		if ok, err := f.odd(strings.ToLower(part), f, v); ok || err != nil {
			return err
		}
	}
	span, stepText, stepped := strings.Cut(part, "/")
	step := 1
	if stepped {
		n, ok := number(stepText)
		switch {
		case !ok || n == 0:
			return fmt.Errorf("the step %q is not a positive number", stepText)
		case n > f.size():
			return fmt.Errorf("a step of %d is more than the whole field, and would have no effect", n)
		}
		step = n
	}
	from, to, err := f.span(span, stepped)
	if err != nil {
		return err
	}
	for n := from; n <= to; n += step {
		v.set |= 1 << n
	}
	return nil
}

// span reads a star, a value or a range. A value with a step begins a range up to the end.
func (f *field) span(text string, stepped bool) (from, to int, err error) {
	first, last, ranged := strings.Cut(text, "-")
	switch {
	case text == "":
		return 0, 0, errors.New("a value is missing beside a comma")
	case text == "*" || text == "?":
		return f.low, f.low + f.size() - 1, nil
	case first == "*" || first == "?":
		return 0, 0, fmt.Errorf("%q is not a range", text)
	case strings.EqualFold(first, "h") || strings.HasPrefix(strings.ToLower(first), "h("):
		return 0, 0, errors.New("the value H is chosen by Jenkins; write a value, and use Stagger to spread flows")
	}
	if from, err = f.value(first); err != nil {
		return 0, 0, err
	}
	if !ranged {
		if to = from; stepped && from < f.low+f.size() {
			to = f.low + f.size() - 1
		}
		return from, to, nil
	}
	if to, err = f.value(last); err != nil {
		return 0, 0, err
	}
	if f.high == sunday && from > 0 && to == 0 && strings.EqualFold(last, "sun") {
		to = sunday
	}
	if from > to {
		return 0, 0, fmt.Errorf("the range %q ends before it begins; write %q, if it is to go on from the beginning", text,
			f.rangeText(from, f.low+f.size()-1)+","+f.rangeText(f.low, to))
	}
	return from, to, nil
}

func (f *field) rangeText(from, to int) string {
	if from >= to {
		return fmt.Sprint(to)
	}
	return fmt.Sprintf("%d-%d", from, to)
}

// value reads a number or a name.
func (f *field) value(text string) (int, error) {
	if len(text) == 3 {
		if at := strings.Index(f.names, strings.ToLower(text)); at >= 0 && at%3 == 0 {
			return f.low + at/3, nil
		}
	}
	n, ok := number(text)
	switch {
	case !ok:
		return 0, fmt.Errorf("%q is no such value", text)
	case n < f.low || n > f.high:
		return 0, fmt.Errorf("%d is out of range", n)
	}
	return n, nil
}

// number reads a number of at most three digits.
func number(text string) (n int, ok bool) {
	if text == "" || len(text) > 3 {
		return 0, false
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}
