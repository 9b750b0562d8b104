package dataflowui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
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
	"plain": plain, "indent": indent, "short": short, "strip": strip, "durations": durations, "records": records, "kind": kind, "schedule": schedule, "changes": changes, "place": place, "rate": rate, "left": left, "percent": percent,
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
		return "in " + span(-d)
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
func took(r jsonview.Run) string {
	switch {
	case r.StartedAt == nil, r.State == string(dataflow.RunPending): // what it has been worked before is over
		return "–"
	case r.EndedAt == nil:
		return span(time.Since(*r.StartedAt))
	default:
		return span(r.EndedAt.Sub(*r.StartedAt))
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

func left(p *jsonview.Progress) string {
	if p.LeftSeconds == nil {
		return "–"
	}
	return span(time.Duration(*p.LeftSeconds * float64(time.Second)))
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

// schedule says in words when a flow runs by itself.
func schedule(f jsonview.Flow) string {
	var v struct {
		Interval json.RawMessage
		Cron     string
		Schedule struct{ Cron, Zone string }
	}
	_ = json.Unmarshal(f.Runtime, &v) // a Runtime without a schedule has none of these
	cron := v.Cron + v.Schedule.Cron
	if cron != "" {
		return "cron " + cron
	}
	text := strings.Trim(string(v.Interval), `"`)
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return "every " + span(d)
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil && n > 0 {
		return "every " + span(time.Duration(n*float64(time.Second)))
	}
	if f.NextRunAt != nil {
		return "by its schedule"
	}
	return "on request"
}

// chart is bars of runs, oldest first.
type chart struct {
	Label, Most   string
	Width, Height int
	Base          int // where the marks of Gaps begin
	Bars          []bar
	Gaps          []int // places of runs that there have not been
}

type bar struct {
	X, Y, Height int
	ID           int64
	State, Title string
}

func bars(runs []jsonview.Run, height, step int, value func(jsonview.Run) int64, text func(jsonview.Run) string) chart {
	most := int64(1)
	for _, r := range runs {
		most = max(most, value(r))
	}
	c := chart{Height: height, Base: height - 3, Width: 30 * step}
	for i := range max(0, 30-len(runs)) {
		c.Gaps = append(c.Gaps, i*step)
	}
	for i, r := range slices.Backward(runs) {
		h := max(3, int(float64(value(r))/float64(most)*float64(height)))
		c.Bars = append(c.Bars, bar{X: (29 - i) * step, Y: height - h, Height: h, ID: r.ID, State: r.State, Title: fmt.Sprintf("run %d: %s, %s", r.ID, stateText(r.State), text(r))})
	}
	return c
}

func read(r jsonview.Run) int64 { return r.Counters.Read }

func readText(r jsonview.Run) string { return number(r.Counters.Read) + " records" }

func duration(r jsonview.Run) int64 {
	if r.StartedAt == nil || r.EndedAt == nil {
		return 0
	}
	return r.EndedAt.Sub(*r.StartedAt).Milliseconds()
}

// strip shows the last runs of a flow: colours by their states, heights by their records.
func strip(runs []jsonview.Run) chart {
	c := bars(runs, 22, 6, read, readText)
	count := make(map[string]int)
	for _, r := range runs {
		count[r.State]++
	}
	parts := []string{strconv.Itoa(len(runs)) + " runs"}
	for _, state := range []dataflow.RunState{dataflow.RunSuccess, dataflow.RunFailed, dataflow.RunCancelled, dataflow.RunInProgress, dataflow.RunPending} {
		if n := count[string(state)]; n > 0 {
			parts = append(parts, strconv.Itoa(n)+" "+stateText(string(state)))
		}
	}
	c.Label = strings.Join(parts, ", ")
	return c
}

func durations(runs []jsonview.Run) chart {
	c := bars(runs, 80, 16, duration, took)
	c.Label, c.Most = "Duration of the last runs", span(time.Duration(highest(runs, duration))*time.Millisecond)
	return c
}

func records(runs []jsonview.Run) chart {
	c := bars(runs, 80, 16, read, readText)
	c.Label, c.Most = "Records read by the last runs", number(highest(runs, read))
	return c
}

func highest(runs []jsonview.Run, value func(jsonview.Run) int64) int64 {
	most := int64(0)
	for _, r := range runs {
		most = max(most, value(r))
	}
	return most
}
