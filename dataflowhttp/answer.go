package dataflowhttp

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/activedataflow/dataflow"
)

// tickAnswer is the response to a round.
type tickAnswer struct {
	Fired   int         `json:"fired"`
	Skipped int64       `json:"skipped"`
	Rescued int         `json:"rescued"`
	Due     int         `json:"due"`
	Runs    []runAnswer `json:"runs"`
}

// runAnswer is a run in a response. Counters and Error are set only after a wait.
type runAnswer struct {
	ID       int64              `json:"id"`
	Flow     string             `json:"flow"`
	Trigger  dataflow.Trigger   `json:"trigger"`
	State    dataflow.RunState  `json:"state"`
	Queue    string             `json:"queue,omitempty"`
	Counters *dataflow.Counters `json:"counters,omitempty"`
	Error    string             `json:"error,omitempty"`
}

// runsOf returns the runs that a tick has started or found, ordered by ID. A run
// that it has both started and works is in both of its lists.
func runsOf(t *tick) []*dataflow.Run {
	runs := slices.Concat(t.Due, t.Fired)
	slices.SortStableFunc(runs, func(a, b *dataflow.Run) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(runs, func(a, b *dataflow.Run) bool { return a.ID == b.ID })
}

func (h *heartbeat) answer(t *tick, runs []*dataflow.Run, waited bool) *tickAnswer {
	a := &tickAnswer{Fired: len(t.Fired), Skipped: t.Skipped, Rescued: t.Rescued, Due: len(t.Due), Runs: make([]runAnswer, 0, len(runs))}
	for _, run := range runs {
		r := runAnswer{ID: run.ID, Flow: run.FlowName, Trigger: run.Trigger, State: run.State, Queue: run.Queue}
		if waited {
			r.Counters = &run.Counters
			if h.showErrors {
				r.Error = run.Error
			}
		}
		a.Runs = append(a.Runs, r)
	}
	return a
}

// writeJSON sends a response. v must be a value that can be marshalled.
func writeJSON(w http.ResponseWriter, status int, v any) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails only if the caller has gone away
}

// writeError sends the text of an error to the caller.
func writeError(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, struct {
		Error string `json:"error"`
	}{text})
}
