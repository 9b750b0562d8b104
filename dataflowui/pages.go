package dataflowui

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

// flowsOnPage bounds the rows of the first page, and how many of them need a look.
const flowsOnPage = 50

type flowRow struct {
	jsonview.Flow
	Problem string // why somebody should look, empty if nobody need
}

// flows shows the flows that need a look, of all that there are, and then the others by name.
func (u *ui) flows(r *http.Request) (*view, error) {
	given := r.URL.Query()
	state, search, after := given.Get("state"), strings.TrimSpace(given.Get("q")), given.Get("after")
	query := url.Values{"limit": {strconv.Itoa(flowsOnPage)}, "last_runs": {"30"}}
	switch state {
	case "active", "inactive":
		query.Set("state", state)
	case "trouble", "overdue":
		query.Set(state, "true")
	}
	trouble := new(flowList)
	var err error
	if first := after == "" && search == ""; first && (state == "" || state == "active") {
		asked := maps.Clone(query)
		asked.Set("trouble", "true")
		if trouble, err = get[flowList](u, r, asked, "flows"); err != nil {
			return nil, err
		}
	}
	list, err := u.flowPage(r, query, search, after)
	if err != nil {
		return nil, err
	}
	now := time.Now() //nolint:forbidigo // a person reads the page beside a clock
	shown := make(map[string]bool)
	var rows []flowRow
	for _, f := range slices.Concat(trouble.Flows, list.Flows) {
		if !shown[f.Name] {
			rows = append(rows, flowRow{f, problem(&f, now)})
		}
		shown[f.Name] = true
	}
	return &view{page: "flows", Title: "Flows", Refresh: true, Data: map[string]any{
		"Rows": rows, "Problems": len(trouble.Flows), "More": trouble.Next != "", "State": state, "Search": search, "Next": list.Next,
	}}, nil
}

type flowList struct {
	Flows []jsonview.Flow
	Next  string
}

// flowPage returns the flow of the name that is searched, if there is one, and the flows after it.
func (u *ui) flowPage(r *http.Request, query url.Values, search, after string) (*flowList, error) {
	var found []jsonview.Flow
	if after == "" && search != "" {
		after = search
		if f, err := get[jsonview.Flow](u, r, nil, "flows", search); err == nil {
			runs, err := get[runList](u, r, url.Values{"flow": {search}, "limit": {"30"}}, "runs")
			if err != nil {
				return nil, err
			}
			f.LastRuns, found = runs.Runs, append(found, *f)
		}
	}
	if after != "" {
		query.Set("after", after)
	}
	list, err := get[flowList](u, r, query, "flows")
	if err != nil {
		return nil, err
	}
	list.Flows = append(found, list.Flows...)
	return list, nil
}

func problem(f *jsonview.Flow, now time.Time) string {
	switch {
	case f.TrippedAt != nil:
		return "stopped after failures"
	case f.Failures == 1:
		return "last run failed"
	case f.Failures > 1:
		return number(int64(f.Failures)) + " runs failed in a row"
	case f.LastError != "":
		return "last attempt failed"
	case f.State == string(dataflow.FlowActive) && f.NextRunAt != nil && now.Sub(*f.NextRunAt) > dataflow.LateAfter:
		return "late"
	default:
		return ""
	}
}

func (u *ui) flow(r *http.Request) (*view, error) {
	name := r.PathValue("name")
	f, err := get[jsonview.Flow](u, r, nil, "flows", name)
	if err != nil {
		return nil, err
	}
	data := map[string]any{"Flow": f, "Problem": problem(f, time.Now())} //nolint:forbidigo // a person reads the page beside a clock
	if data["Why"], err = get[jsonview.Why](u, r, nil, "flows", name, "why"); err != nil {
		return nil, err
	}
	if data["Cursor"], err = get[jsonview.Cursor](u, r, nil, "flows", name, "cursor"); err != nil {
		return nil, err
	}
	history, err := get[struct{ Changes []jsonview.CursorChange }](u, r, url.Values{"limit": {"10"}}, "flows", name, "cursor", "history")
	if err != nil {
		return nil, err
	}
	runs, err := get[struct{ Runs []jsonview.Run }](u, r, url.Values{"flow": {name}, "limit": {"30"}}, "runs")
	if err != nil {
		return nil, err
	}
	skipped, err := get[struct {
		SkippedTicks []jsonview.SkippedTicks `json:"skipped_ticks"`
	}](u, r, url.Values{"flow": {name}, "limit": {"20"}}, "skipped-ticks")
	if err != nil {
		return nil, err
	}
	letters, err := u.letters(r, url.Values{"flow": {name}, "state": {"open"}, "limit": {"10"}})
	if err != nil {
		return nil, err
	}
	// A flow that no schedule starts has no ticks, and says so by an error.
	if ticks, err := get[struct{ Ticks []time.Time }](u, r, url.Values{"n": {"5"}}, "flows", name, "ticks"); err == nil {
		data["Ticks"] = ticks.Ticks
	}
	data["History"], data["Runs"], data["Skipped"], data["Letters"] = history.Changes, runs.Runs, skipped.SkippedTicks, letters.DeadLetters
	return &view{page: "flow", Title: name, Refresh: false, Data: data}, nil
}

