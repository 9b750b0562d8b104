package dataflowhttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/activedataflow/dataflow"
)

// problemError is an error with its answer.
type problemError struct {
	status int
	code   string
	detail string
}

func (e *problemError) Error() string { return e.detail }

// Problem is the answer to a request that failed (RFC 9457).
type Problem struct {
	Type   string `json:"type"` // always "about:blank"
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"` // tells problems apart
	Detail string `json:"detail"`
}

// answers are the statuses and codes of the library's errors. The first that fits counts.
var answers = []struct { //nolint:gochecknoglobals // a table
	err    error
	status int
	code   string
}{
	{dataflow.ErrNotFound, http.StatusNotFound, "not_found"},
	{dataflow.ErrCursorMoved, http.StatusConflict, "cursor_moved"},
	{dataflow.ErrDisabled, http.StatusConflict, "disabled"},
	{dataflow.ErrAlreadyRunning, http.StatusConflict, "already_running"},
	{dataflow.ErrRunFinished, http.StatusConflict, "run_finished"},
	{dataflow.ErrDeadLetterClosed, http.StatusConflict, "dead_letter_closed"},
	{dataflow.ErrRunState, http.StatusConflict, "run_state"},
	{dataflow.ErrNotRegistered, http.StatusConflict, "not_registered"},
	{dataflow.ErrStopped, http.StatusServiceUnavailable, "stopped"},
}

func (a *api) fail(ctx context.Context, w http.ResponseWriter, q *call, err error) {
	var own *problemError
	if errors.As(err, &own) {
		a.problem(w, own.status, own.code, own.detail)
		return
	}
	for _, known := range answers {
		if errors.Is(err, known.err) {
			a.problem(w, known.status, known.code, a.mask.Text(err.Error()))
			return
		}
	}
	var bad *dataflow.ConfigError
	if errors.As(err, &bad) {
		a.problem(w, http.StatusUnprocessableEntity, "bad_value", a.mask.Text(err.Error()))
		return
	}
	if status, unknown := a.client.Migrations(ctx); unknown == nil && status.Version < len(status.Migrations) {
		a.problem(w, http.StatusServiceUnavailable, "not_migrated",
			fmt.Sprintf("the database has version %d of dataflow's tables, and this program needs version %d: call client.Migrate", status.Version, len(status.Migrations)))
		return
	}
	level := slog.LevelError
	if ctx.Err() != nil {
		level = slog.LevelDebug // the caller has gone away
	}
	a.opts.Logger.Log(ctx, level, "dataflow: a request of the API failed", slog.String("path", q.URL.Path), slog.String("error", err.Error()))
	a.problem(w, http.StatusInternalServerError, "internal", "the request failed: see the service's log")
}

func (a *api) problem(w http.ResponseWriter, status int, code, detail string) {
	header := w.Header()
	header.Set("Content-Type", "application/problem+json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail}) // fails only if the caller has gone away
}
