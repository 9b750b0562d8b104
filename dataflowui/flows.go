package dataflowui

import (
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

// How many flows the first page shows: at most so many, those first that need a look, and at least so
// many by their names.
const (
	flowsOnPage = 50
	leastByName = 10
)

type flowRow struct {
	jsonview.Flow
	Problem  string // why somebody should look, empty if nobody need
	Disabled bool
	Held     string // why its ticks start no runs, empty if they do
}

// flows shows the flows that need a look, of all that there are, and then the others by name.
func (u *ui) flows(r *http.Request) (*view, error) {
	given := r.URL.Query()
	state, search, after := given.Get("state"), strings.TrimSpace(given.Get("q")), given.Get("after")
	query := url.Values{"limit": {strconv.Itoa(flowsOnPage)}, "last_runs": {strconv.Itoa(runsInChart)}, "lag": {"true"}}
	switch state {
	case "active", jsonview.Paused:
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
		query.Set("limit", strconv.Itoa(max(flowsOnPage-len(trouble.Flows), leastByName)))
	}
	now := time.Now() //nolint:forbidigo // a person reads the page beside a clock
	list, err := u.flowPage(r, query, search, after, func(f *jsonview.Flow) bool { return fits(f, state, now) })
	if err != nil {
		return nil, err
	}
	shown := make(map[string]bool)
	var rows []flowRow
	for _, f := range slices.Concat(trouble.Flows, list.Flows) {
		if !shown[f.Name] {
			rows = append(rows, flowRow{f, problem(&f, now), disabled(&f), held(&f)})
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

// fits reports whether a flow is one of those that a page for a state shows.
func fits(f *jsonview.Flow, state string, now time.Time) bool {
	switch state {
	case "active", jsonview.Paused:
		return f.State == state
	case "trouble":
		return problem(f, now) != ""
	case "overdue":
		return f.State == string(dataflow.FlowActive) && f.NextRunAt != nil && now.Sub(*f.NextRunAt) >= dataflow.OverdueAfter
	default:
		return true
	}
}

// flowPage returns the flow of the name that is searched, if there is one that fits, and the flows after it.
func (u *ui) flowPage(r *http.Request, query url.Values, search, after string, fits func(*jsonview.Flow) bool) (*flowList, error) {
	var found []jsonview.Flow
	if after == "" && search != "" {
		after = search
		if f, err := get[jsonview.Flow](u, r, nil, "flows", search); err == nil && fits(f) {
			runs, err := get[runList](u, r, url.Values{"flow": {search}, "limit": {strconv.Itoa(runsInChart)}}, "runs")
			if err != nil {
				return nil, err
			}
			f.LastRuns, f.Lag = summaries(runs.Runs), u.lag(r, search)
			found = append(found, *f)
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
