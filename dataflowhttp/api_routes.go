package dataflowhttp

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

// The answers that are lists. Next is the parameter of the next page, empty or 0 on the last one.
type (
	flowPage struct {
		Flows []jsonview.Flow `json:"flows"`
		Next  string          `json:"next,omitempty"`
	}
	runPage struct {
		Runs []jsonview.Run `json:"runs"`
		Next int64          `json:"next,omitempty"`
	}
	deadLetterPage struct {
		DeadLetters []jsonview.DeadLetter `json:"dead_letters"`
		Next        int64                 `json:"next,omitempty"`
	}
	skippedPage struct {
		SkippedTicks []jsonview.SkippedTicks `json:"skipped_ticks"`
		Next         int64                   `json:"next,omitempty"`
	}
	changePage struct {
		Changes []jsonview.CursorChange `json:"changes"`
		Next    int64                   `json:"next,omitempty"`
	}
	auditPage struct {
		Audit []jsonview.AuditEntry `json:"audit"`
		Next  int64                 `json:"next,omitempty"`
	}
	processList struct {
		Processes []jsonview.Process `json:"processes"`
	}
	totalList struct {
		Totals []jsonview.DailyTotal `json:"totals"`
	}
	backfillList struct {
		Backfills []jsonview.Backfill `json:"backfills"`
	}
	partList struct {
		Parts []jsonview.Part `json:"parts"`
	}
	queueList struct {
		Queues []jsonview.Queue `json:"queues"`
	}
	tickList struct {
		Ticks []time.Time `json:"ticks"`
	}
	runList struct {
		Runs []jsonview.Run `json:"runs"`
	}
	closed struct {
		Closed int64 `json:"closed"`
	}
	replayed struct {
		Replayed []int64          `json:"replayed"`
		Failed   map[int64]string `json:"failed"`
	}
)

// The bodies of actions. All fields are optional unless the path says otherwise.
type (
	reasonBody struct {
		Reason string `json:"reason"`
	}
	runBody struct {
		At     time.Time       `json:"at"`
		Params json.RawMessage `json:"params"`
		Reason string          `json:"reason"`
	}
	backfillBody struct {
		From      json.RawMessage `json:"from"`
		Until     json.RawMessage `json:"until"`
		FromTime  time.Time       `json:"from_time"`
		UntilTime time.Time       `json:"until_time"`
		Params    json.RawMessage `json:"params"`
		Ranges    int             `json:"ranges"`
		Append    bool            `json:"append"`
		At        time.Time       `json:"at"`
		Reason    string          `json:"reason"`
	}
	cursorBody struct {
		Cursor   json.RawMessage `json:"cursor"`
		IfSeq    *int64          `json:"if_seq"`
		IfCursor json.RawMessage `json:"if_cursor"`
		Reason   string          `json:"reason"`
	}
	noBody     struct{}
	replayBody struct {
		IDs    []int64 `json:"ids"`
		Reason string  `json:"reason"`
	}
	closeBody struct {
		IDs    []int64                  `json:"ids"`
		All    bool                     `json:"all"`
		State  dataflow.DeadLetterState `json:"state"`
		Reason string                   `json:"reason"`
	}
	payloadBody struct {
		Payload json.RawMessage `json:"payload"`
	}
)

// Parameters that several paths have.
//
//nolint:gochecknoglobals // parts of a table
var (
	limit        = parameter{name: "limit", kind: "integer", says: "the size of a page, up to 10,000; 100 if it is not given"}
	before       = parameter{name: "before", kind: "integer", says: "next of the page before"}
	ofFlow       = parameter{name: "flow", kind: "string", says: "only those of this flow"}
	letterStates = []string{string(dataflow.DeadLetterOpen), string(dataflow.DeadLetterReplayed), string(dataflow.DeadLetterResolved), string(dataflow.DeadLetterDiscarded)}

	states = []string{string(dataflow.RunPending), string(dataflow.RunInProgress), string(dataflow.RunSuccess), string(dataflow.RunFailed), string(dataflow.RunCancelled)}
)

