package schedule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/robfig/cron/v3"
)

const cronSyntax = cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor

// starBit is how the parser marks a field that is * or ?.
const starBit = 1 << 63

const descriptors = "@hourly @daily @midnight @weekly @monthly @yearly @annually"

// field is one of the six of an expression.
type field struct {
	name  string
	right string // the allowed values, for an error
	size  int    // how many values it has
}

func cronFields() [6]field {
	return [6]field{
		{"second", "seconds are 0 to 59", 60},
		{"minute", "minutes are 0 to 59", 60},
		{"hour", "hours are 0 to 23", 24},
		{"day-of-month", "days are 1 to 31", 31},
		{"month", "months are 1 to 12, or JAN to DEC", 12},
		{"day-of-week", "days of the week are 0 to 6, or SUN to SAT, and Sunday is 0", 7},
	}
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
	case trimmed == "@reboot":
		return calendar{}, fmt.Errorf("%q is not a time; use one of %s", expr, descriptors)
	case strings.HasPrefix(trimmed, "@"):
	case len(fields) != 5 && len(fields) != 6:
		return calendar{}, fmt.Errorf("%q has %d fields; it must have 5 (minute, hour, day of month, month, day of week), "+
			"or 6 with the second first, or be one of %s", expr, len(fields), descriptors)
	default:
		if err := checkFields(expr, fields); err != nil {
			return calendar{}, err
		}
	}
	parsed, err := cron.NewParser(cronSyntax).Parse(trimmed)
	if err != nil {
		return calendar{}, fmt.Errorf("%q: %w; use one of %s, or 5 fields", expr, err, descriptors)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return calendar{}, fmt.Errorf("%q is not a cron expression; use 5 fields", expr)
	}
	return calendar{
		second: spec.Second &^ starBit, minute: spec.Minute &^ starBit, hour: spec.Hour &^ starBit,
		day: spec.Dom &^ starBit, month: spec.Month &^ starBit, weekday: spec.Dow &^ starBit,
		either: spec.Dom&starBit == 0 && spec.Dow&starBit == 0,
	}, nil
}

// checkFields parses each field alone, because the parser does not say which field is wrong.
// It also refuses fields that the parser accepts but nobody can mean.
func checkFields(expr string, fields []string) error {
	known := cronFields()
	for i, given := range fields {
		place := i + len(known) - len(fields)
		if err := checkField(known[place], place, given); err != nil {
			return fmt.Errorf("%q: the %s field %q: %w; %s", expr, known[place].name, given, err, known[place].right)
		}
	}
	return nil
}

func checkField(f field, place int, given string) error {
	alone := [6]string{"*", "*", "*", "*", "*", "*"}
	alone[place] = given
	if _, err := cron.NewParser(cronSyntax).Parse(strings.Join(alone[:], " ")); err != nil {
		return err
	}
	for _, part := range strings.Split(given, ",") {
		values, step, stepped := strings.Cut(part, "/")
		switch n, _ := strconv.Atoi(step); { // the parser has accepted it
		case part == "":
			return errors.New("a value is missing beside a comma")
		case strings.HasPrefix(values, "*-") || strings.HasPrefix(values, "?-"):
			return fmt.Errorf("%q is not a range", values)
		case stepped && n > f.size:
			return fmt.Errorf("a step of %d is more than the whole field, and would have no effect", n)
		}
	}
	return nil
}
