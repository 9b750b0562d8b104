package cli

import (
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"github.com/activedataflow/dataflow"
)

// places are --from and --until, each a cursor or a time.
type places struct {
	from, until, zone string
}

// Layouts of a time without a zone.
var zonelessLayouts = []string{"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04"} //nolint:gochecknoglobals // a constant

// looksLikeTime matches a text that is meant to be a date or a time.
var looksLikeTime = regexp.MustCompile(`^\d{4}[-/.]\d|^\d\d?[./]\d\d?[./]\d{4}`)

// into sets the bounds of a backfill, and returns a sentence about its times, if it has any.
func (l *places) into(p *dataflow.BackfillParams) (note string, err error) {
	zone := time.UTC
	if l.zone != "" {
		if zone, err = time.LoadLocation(l.zone); err != nil {
			return "", usage("--zone: this machine does not know the time zone %q: use a name such as Europe/Berlin", clip(l.zone, 40))
		}
	}
	if p.From, p.FromTime, err = placeOrTime("--from", l.from, zone, 0); err != nil {
		return "", err
	}
	if l.until == "null" { // as scripts make of a value that is missing
		return "", usage("--until null is no place: leave --until out to read to the end")
	}
	// The end of a day is the beginning of the next.
	if p.Until, p.UntilTime, err = placeOrTime("--until", l.until, zone, 1); err != nil {
		return "", err
	}
	text := func(t time.Time) string { return t.Format("2006-01-02T15:04:05.999999999Z07:00") }
	switch from, until := p.FromTime, p.UntilTime; {
	case from.IsZero() && until.IsZero() && l.zone != "":
		return "", usage("--zone needs a date or a time in --from or --until")
	case from.IsZero() && until.IsZero():
		return "", nil
	case until.IsZero():
		note = "from " + text(from) + " on"
	case from.IsZero():
		note = "before " + text(until)
	case !from.Before(until):
		return "", usage("--until %s ends before --from %s begins", l.until, l.from)
	default:
		note = "from " + text(from) + " on, before " + text(until)
	}
	return fmt.Sprintf("It reads the records %s. The time zone is %s.", note, zone), nil
}

// placeOrTime reads a cursor as JSON, a time, or a date. For a date it returns the beginning of the
// day that is so many days later.
func placeOrTime(flag, text string, zone *time.Location, days int) (json.RawMessage, time.Time, error) {
	if text == "" || json.Valid([]byte(text)) {
		return orNone(text), time.Time{}, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return nil, startOfDay(day.AddDate(0, 0, days), zone), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return nil, t, nil
	}
	for _, layout := range zonelessLayouts {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return nil, t, nil
		}
	}
	if looksLikeTime.MatchString(text) {
		return nil, time.Time{}, usage("%s: %q is neither a date, such as 2026-11-28, nor a time, such as 2026-11-28T09:30:00Z", flag, clip(text, 40))
	}
	return json.RawMessage(text), time.Time{}, nil
}

// startOfDay returns the first moment of a day in a zone, for the day's midnight in UTC. It is later
// than midnight if the clocks skip that, and the first midnight if they show it twice.
func startOfDay(day time.Time, zone *time.Location) time.Time {
	const most = 16 * time.Hour // no zone is further from UTC
	for t := day.Add(-most).In(zone); ; {
		_, offset := t.Zone()
		_, end := t.ZoneBounds()
		first := day.Add(-time.Duration(offset) * time.Second).In(zone)
		if first.Before(t) {
			first = t
		}
		if !end.After(t) || first.Before(end) { // the last offset has no end
			return first
		}
		t = end
	}
}
