package dataflowui

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// action is a form: where it is sent, and which request of the API it becomes.
type action struct {
	path   string
	method string
	to     []string // the API's path; a part in braces is that of the form's path
	body   func(form url.Values) (map[string]any, error)
	done   string // what the next page says
	after  string // the page that follows, in the same notation; empty: a flow's page or a run's
}

var actions = []action{ //nolint:gochecknoglobals // a table
	{"/flows/{name}/pause", "POST", []string{"flows", "{name}", "pause"}, fields("reason!"), "paused", "flows/{name}"},
	{"/flows/{name}/resume", "POST", []string{"flows", "{name}", "resume"}, fields("reason"), "resumed", "flows/{name}"},
	{"/flows/{name}/trigger", "POST", []string{"flows", "{name}", "runs"}, fields("reason", "params:json"), "triggered", "flows/{name}"},
	{"/flows/{name}/backfill", "POST", []string{"flows", "{name}", "backfills"}, fields("reason!", "from:place", "until:place", "params:json", "ranges:int", "append:json"), "backfill", "flows/{name}"},
	{"/flows/{name}/cursor", "PUT", []string{"flows", "{name}", "cursor"}, fields("reason!", "cursor:json", "if_seq:int"), "cursor", "flows/{name}"},
	{"/flows/{name}/replay", "POST", []string{"flows", "{name}", "dead-letters", "replay"}, chosen, "replayed", "flows/{name}"},
	{"/flows/{name}/close", "POST", []string{"flows", "{name}", "dead-letters", "close"}, closing, "closed", "flows/{name}"},
	{"/runs/{id}/cancel", "POST", []string{"runs", "{id}", "cancel"}, fields("reason!"), "cancelled", "runs/{id}"},
	{"/runs/{id}/retry", "POST", []string{"runs", "{id}", "retry"}, fields(), "retried", ""},
	{"/dead-letters/{id}/edit", "PUT", []string{"dead-letters", "{id}", "payload"}, fields("payload:json"), "edited", "dead-letters/{id}"},
}

// sentences are what a page says after an action. The address names one of them.
var sentences = map[string]string{ //nolint:gochecknoglobals // a table
	"paused": "The flow is paused.", "resumed": "The flow is active again.", "triggered": "A run was asked for.",
	"backfill": "The backfill was asked for.", "cursor": "The cursor was set.", "replayed": "The dead letters were replayed.",
	"closed": "The dead letters were closed.", "cancelled": "The run is being cancelled.", "retried": "This run was started in place of the other.",
	"edited": "The record was changed.", "waits": "It was asked for before, and still waits: nothing was added.",
}

func done(r *http.Request) string { return sentences[r.URL.Query().Get("done")] }

// timeOf reads a date or a time, in UTC unless it says otherwise. A date is its beginning, or its end.
func timeOf(text string, end bool) (time.Time, bool) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		if end {
			day = day.AddDate(0, 0, 1)
		}
		return day, true
	}
	at, err := time.Parse(time.RFC3339, text)
	return at, err == nil
}

// fields returns what makes a body of a form's fields: of texts, of JSON ("name:json"), of whole
// numbers ("name:int"), and of cursors, dates or times ("name:place"). Empty fields are left out, but refused with a "!" after their name.
func fields(names ...string) func(url.Values) (map[string]any, error) {
	return func(form url.Values) (map[string]any, error) {
		body := make(map[string]any)
		for _, field := range names {
			name, kind, _ := strings.Cut(field, ":")
			name, required := strings.CutSuffix(name, "!")
			text := strings.TrimSpace(form.Get(name))
			if text == "" && required {
				return nil, fmt.Errorf("the field %s is empty: it is stored with the action, for whoever reads it later", name)
			}
			if text == "" {
				continue
			}
			switch kind {
			case "place":
				if at, ok := timeOf(text, name == "until"); ok {
					body[name+"_time"] = at
					continue
				}
				fallthrough
			case "json":
				if !json.Valid([]byte(text)) {
					return nil, fmt.Errorf("the field %s is not JSON: write a text in quotation marks, such as \"a\"", name)
				}
				body[name] = json.RawMessage(text)
			case "int":
				n, err := strconv.ParseInt(text, 10, 64)
				if err != nil {
					return nil, fmt.Errorf("the field %s is no whole number", name)
				}
				body[name] = n
			default:
				body[name] = text
			}
		}
		return body, nil
	}
}

