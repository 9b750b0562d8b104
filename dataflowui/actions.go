package dataflowui

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow/internal/jsonview"
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
	{"/flows/{name}/pause", "POST", []string{"flows", "{name}", "pause"}, fields("reason"), "paused", "flows/{name}"},
	{"/flows/{name}/resume", "POST", []string{"flows", "{name}", "resume"}, fields("reason"), "resumed", "flows/{name}"},
	{"/flows/{name}/trigger", "POST", []string{"flows", "{name}", "runs"}, fields("reason", "params:json"), "triggered", "flows/{name}"},
	{"/flows/{name}/backfill", "POST", []string{"flows", "{name}", "backfills"}, fields("reason", "from:json", "until:json", "params:json", "ranges:int"), "backfill", "flows/{name}"},
	{"/flows/{name}/cursor", "PUT", []string{"flows", "{name}", "cursor"}, fields("reason", "cursor:json", "if_seq:int"), "cursor", "flows/{name}"},
	{"/flows/{name}/replay", "POST", []string{"flows", "{name}", "dead-letters", "replay"}, chosen, "replayed", "flows/{name}"},
	{"/flows/{name}/close", "POST", []string{"flows", "{name}", "dead-letters", "close"}, closing, "closed", "flows/{name}"},
	{"/runs/{id}/cancel", "POST", []string{"runs", "{id}", "cancel"}, fields("reason"), "cancelled", "runs/{id}"},
	{"/runs/{id}/retry", "POST", []string{"runs", "{id}", "retry"}, fields(), "retried", ""},
	{"/dead-letters/{id}/edit", "PUT", []string{"dead-letters", "{id}", "payload"}, fields("payload:json"), "edited", "dead-letters/{id}"},
}

// sentences are what a page says after an action. The address names one of them.
var sentences = map[string]string{ //nolint:gochecknoglobals // a table
	"paused": "The flow is paused.", "resumed": "The flow is active again.", "triggered": "A run was asked for.",
	"backfill": "The backfill was asked for.", "cursor": "The cursor was set.", "replayed": "The dead letters were replayed.",
	"closed": "The dead letters were closed.", "cancelled": "The run is being cancelled.", "retried": "This run was started in place of the other.",
	"edited": "The record was changed.",
}

func done(r *http.Request) string { return sentences[r.URL.Query().Get("done")] }

// fields returns what makes a body of a form's fields. Empty fields are left out.
func fields(names ...string) func(url.Values) (map[string]any, error) {
	return func(form url.Values) (map[string]any, error) {
		body := make(map[string]any)
		for _, field := range names {
			name, kind, _ := strings.Cut(field, ":")
			text := strings.TrimSpace(form.Get(name))
			if text == "" {
				continue
			}
			switch kind {
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
	return map[string]any{"ids": ids}, nil
}

func closing(form url.Values) (map[string]any, error) {
	body, err := chosen(form)
	if err != nil {
		return nil, err
	}
	body["state"], body["reason"] = form.Get("state"), form.Get("reason")
	return body, nil
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
	answer, err := call[jsonview.Run](u, r, a.method, nil, body, filled(r, a.to, false)...)
	if err != nil {
		u.answer(w, r, nil, err)
		return
	}
	next := strings.Join(filled(r, strings.Split(a.after, "/"), true), "/")
	if a.after == "" {
		next = "runs/" + strconv.FormatInt(answer.ID, 10)
	}
	w.Header().Set("Location", base(r)+next+"?done="+a.done) // relative: http.Redirect would leave out the prefix
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