type runList struct {
	Runs []jsonview.Run
	Next int64
}

func notFound(err error) bool {
	var refused *refusal
	return errors.As(err, &refused) && refused.Status == http.StatusNotFound
}

func (u *ui) runs(r *http.Request) (*view, error) {
	query, shown := url.Values{"limit": {"50"}}, r.URL.Query()
	for _, name := range []string{"flow", "state", "before"} {
		if text := shown.Get(name); text != "" {
			query.Set(name, text)
		}
	}
	list, err := get[runList](u, r, query, "runs")
	switch {
	case notFound(err):
		list = &runList{} // no flow has the name that is searched
	case err != nil:
		return nil, err
	}
	return &view{page: "runs", Title: "Runs", Data: map[string]any{"Runs": list.Runs, "Next": list.Next, "Flow": query.Get("flow"), "State": query.Get("state")}}, nil
}

func (u *ui) run(r *http.Request) (*view, error) {
	run, err := get[jsonview.Run](u, r, nil, "runs", r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	progress, err := get[jsonview.Progress](u, r, nil, "runs", r.PathValue("id"), "progress")
	if err != nil {
		return nil, err
	}
	letters, err := u.letters(r, url.Values{"run": {r.PathValue("id")}, "limit": {"10"}})
	if err != nil {
		return nil, err
	}
	return &view{page: "run", Title: "Run " + r.PathValue("id"), Data: map[string]any{
		"Run": run, "Progress": progress, "Letters": letters.DeadLetters, "Ended": ended(run.State),
	}}, nil
}

func ended(state string) bool {
	return state != string(dataflow.RunPending) && state != string(dataflow.RunInProgress)
}

type letterList struct {
	DeadLetters []jsonview.DeadLetter `json:"dead_letters"`
	Next        int64
}

func (u *ui) letters(r *http.Request, query url.Values) (*letterList, error) {
	return get[letterList](u, r, query, "dead-letters")
}

func (u *ui) deadLetters(r *http.Request) (*view, error) {
	shown := r.URL.Query()
	query := url.Values{"limit": {"50"}, "state": {"open"}}
	for _, name := range []string{"flow", "state", "run", "before"} {
		if text := shown.Get(name); text != "" {
			query.Set(name, text)
		}
	}
	state := query.Get("state")
	if state == "all" {
		query.Del("state")
	}
	list, err := u.letters(r, query)
	switch {
	case notFound(err):
		list = &letterList{} // no flow has the name that is searched
	case err != nil:
		return nil, err
	}
	return &view{page: "dead_letters", Title: "Dead letters", Data: map[string]any{
		"Letters": list.DeadLetters, "Next": list.Next, "Flow": query.Get("flow"), "State": state,
	}}, nil
}

func (u *ui) deadLetter(r *http.Request) (*view, error) {
	l, err := get[jsonview.DeadLetter](u, r, nil, "dead-letters", r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return &view{page: "dead_letter", Title: "Dead letter " + r.PathValue("id"), Data: l}, nil
}

func (u *ui) workers(r *http.Request) (*view, error) {
	alive, err := get[struct{ Processes []jsonview.Process }](u, r, nil, "processes")
	if err != nil {
		return nil, err
	}
	working, err := get[struct{ Runs []jsonview.Run }](u, r, url.Values{"state": {string(dataflow.RunInProgress)}, "limit": {"200"}}, "runs")
	if err != nil {
		return nil, err
	}
	return &view{page: "workers", Title: "Workers", Refresh: true, Data: map[string]any{"Processes": alive.Processes, "Runs": working.Runs}}, nil
}

func (u *ui) audit(r *http.Request) (*view, error) {
	query, shown := url.Values{"limit": {"50"}}, r.URL.Query()
	for _, name := range []string{"flow", "actor", "before"} {
		if text := strings.TrimSpace(shown.Get(name)); text != "" {
			query.Set(name, text)
		}
	}
	type auditList struct {
		Audit []jsonview.AuditEntry
		Next  int64
	}
	list, err := get[auditList](u, r, query, "audit")
	switch {
	case notFound(err):
		list = &auditList{} // no flow has the name that is searched
	case err != nil:
		return nil, err
	}
	return &view{page: "audit", Title: "Audit log", Data: map[string]any{
		"Entries": list.Audit, "Next": list.Next, "Flow": query.Get("flow"), "Actor": query.Get("actor"),
	}}, nil
}
