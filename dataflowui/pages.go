package dataflowui

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

type runList struct {
	Runs []jsonview.Run
	Next int64
}

func notFound(err error) bool { return status(err) == http.StatusNotFound }

// status is that of an answer of the API, 0 if there is none.
func status(err error) int {
	var refused *refusal
	if !errors.As(err, &refused) {
		return 0
	}
	return refused.Status
}

func (u *ui) runs(r *http.Request) (*view, error) {
	query := chosenBy(r, "flow", "state", "trigger", "backfill", "before")
	list, err := get[runList](u, r, query, "runs")
	switch {
	case notFound(err):
		list = &runList{} // no flow has the name that is searched
	case err != nil:
		return nil, err
	}
	return &view{page: "runs", Title: "Runs", Data: map[string]any{
		"Runs": list.Runs, "Next": list.Next, "Flow": query.Get("flow"), "State": query.Get("state"), "Trigger": query.Get("trigger"), "Backfill": query.Get("backfill"),
		"Triggers": dataflow.Triggers(),
	}}, nil
}

// chosenBy is the query for a page of a list, by the fields of its form that are filled in.
func chosenBy(r *http.Request, names ...string) url.Values {
	query, shown := url.Values{"limit": {"50"}}, r.URL.Query()
	for _, name := range names {
		if text := strings.TrimSpace(shown.Get(name)); text != "" {
			query.Set(name, text)
		}
	}
	return query
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
	failed := run.Errors
	slices.Reverse(failed)
	more := 0
	if len(failed) > attemptsOnRun && r.URL.Query().Get("attempts") != "all" {
		failed, more = failed[:attemptsOnRun], len(failed)-attemptsOnRun
	}
	return &view{page: "run", Title: "Run " + r.PathValue("id"), Data: map[string]any{
		"Run": run, "Progress": progress, "Letters": letters.DeadLetters, "Ended": ended(run.State), "Failed": failed, "MoreFailed": more,
	}}, nil
}

// attemptsOnRun is how many of the attempts that failed a run's page shows, unless it is asked for all.
const attemptsOnRun = 20

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
	query := chosenBy(r, "flow", "state", "run", "before")
	state := cmp.Or(query.Get("state"), "open")
	if query.Set("state", state); state == "all" {
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
		"Letters": list.DeadLetters, "Next": list.Next, "Flow": query.Get("flow"), "State": state, "Run": query.Get("run"),
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
	// A page that fails as a whole would tell less: the schema's name may be one that River refuses.
	queues, unread := get[struct{ Queues []jsonview.Queue }](u, r, nil, "queues")
	if unread != nil {
		queues = &struct{ Queues []jsonview.Queue }{}
	}
	workedBy, paused, joined := make(map[string]int), 0, false
	for _, p := range alive.Processes {
		joined = joined || p.Joined() // its service's River client may work any queue
		for _, name := range p.Queues {
			workedBy[name]++
		}
	}
	for _, q := range queues.Queues {
		if q.PausedAt != nil {
			paused++
		}
	}
	return &view{page: "workers", Title: "Workers", Refresh: true, Data: map[string]any{
		"Processes": alive.Processes, "Runs": working.Runs, "Queues": queues.Queues, "WorkedBy": workedBy, "Joined": joined, "Paused": paused, "Unread": unread != nil,
	}}, nil
}

// skipped shows the ticks that started no run.
func (u *ui) skipped(r *http.Request) (*view, error) {
	query := chosenBy(r, "flow", "before")
	list, err := get[skippedList](u, r, query, "skipped-ticks")
	switch {
	case notFound(err):
		list = &skippedList{} // no flow has the name that is searched
	case err != nil:
		return nil, err
	}
	return &view{page: "skipped_ticks", Title: "Skipped ticks", Data: map[string]any{"Ticks": list.SkippedTicks, "Next": list.Next, "Flow": query.Get("flow")}}, nil
}

func (u *ui) audit(r *http.Request) (*view, error) {
	query := chosenBy(r, "flow", "actor", "before")
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
