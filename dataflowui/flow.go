package dataflowui

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

// How much of each kind a flow's page shows.
const (
	skippedOnFlow = 30
	ticksOnFlow   = 5
	pastOnFlow    = 15
	lettersOnFlow = 10
	changesOnFlow = 5
)

func (u *ui) flow(r *http.Request) (*view, error) {
	name := r.PathValue("name")
	f, err := get[jsonview.Flow](u, r, nil, "flows", name)
	if err != nil {
		return nil, err
	}
	now := time.Now() //nolint:forbidigo // a person reads the page beside a clock
	data := map[string]any{"Flow": f, "Problem": problem(f, now), "Disabled": disabled(f), "Lag": u.lag(r, name)}
	if data["Why"], err = get[jsonview.Why](u, r, nil, "flows", name, "why"); err != nil {
		return nil, err
	}
	if data["Cursor"], err = get[jsonview.Cursor](u, r, nil, "flows", name, "cursor"); err != nil {
		return nil, err
	}
	if data["History"], err = u.changes(r, changesOnFlow); err != nil {
		return nil, err
	}
	runs, err := get[runList](u, r, url.Values{"flow": {name}, "limit": {strconv.Itoa(runsInChart)}}, "runs")
	if err != nil {
		return nil, err
	}
	skipped, err := get[skippedList](u, r, url.Values{"flow": {name}, "limit": {strconv.Itoa(skippedOnFlow)}}, "skipped-ticks")
	if err != nil {
		return nil, err
	}
	letters, err := u.letters(r, url.Values{"flow": {name}, "state": {"open"}, "limit": {strconv.Itoa(lettersOnFlow)}})
	if err != nil {
		return nil, err
	}
	backfills, err := get[struct{ Backfills []jsonview.Backfill }](u, r, nil, "flows", name, "backfills")
	if err != nil {
		return nil, err
	}
	// A flow that no schedule starts has no ticks, and says so by an error.
	var next []time.Time
	if ticks, err := get[struct{ Ticks []time.Time }](u, r, url.Values{"n": {strconv.Itoa(ticksOnFlow)}}, "flows", name, "ticks"); err == nil {
		next = ticks.Ticks
	}
	// A process without the flow's code has no definition, and says so by an error.
	if parts, err := get[struct{ Parts []jsonview.Part }](u, r, nil, "flows", name, "definition"); err == nil {
		data["Parts"], data["Differs"] = parts.Parts, slices.ContainsFunc(parts.Parts, func(p jsonview.Part) bool { return !p.Same })
	}
	data["Runs"], data["Letters"], data["Backfills"], data["Ticks"] = runs.Runs, letters.DeadLetters, backfills.Backfills, timeline(f, runs, skipped, next)
	charted := summaries(runs.Runs)
	data["Durations"], data["Records"] = durations(charted), records(charted)
	return &view{page: "flow", Title: name, Refresh: true, Data: data}, nil
}

// lagWaits is how long a page waits for a source to tell its lag.
const lagWaits = time.Second

// lag returns how far a flow is after its source, nil if nobody here can tell.
func (u *ui) lag(r *http.Request, name string) *jsonview.Lag {
	ctx, cancel := context.WithTimeout(r.Context(), lagWaits)
	defer cancel()
	lag, err := get[jsonview.Lag](u, r.WithContext(ctx), nil, "flows", name, "lag")
	switch {
	case status(err) == http.StatusConflict: // this process does not have its code
		return nil
	case err != nil:
		return &jsonview.Lag{Error: "the source has not told it"}
	case lag.AgeSeconds == nil && lag.Bytes == nil:
		return nil
	default:
		return lag
	}
}

type changeList struct {
	Changes []jsonview.CursorChange
	Next    int64
}

func (u *ui) changes(r *http.Request, limit int) (*changeList, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if before := r.URL.Query().Get("before"); before != "" {
		query.Set("before", before)
	}
	return get[changeList](u, r, query, "flows", r.PathValue("name"), "cursor", "history")
}

// cursor shows who has set a flow's cursor, as far back as it is kept.
func (u *ui) cursor(r *http.Request) (*view, error) {
	name := r.PathValue("name")
	cursor, err := get[jsonview.Cursor](u, r, nil, "flows", name, "cursor")
	if err != nil {
		return nil, err
	}
	list, err := u.changes(r, 50)
	if err != nil {
		return nil, err
	}
	return &view{page: "cursor", Title: "Cursor of " + name, Data: map[string]any{"Cursor": cursor, "Changes": list.Changes, "Next": list.Next}}, nil
}

type skippedList struct {
	SkippedTicks []jsonview.SkippedTicks `json:"skipped_ticks"`
	Next         int64
}

// tick is a moment of a flow's schedule: one that comes, one that has started a run, or some that
// have not.
type tick struct {
	At    time.Time
	Local string // the same on the clock of the schedule's time zone, empty if that is UTC
	Next  bool
	Now   bool // it is the first one that has been
	Run   *jsonview.Run
	Count int64 // of ticks that started no run
	First time.Time
	Why   string
}

// held says why ticks of a flow will start no runs, if nothing changes. Empty: they will.
func held(f *jsonview.Flow) string {
	switch {
	case f.State != string(dataflow.FlowActive):
		return "starts no run while the flow is paused"
	case disabled(f):
		return "starts no run while the flow's runtime is disabled"
	case f.TrippedAt != nil:
		return "starts no run unless the flow is resumed, or a run that tries it succeeds"
	default:
		return ""
	}
}

// timeline returns the ticks of a flow: those that come, and those that have been, the latest first.
func timeline(f *jsonview.Flow, runs *runList, skipped *skippedList, next []time.Time) []tick {
	zone := zoneOf(f)
	local := func(t time.Time) string {
		if zone == nil {
			return ""
		}
		return t.In(zone).Format("2006-01-02 15:04:05 MST")
	}
	var line []tick
	for _, at := range slices.Backward(next) {
		line = append(line, tick{At: at, Local: local(at), Next: true, Why: held(f)})
	}
	// What is older than the end of a list that has more may be on neither list.
	var since time.Time
	var past []tick
	for i := range runs.Runs {
		run := &runs.Runs[i]
		if run.Trigger == string(dataflow.TriggerSchedule) {
			past = append(past, tick{At: run.ScheduledFor, Local: local(run.ScheduledFor), Run: run})
		}
		if runs.Next != 0 {
			since = run.CreatedAt
		}
	}
	for _, s := range skipped.SkippedTicks {
		past = append(past, tick{At: s.Last, Local: local(s.Last), Count: s.Count, First: s.First, Why: reason(s.Reason)})
	}
	if n := len(skipped.SkippedTicks); skipped.Next != 0 && skipped.SkippedTicks[n-1].Last.After(since) {
		since = skipped.SkippedTicks[n-1].Last
	}
	past = slices.DeleteFunc(past, func(t tick) bool { return t.At.Before(since) })
	slices.SortStableFunc(past, func(a, b tick) int { return b.At.Compare(a.At) })
	if past = past[:min(len(past), pastOnFlow)]; len(past) > 0 {
		past[0].Now = true
	}
	return append(line, past...)
}
