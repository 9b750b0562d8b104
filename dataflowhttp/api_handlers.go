package dataflowhttp

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

//go:embed openapi.json
var openAPI []byte

// pageSize is the size of a page if the caller does not say.
const pageSize = 100

// values reads a query, and keeps the first error.
type values struct {
	q   *call
	err error
}

func (v *values) text(name string) string { return v.q.URL.Query().Get(name) }

func (v *values) number(name string) int64 {
	text := v.text(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		v.wrong(name, "it is %q: use a whole number from 1 on", text)
	}
	return n
}

func (v *values) flag(name string) bool {
	switch text := v.text(name); text {
	case "", "false":
		return false
	case "true":
		return true
	default:
		v.wrong(name, "it is %q: use true or false", text)
		return false
	}
}

// day reads a date.
func (v *values) day(name string) time.Time {
	text := v.text(name)
	if text == "" {
		return time.Time{}
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil || day.Year() < 1 {
		v.wrong(name, "it is %q: use a date such as 2026-11-28", text)
	}
	return day
}

// limit reads the size of a page.
func (v *values) limit() int { return int(min(cmp.Or(v.number("limit"), pageSize), math.MaxInt)) }

func (v *values) wrong(name, format string, args ...any) {
	if v.err == nil {
		v.err = &problemError{http.StatusBadRequest, "bad_parameter", fmt.Sprintf("parameter %s: "+format, append([]any{name}, args...)...)}
	}
}

// id reads the id of a run in a path.
func (q *call) id() (int64, error) {
	id, err := strconv.ParseInt(q.PathValue("id"), 10, 64)
	if err != nil || id < 1 {
		return 0, &problemError{http.StatusNotFound, "not_found", fmt.Sprintf("%q is not an id", q.PathValue("id"))}
	}
	return id, nil
}

// known returns an error if a flow is named that does not exist. An empty list would hide a typo.
func (a *api) known(ctx context.Context, flow string) error {
	if flow == "" {
		return nil
	}
	_, err := a.client.Flow(ctx, flow)
	return err
}

func listRuns(ctx context.Context, a *api, q *call) (*runPage, error) {
	v := values{q: q}
	p := &dataflow.RunListParams{Flow: v.text("flow"), Backfill: v.text("backfill"), Trigger: dataflow.Trigger(v.text("trigger")), Due: v.flag("due"), Before: v.number("before"), Limit: v.limit()}
	for _, state := range q.URL.Query()["state"] {
		p.States = append(p.States, dataflow.RunState(state))
	}
	if v.err != nil {
		return nil, v.err
	}
	if err := a.known(ctx, p.Flow); err != nil {
		return nil, err
	}
	runs, err := a.client.Runs(ctx, p)
	if err != nil {
		return nil, err
	}
	page := runPage{Runs: jsonview.All(runs, a.run)}
	if len(runs) == p.Limit {
		page.Next = runs[len(runs)-1].ID
	}
	return &page, nil
}

func showRun(ctx context.Context, a *api, q *call) (*jsonview.Run, error) {
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	run, err := a.client.Run(ctx, id)
	if err != nil {
		return nil, err
	}
	return ptr(a.run(run)), nil
}

func showProgress(ctx context.Context, a *api, q *call) (*jsonview.Progress, error) {
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	p, err := a.client.Progress(ctx, id)
	if err != nil {
		return nil, err
	}
	return ptr(jsonview.OfProgress(p)), nil
}

func listDeadLetters(ctx context.Context, a *api, q *call) (*deadLetterPage, error) {
	v := values{q: q}
	p := &dataflow.DeadLetterListParams{Flow: v.text("flow"), Run: v.number("run"), Open: v.flag("open"), State: dataflow.DeadLetterState(v.text("state")), Before: v.number("before"), Limit: v.limit()}
	if v.err != nil {
		return nil, v.err
	}
	if err := a.known(ctx, p.Flow); err != nil {
		return nil, err
	}
	if p.Run != 0 {
		if _, err := a.client.Run(ctx, p.Run); err != nil {
			return nil, err
		}
	}
	letters, err := a.client.DeadLetters(ctx, p)
	if err != nil {
		return nil, err
	}
	page := deadLetterPage{DeadLetters: jsonview.All(letters, a.deadLetter)}
	if len(letters) == p.Limit {
		page.Next = letters[len(letters)-1].ID
	}
	return &page, nil
}

func showDeadLetter(ctx context.Context, a *api, q *call) (*jsonview.DeadLetter, error) {
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	l, err := a.client.DeadLetter(ctx, id)
	if err != nil {
		return nil, err
	}
	return ptr(a.deadLetter(l)), nil
}

func listSkipped(ctx context.Context, a *api, q *call) (*skippedPage, error) {
	v := values{q: q}
	p := &dataflow.TickListParams{Flow: v.text("flow"), Reason: dataflow.SkipReason(v.text("reason")), Before: v.number("before"), Limit: v.limit()}
	if v.err != nil {
		return nil, v.err
	}
	if err := a.known(ctx, p.Flow); err != nil {
		return nil, err
	}
	ticks, err := a.client.SkippedTicks(ctx, p)
	if err != nil {
		return nil, err
	}
	page := skippedPage{SkippedTicks: jsonview.All(ticks, jsonview.OfSkippedTicks)}
	if len(ticks) == p.Limit {
		page.Next = ticks[len(ticks)-1].ID
	}
	return &page, nil
}

func listTotals(ctx context.Context, a *api, q *call) (*totalList, error) {
	v := values{q: q}
	o := &dataflow.TotalsOptions{Flow: v.text("flow"), From: v.day("from"), To: v.day("to")}
	if v.err != nil {
		return nil, v.err
	}
	if err := a.known(ctx, o.Flow); err != nil {
		return nil, err
	}
	totals, err := a.client.Totals(ctx, o)
	if err != nil {
		return nil, err
	}
	return &totalList{Totals: jsonview.All(totals, jsonview.OfDailyTotal)}, nil
}

func listAudit(ctx context.Context, a *api, q *call) (*auditPage, error) {
	v := values{q: q}
	p := &dataflow.AuditListParams{Flow: v.text("flow"), Actor: v.text("actor"), Before: v.number("before"), Limit: v.limit()}
	if v.err != nil {
		return nil, v.err
	}
	if err := a.known(ctx, p.Flow); err != nil {
		return nil, err
	}
	entries, err := a.client.Audit(ctx, p)
	if err != nil {
		return nil, err
	}
	page := auditPage{Audit: jsonview.All(entries, a.audit)}
	if len(entries) == p.Limit {
		page.Next = entries[len(entries)-1].ID
	}
	return &page, nil
}

func listProcesses(ctx context.Context, a *api, _ *call) (*processList, error) {
	processes, err := a.client.Processes(ctx)
	if err != nil {
		return nil, err
	}
	return &processList{Processes: jsonview.All(processes, jsonview.OfProcess)}, nil
}

func describe(context.Context, *api, *call) (*json.RawMessage, error) {
	return (*json.RawMessage)(&openAPI), nil
}