// chosen are the dead letters that a form names.
func chosen(form url.Values) (map[string]any, error) {
	ids := make([]int64, 0, len(form["ids"]))
	for _, text := range form["ids"] {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, errors.New("the form names no dead letter")
		}
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return nil, errors.New("no dead letter was chosen")
	}
	body, err := fields("reason")(form)
	if err == nil {
		body["ids"] = ids
	}
	return body, err
}

func closing(form url.Values) (map[string]any, error) {
	body, err := fields("reason!")(form)
	if err == nil {
		body, err = chosen(form)
	}
	if err != nil {
		return nil, err
	}
	body["state"] = form.Get("state")
	return body, nil
}

// acted is what the page after an action must know of the API's answer.
type acted struct {
	ID        int64
	Coalesced bool
	Runs      []struct{ Coalesced bool }
	Replayed  []int64
	Failed    map[int64]string
}

// note names what the page after the action says.
func (a *acted) note(usual string) string {
	if a.Coalesced || len(a.Runs) > 0 && a.Runs[0].Coalesced {
		return "waits"
	}
	return usual
}

// failures says which dead letters could not be replayed, and why.
func (a *acted) failures() string {
	text := fmt.Sprintf("%d of %d dead letters was replayed. The others stay open:", len(a.Replayed), len(a.Replayed)+len(a.Failed))
	if len(a.Replayed) > 1 {
		text = strings.Replace(text, "was", "were", 1)
	}
	ids := slices.Sorted(maps.Keys(a.Failed))
	for i, id := range ids {
		if i == 10 {
			text += fmt.Sprintf("\nand %d more", len(ids)-i)
			break
		}
		text += fmt.Sprintf("\ndead letter %d: %s", id, short(a.Failed[id]))
	}
	return text
}

func (u *ui) act(w http.ResponseWriter, r *http.Request, a action) {
	if !u.acts {
		u.problem(w, r, http.StatusForbidden, "This dashboard is read-only: its service gives no Options.Authorize.")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		u.problem(w, r, http.StatusRequestEntityTooLarge, fmt.Sprintf("The form cannot be read, or has more than %d bytes.", maxForm))
		return
	}
	if forged(r) {
		u.problem(w, r, http.StatusForbidden, "The form is not one of this dashboard, or is too old: go back, load the page again, and press the button there.")
		return
	}
	body, err := a.body(r.PostForm)
	if err != nil {
		u.problem(w, r, http.StatusBadRequest, err.Error())
		return
	}
	answer, err := call[acted](u, r, a.method, nil, body, filled(r, a.to, false)...)
	if err != nil {
		u.answer(w, r, nil, err)
		return
	}
	if len(answer.Failed) > 0 {
		u.answer(w, r, &view{page: "problem", Title: "Not everything was replayed", Data: map[string]any{"Detail": answer.failures(), "Form": true}, status: http.StatusConflict}, nil)
		return
	}
	next := strings.Join(filled(r, strings.Split(a.after, "/"), true), "/")
	if a.after == "" {
		next = "runs/" + strconv.FormatInt(answer.ID, 10)
	}
	w.Header().Set("Location", base(r)+next+"?done="+answer.note(a.done)) // relative: http.Redirect would leave out the prefix
	w.WriteHeader(http.StatusSeeOther)
}

// filled returns a path with the values of the request in place of the parts in braces.
func filled(r *http.Request, parts []string, escape bool) []string {
	list := make([]string, len(parts))
	for i, part := range parts {
		if list[i] = part; strings.HasPrefix(part, "{") {
			list[i] = r.PathValue(strings.Trim(part, "{}"))
			if escape {
				list[i] = url.PathEscape(list[i])
			}
		}
	}
	return list
}
