package dataflowui

import (
	"bytes"
	"encoding/json"
	"html/template"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

var functions = template.FuncMap{ //nolint:gochecknoglobals // a table
	"path": url.PathEscape, "query": url.QueryEscape, "ago": ago, "stamp": stamp, "number": number, "span": span, "took": took, "state": stateText,
	"plain": plain, "indent": indent, "short": short, "strip": strip, "kind": kind, "schedule": schedule, "changes": changes, "place": place, "rate": rate, "left": left, "percent": percent,
	"lag": lagText, "reason": reason, "some": some, "share": share, "seconds": seconds, "ranges": ranges, "backfill": backfillOf,
	"pair": func(base string, runs []jsonview.Run) map[string]any {
		return map[string]any{"Base": base, "Runs": runs}
	},
}

// ago returns a time beside now: "3 min ago" or "in 2 h". t is a time or a pointer to one.
func ago(t any) string {
	at := when(t)
	if at.IsZero() {
		return "–"
	}
	d := time.Since(at)
	switch {
	case d > -time.Second && d < 2*time.Second:
		return "now"
	case d < 0:
		return "in " + span(time.Until(at))
	default:
		return span(d) + " ago"
	}
}

func when(t any) time.Time {
	switch t := t.(type) {
	case time.Time:
		return t
	case *time.Time:
		if t != nil {
			return *t
		}
	}
	return time.Time{}
}

func stamp(t any) string {
	at := when(t)
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02 15:04:05 UTC")
}

func span(d time.Duration) string {
	switch {
	case d == math.MaxInt64: // what is longer was cut
		return "more than 292 years"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < time.Minute:
		return strconv.FormatInt(int64(d.Seconds()), 10) + " s"
	case d < time.Hour:
		return strconv.FormatInt(int64(d.Minutes()), 10) + " min"
	case d < 48*time.Hour:
		return strconv.FormatInt(int64(d.Hours()), 10) + " h"
	default:
		return strconv.FormatInt(int64(d.Hours()/24), 10) + " days"
	}
}

// took returns how long a run has been worked.
func took(r jsonview.Run) string { return worked(r.State, r.StartedAt, r.EndedAt) }

func tookText(r jsonview.RunSummary) string { return worked(r.State, r.StartedAt, r.EndedAt) }

func worked(state string, started, ended *time.Time) string {
	switch {
	case started == nil, state == string(dataflow.RunPending): // what it has been worked before is over
		return "–"
	case ended == nil:
		return span(time.Since(*started))
	default:
		return span(ended.Sub(*started))
	}
}

func number(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func rate(p *jsonview.Progress) string { return number(int64(p.Rate)) + "/s" }

func left(p *jsonview.Progress) string { return seconds(p.LeftSeconds) }

// seconds is a time for a reader. Nil: it is not known.
func seconds(n *float64) string {
	if n == nil {
		return "–"
	}
	if *n >= math.MaxInt64/float64(time.Second) { // the conversion would make it negative
		return span(math.MaxInt64)
	}
	return span(time.Duration(*n * float64(time.Second)))
}

// reason says in words why ticks started no run.
func reason(code string) string { return dataflow.SkipReason(code).Text() }

// someNames is how many names of a long list are shown.
const someNames = 20

// some returns the first names of a list, and how many more there are.
func some(names []string) map[string]any {
	n := min(len(names), someNames)
	return map[string]any{"Names": names[:n], "More": int64(len(names) - n)}
}

// share is a share in percent. It is 100 only at the end.
func share(done float64) int { return int(done * 100) }

// ranges says in which states the ranges of a backfill are.
func ranges(b jsonview.Backfill) string {
	var parts []string
	for _, part := range []struct {
		n    int
		what string
	}{{b.Succeeded, "done"}, {b.InProgress, "in progress"}, {b.Pending, "waiting"}, {b.Failed, "failed"}, {b.Cancelled, "cancelled"}} {
		switch {
		case part.n > 0 && b.Ranges == 1:
			return part.what
		case part.n > 0:
			parts = append(parts, number(int64(part.n))+" "+part.what)
		}
	}
	return number(int64(b.Ranges)) + " ranges: " + strings.Join(parts, ", ")
}

// percent is how much of a run's records was read, -1 if that is not known.
func percent(p *jsonview.Progress) int64 {
	if p.Total == nil || *p.Total <= 0 {
		return -1
	}
	return min(100, 100*p.Counters.Read / *p.Total)
}

func stateText(state string) string { return strings.ReplaceAll(state, "_", " ") }

// plain returns JSON for a reader, indented.
func plain(data json.RawMessage) string {
	if len(data) == 0 || string(data) == "null" {
		return "none"
	}
	var v any
	if json.Unmarshal(data, &v) != nil {
		return string(data)
	}
	if text, ok := v.(string); ok {
		return text
	}
	if len(data) < 60 {
		return string(data)
	}
	out, err := json.MarshalIndent(data, "", "  ")
	if err != nil {
		return string(data)
	}
	return string(out)
}

// place is a cursor for a reader.
func place(cursor json.RawMessage) string {
	if len(cursor) == 0 || string(cursor) == "null" {
		return "the beginning"
	}
	return plain(cursor)
}

// change is a field of what an action changed.
type change struct{ Name, Value string }

// changes returns the fields of a JSON object, by their names.
func changes(data json.RawMessage) []change {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return nil
	}
	list := make([]change, 0, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		list = append(list, change{stateText(name), short(plain(fields[name]))})
	}
	return list
}

// indent returns JSON as somebody edits it.
func indent(data json.RawMessage) string {
	var out bytes.Buffer
	if json.Indent(&out, data, "", "  ") != nil {
		return string(data)
	}
	return out.String()
}

// short cuts a text for a table.
func short(text string) string {
	const most = 160
	if runes := []rune(text[:min(len(text), 4*most)]); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// kind is the name of what a stored part is.
func kind(part json.RawMessage) string {
	var v struct{ Type, Table, Name, Path string }
	_ = json.Unmarshal(part, &v) // what has no type is shown as a part alone
	text := v.Type
	for _, more := range []string{v.Table, v.Name, v.Path} {
		if more != "" {
			return strings.TrimSpace(text + " " + more)
		}
	}
	if text == "" {
		return "records"
	}
	return text
}

// backfillOf is the name of the backfill that a range belongs to.
func backfillOf(scope string) string {
	name, _, _ := strings.Cut(scope, "/")
	return name
}
