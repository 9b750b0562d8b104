package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Spec says when a schedule's ticks are. Exactly one of Interval and Cron is set.
type Spec struct {
	// Interval is the time between ticks: whole milliseconds, at least a second.
	Interval time.Duration
	// Cron is an expression with 5 fields; or with 6, where the first is the second;
	// or one of @hourly @daily @midnight @weekly @monthly @yearly @annually.
	Cron string
	// TimeZone is the zone of Cron by its IANA name, such as "Europe/Berlin". Default: UTC.
	TimeZone string
	// Start is when the schedule begins; zero: it has no beginning. No tick is before it, and
	// an Interval is counted from it. It is rounded up to a whole millisecond.
	Start time.Time
	// End is when the schedule ends; zero: never. No tick is after it.
	End time.Time
	// Offset is added to every tick: whole milliseconds, from zero to less than Interval.
	// See [Stagger].
	Offset time.Duration
}

// FieldError says which field of a [Spec] is wrong.
type FieldError struct {
	// Field is the name of the field, such as "Cron".
	Field string
	// Reason says what is wrong and what would be right.
	Reason string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

// minInterval keeps a flow from being due all the time.
const minInterval = time.Second

// New returns the schedule of a spec. Its error joins one [*FieldError] for each fault: for
// invalid fields, for an expression that never fires, and for a schedule without a tick
// between its Start and its End.
func New(spec Spec) (*Schedule, error) {
	s := &Schedule{first: minMilli, last: maxMilli, offset: spec.Offset.Milliseconds()}
	var faults []error
	fault := func(field, format string, args ...any) {
		faults = append(faults, &FieldError{Field: field, Reason: fmt.Sprintf(format, args...)})
	}

	switch {
	case spec.Interval != 0 && spec.Cron != "":
		fault("Cron", "Interval is set too; set one of them only")
	case spec.Cron != "":
		calendar, err := parseCron(spec.Cron)
		if err != nil {
			fault("Cron", "%s", err)
		}
		s.calendar = calendar
	case spec.Interval == 0:
		fault("Interval", "neither Interval nor Cron is set; set one of them")
	case spec.Interval < minInterval || spec.Interval%time.Millisecond != 0:
		fault("Interval", "%s; it must be whole milliseconds, and at least %s", spec.Interval, minInterval)
	}
	zone, err := loadZone(spec)
	if err != nil {
		fault("TimeZone", "%s", err)
	}
	s.zone = zone
	if spec.Offset < 0 || spec.Offset%time.Millisecond != 0 {
		fault("Offset", "%s; it must be whole milliseconds, and not negative", spec.Offset)
	} else if spec.Interval >= minInterval && spec.Offset >= spec.Interval {
		fault("Offset", "%s; it must be less than the Interval of %s", spec.Offset, spec.Interval)
	}
	if !spec.Start.IsZero() && !spec.End.IsZero() && spec.End.Before(spec.Start) {
		fault("End", "%s is before Start, %s", text(spec.End), text(spec.Start))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}

	s.bound(spec)
	if s.interval == 0 {
		if _, ok := s.calendar.next(0); !ok {
			fault("Cron", "%q never fires: none of its months has such a day", spec.Cron)
			return nil, errors.Join(faults...)
		}
	}
	if _, ok := s.next(s.first - 1); !ok {
		fault(emptyField(spec), "there is no tick between Start, %s, and End, %s", text(spec.Start), text(spec.End))
		return nil, errors.Join(faults...)
	}
	return s, nil
}

// bound sets the fields that depend on times. The spec has been checked before.
func (s *Schedule) bound(spec Spec) {
	if !spec.Start.IsZero() {
		s.first = max(s.first, ceilMilli(spec.Start))
	}
	if !spec.End.IsZero() {
		s.last = min(s.last, floorMilli(spec.End))
	}
	if spec.Interval != 0 {
		s.interval, s.anchor = spec.Interval.Milliseconds(), s.offset
		if !spec.Start.IsZero() {
			s.anchor += s.first
		}
	}
}

// emptyField is the field to blame for a schedule without ticks.
func emptyField(spec Spec) string {
	if spec.End.IsZero() {
		return "Start"
	}
	return "End"
}

func text(t time.Time) string {
	if t.IsZero() {
		return "which is not set"
	}
	return t.Format(time.RFC3339Nano)
}

func loadZone(spec Spec) (zone, error) {
	switch {
	case spec.TimeZone == "":
		return zone{time.UTC}, nil
	case spec.Interval != 0 && spec.Cron == "":
		return zone{}, fmt.Errorf("%q is set, but an Interval has no time zone; leave it empty, or use Cron", spec.TimeZone)
	case spec.TimeZone == "Local":
		return zone{}, errors.New(`"Local" is another zone on each machine; name the zone, such as "Europe/Berlin"`)
	}
	location, err := time.LoadLocation(spec.TimeZone)
	if err != nil {
		return zone{}, fmt.Errorf("%q is unknown on this machine (%w); give an IANA name such as \"Europe/Berlin\"; "+
			"on machines without zone files, programs can import time/tzdata", spec.TimeZone, err)
	}
	return zone{location}, nil
}

// Stagger returns an Offset for the schedule of that name: whole milliseconds from zero to
// less than within. Offsets are spread evenly over names. A name has the same offset in every
// process and in every version of this package. It is zero if within is at most a millisecond.
func Stagger(name string, within time.Duration) time.Duration {
	steps := within.Milliseconds()
	if within%time.Millisecond > 0 {
		steps++ // the last step begins before within ends
	}
	if steps < 2 {
		return 0
	}
	sum := sha256.Sum256([]byte(name))
	return time.Duration(binary.BigEndian.Uint64(sum[:])%uint64(steps)) * time.Millisecond
}