// routes are the paths of the API. openapi.json is made of them.
var routes = []route{ //nolint:gochecknoglobals // a table
	{
		method: "GET", path: "/flows", action: ActionRead, summary: "List flows by name", status: http.StatusOK, work: reads(listFlows),
		query: []parameter{
			{name: "state", kind: "string", says: "only flows in this state", values: []string{string(dataflow.FlowActive), jsonview.Paused}},
			{name: "due", kind: "boolean", says: "only active flows whose next tick has come"},
			{name: "overdue", kind: "boolean", says: "only active flows whose next tick came at least an hour ago"},
			{name: "trouble", kind: "boolean", says: "only flows that somebody should look at: stopped by failures, failing, or late by a minute"},
			{name: "last_runs", kind: "integer", says: "how many of each flow's newest runs are answered with it, up to 100; none if it is not given"},
			{name: "lag", kind: "boolean", says: "whether the sources of the flows are asked how far they are after them; it takes 1 s at most"},
			{name: "after", kind: "string", says: "next of the page before"},
			limit,
		},
	},
	{method: "GET", path: "/flows/{name}", action: ActionRead, summary: "Show a flow", status: http.StatusOK, work: reads(showFlow)},
	{method: "GET", path: "/flows/{name}/why", action: ActionRead, summary: "Say why a flow is not running now", status: http.StatusOK, work: reads(showWhy)},
	{method: "GET", path: "/flows/{name}/lag", action: ActionRead, summary: "Show how far a flow is after its source, if this process has its code", status: http.StatusOK, work: reads(showLag)},
	{method: "GET", path: "/flows/{name}/definition", action: ActionRead, summary: "Show what the code of this process declares of a flow, beside what is stored", status: http.StatusOK, work: reads(listParts)},
	{method: "GET", path: "/flows/{name}/backfills", action: ActionRead, summary: "Show how far the backfills of a flow have come: those that have not ended, and the newest one", status: http.StatusOK, work: reads(listBackfills)},
	{method: "GET", path: "/flows/{name}/cursor", action: ActionRead, summary: "Show where a flow goes on", status: http.StatusOK, work: reads(showCursor)},
	{
		method: "GET", path: "/flows/{name}/cursor/history", action: ActionRead, summary: "List who set a flow's cursor, newest first", status: http.StatusOK,
		work: reads(listChanges), query: []parameter{before, limit},
	},
	{
		method: "GET", path: "/flows/{name}/ticks", action: ActionRead, summary: "Preview the next ticks of a flow", status: http.StatusOK,
		work: reads(listTicks), query: []parameter{{name: "n", kind: "integer", says: "how many, up to 1,000; 10 if it is not given"}},
	},
	{
		method: "GET", path: "/runs", action: ActionRead, summary: "List runs, newest first", status: http.StatusOK, work: reads(listRuns),
		query: []parameter{
			ofFlow,
			{name: "state", kind: "string", says: "only runs in this state; give it several times for several states", values: states, list: true},
			{name: "trigger", kind: "string", says: "only runs with this trigger"},
			{name: "due", kind: "boolean", says: "only pending runs whose time has come"},
			{name: "backfill", kind: "string", says: "only the runs of this backfill of the flow"},
			before, limit,
		},
	},
	{method: "GET", path: "/runs/{id}", action: ActionRead, summary: "Show a run", status: http.StatusOK, work: reads(showRun)},
	{method: "GET", path: "/runs/{id}/progress", action: ActionRead, summary: "Show how far a run is", status: http.StatusOK, work: reads(showProgress)},
	{
		method: "GET", path: "/dead-letters", action: ActionRead, summary: "List dead letters, newest first", status: http.StatusOK, work: reads(listDeadLetters),
		query: []parameter{
			ofFlow,
			{name: "run", kind: "integer", says: "only those of this run"},
			{name: "open", kind: "boolean", says: "only those that are open: neither replayed, nor resolved, nor discarded"},
			{name: "state", kind: "string", says: "only those in this state", values: letterStates},
			before, limit,
		},
	},
	{method: "GET", path: "/dead-letters/{id}", action: ActionRead, summary: "Show a dead letter", status: http.StatusOK, work: reads(showDeadLetter)},
	{
		method: "GET", path: "/skipped-ticks", action: ActionRead, summary: "List the ticks that started no run, newest first", status: http.StatusOK, work: reads(listSkipped),
		query: []parameter{ofFlow, {name: "reason", kind: "string", says: "only those that were skipped for this reason"}, before, limit},
	},
	{
		method: "GET", path: "/totals", action: ActionRead, summary: "Add up the runs of each day", status: http.StatusOK, work: reads(listTotals),
		query: []parameter{
			ofFlow,
			{name: "from", kind: "string", says: "the first day in UTC, such as 2026-11-01; 29 days before the last one if it is not given"},
			{name: "to", kind: "string", says: "the last day; today if it is not given"},
		},
	},
	{
		method: "GET", path: "/audit", action: ActionRead, summary: "List who did what to flows and runs, newest first", status: http.StatusOK, work: reads(listAudit),
		query: []parameter{ofFlow, {name: "actor", kind: "string", says: "only what this actor did"}, before, limit},
	},
	{method: "GET", path: "/processes", action: ActionRead, summary: "List the processes that are alive", status: http.StatusOK, work: reads(listProcesses)},
	{method: "GET", path: "/queues", action: ActionRead, summary: "List the queues that River has seen, and which are paused", status: http.StatusOK, work: reads(listQueues)},
	{method: "POST", path: "/flows/{name}/pause", action: ActionPause, summary: "Pause a flow", status: http.StatusOK, work: acts(pause)},
	{method: "POST", path: "/flows/{name}/resume", action: ActionResume, summary: "Resume a flow", status: http.StatusOK, work: acts(resume)},
	{
		method: "POST", path: "/flows/{name}/runs", action: ActionTrigger, summary: "Start a run of a flow, or return the one that waits already",
		status: http.StatusCreated, work: acts(trigger),
	},
	{
		method: "POST", path: "/flows/{name}/backfills", action: ActionBackfill, summary: "Read a part of a flow's source again, in one run or in ranges",
		status: http.StatusCreated, work: acts(backfill),
	},
	{
		method: "PUT", path: "/flows/{name}/cursor", action: ActionSetCursor, summary: "Set where a flow goes on, if it is still where the caller has seen it (if_seq or if_cursor)",
		status: http.StatusOK, work: acts(setCursor),
	},
	{
		method: "POST", path: "/flows/{name}/dead-letters/replay", action: ActionReplay, summary: "Replay dead letters of a flow: those with the ids, or all that are open",
		status: http.StatusOK, work: acts(replay),
	},
	{
		method: "POST", path: "/flows/{name}/dead-letters/close", action: ActionCloseDeadLetters,
		summary: "Close dead letters of a flow without a replay: those with the ids, or all that are open, as resolved or discarded",
		status:  http.StatusOK, work: acts(closeLetters),
	},
	{
		method: "PUT", path: "/dead-letters/{id}/payload", action: ActionEditDeadLetter, summary: "Mend the record of an open dead letter, so that it can be replayed",
		status: http.StatusOK, work: acts(editLetter),
	},
	{method: "POST", path: "/runs/{id}/cancel", action: ActionCancel, summary: "End a run, whichever process works it", status: http.StatusOK, work: acts(cancel)},
	{method: "POST", path: "/runs/{id}/retry", action: ActionRetry, summary: "Start a new run in place of one that failed or was cancelled", status: http.StatusCreated, work: acts(retry)},
	{method: "GET", path: "/openapi.json", action: ActionRead, summary: "Describe this API", status: http.StatusOK, work: reads(describe)},
}
