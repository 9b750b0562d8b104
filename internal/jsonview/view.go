// Package jsonview has what the command line and the HTTP API show of the library's types, as JSON.
package jsonview

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/activedataflow/dataflow"
)

// Flow is a flow as JSON.
type Flow struct {
	ID            int64           `json:"id"`
	Name          string          `json:"name"`
	State         string          `json:"state"` // active or paused
	StateBy       string          `json:"state_by,omitempty"`
	StateReason   string          `json:"state_reason,omitempty"`
	StateAt       *time.Time      `json:"state_at,omitempty"`
	Runtime       json.RawMessage `json:"runtime"`
	Source        json.RawMessage `json:"source"`
	Sink          json.RawMessage `json:"sink"`
	Guarantee     string          `json:"guarantee"`
	NextRunAt     *time.Time      `json:"next_run_at"`
	LastRunAt     *time.Time      `json:"last_run_at"`
	LastSuccessAt *time.Time      `json:"last_success_at"`
	LastError     string          `json:"last_error,omitempty"`
	Failures      int             `json:"failures"`
	TrippedAt     *time.Time      `json:"tripped_at,omitempty"`
	TrippedReason string          `json:"tripped_reason,omitempty"`
	ProbeAt       *time.Time      `json:"probe_at,omitempty"`
	CodeVersion   string          `json:"code_version,omitempty"`
	CodeHere      bool            `json:"code_here"`
	CreatedAt     time.Time       `json:"created_at"`
	UpdatedAt     time.Time       `json:"updated_at"`
	LastRuns      []RunSummary    `json:"last_runs,omitempty"` // of a list that asks for them
	Lag           *Lag            `json:"lag,omitempty"`       // likewise
}

// Paused is the state of a flow that is stored as inactive, in the words of the commands and the pages.
const Paused = "paused"

// FlowState is a flow's state in these words.
func FlowState(s dataflow.FlowState) string {
	if s == dataflow.FlowInactive {
		return Paused
	}
	return string(s)
}

// StoredState is the state that FlowState has given, as it is stored.
func StoredState(s string) dataflow.FlowState {
	if s == Paused {
		return dataflow.FlowInactive
	}
	return dataflow.FlowState(s)
}

// OfFlow returns the view of a flow.
func OfFlow(f *dataflow.Flow) Flow {
	v := Flow{
		ID: f.ID, Name: f.Name, State: FlowState(f.State), StateBy: f.StateBy, StateReason: f.StateReason, StateAt: UTC(f.StateAt),
		Runtime: Canonical(f.RuntimeJSON), Source: Canonical(f.Source), Sink: Canonical(f.Sink), Guarantee: string(f.Guarantee),
		NextRunAt: UTC(f.NextRunAt), LastRunAt: UTC(f.LastRunAt), LastSuccessAt: UTC(f.LastSuccessAt),
		LastError: f.LastError, Failures: f.Failures, TrippedAt: UTC(f.TrippedAt), TrippedReason: f.TrippedReason, ProbeAt: UTC(f.ProbeAt),
		CodeVersion: f.CodeVersion, CodeHere: f.Registered(), CreatedAt: f.CreatedAt.UTC(), UpdatedAt: f.UpdatedAt.UTC(),
	}
	if f.LastRuns != nil {
		v.LastRuns = All(f.LastRuns, OfRunSummary)
	}
	return v
}

// RunSummary is a run among others as JSON.
type RunSummary struct {
	ID        int64      `json:"id"`
	State     string     `json:"state"`
	Trigger   string     `json:"trigger"`
	CreatedAt time.Time  `json:"created_at"`
	StartedAt *time.Time `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at"`
	Read      int64      `json:"read"`
	Written   int64      `json:"written"`
}

// OfRunSummary returns the view of a run among others.
func OfRunSummary(r *dataflow.RunSummary) RunSummary {
	return RunSummary{
		ID: r.ID, State: string(r.State), Trigger: string(r.Trigger), CreatedAt: r.CreatedAt.UTC(), StartedAt: UTC(r.StartedAt), EndedAt: UTC(r.EndedAt),
		Read: r.Read, Written: r.Written,
	}
}

// Run is a run as JSON.
type Run struct {
	ID                int64                   `json:"id"`
	Flow              string                  `json:"flow"`
	State             string                  `json:"state"`
	Trigger           string                  `json:"trigger"`
	Coalesced         bool                    `json:"coalesced,omitempty"`
	ScheduledFor      time.Time               `json:"scheduled_for"`
	RunAfter          time.Time               `json:"run_after"`
	CreatedAt         time.Time               `json:"created_at"`
	StartedAt         *time.Time              `json:"started_at"`
	EndedAt           *time.Time              `json:"ended_at"`
	Attempt           int                     `json:"attempt"`
	MaxAttempts       int                     `json:"max_attempts"`
	Worker            string                  `json:"worker,omitempty"`
	Claims            int64                   `json:"claims,omitempty"`  // how often a worker took it up: its attempts and slices
	Rescues           int                     `json:"rescues,omitempty"` // workers that died since its last checkpoint
	LeaseUntil        *time.Time              `json:"lease_until,omitempty"`
	Queue             string                  `json:"queue,omitempty"`
	RiverJobID        int64                   `json:"river_job_id,omitempty"`
	RiverJobURL       string                  `json:"river_job_url,omitempty"` // only of an API that knows where River UI is
	Counters          dataflow.Counters       `json:"counters"`
	Total             *int64                  `json:"total,omitempty"`
	FromCursor        json.RawMessage         `json:"from_cursor,omitempty"`
	ToCursor          json.RawMessage         `json:"to_cursor,omitempty"`
	Backfill          string                  `json:"backfill,omitempty"`
	UntilCursor       json.RawMessage         `json:"until_cursor,omitempty"`
	Params            json.RawMessage         `json:"params,omitempty"`
	Error             string                  `json:"error,omitempty"`
	Errors            []dataflow.AttemptError `json:"errors,omitempty"`
	Actor             string                  `json:"actor,omitempty"`
	Reason            string                  `json:"reason,omitempty"`
	WaitsFor          string                  `json:"waits_for,omitempty"`
	WaitsSince        *time.Time              `json:"waits_since,omitempty"`
	CancelRequestedAt *time.Time              `json:"cancel_requested_at,omitempty"`
	CancelledBy       string                  `json:"cancelled_by,omitempty"`
	CancelReason      string                  `json:"cancel_reason,omitempty"`
	CodeVersion       string                  `json:"code_version,omitempty"`
}

// OfRun returns the view of a run.
func OfRun(r *dataflow.Run) Run {
	return Run{
		ID: r.ID, Flow: r.FlowName, State: string(r.State), Trigger: string(r.Trigger), Coalesced: r.Coalesced,
		ScheduledFor: r.ScheduledFor.UTC(), RunAfter: r.RunAfter.UTC(), CreatedAt: r.CreatedAt.UTC(), StartedAt: UTC(r.StartedAt), EndedAt: UTC(r.EndedAt),
		Attempt: r.Attempt, MaxAttempts: r.MaxAttempts, Worker: r.Worker, Claims: r.LeaseNumber, Rescues: r.Rescues, LeaseUntil: UTC(r.LeaseUntil), Queue: r.Queue, RiverJobID: r.RiverJobID,
		Counters: r.Counters, Total: r.Total, FromCursor: Canonical(r.FromCursor), ToCursor: Canonical(r.ToCursor),
		Backfill: r.Scope, UntilCursor: Canonical(r.UntilCursor), Params: Canonical(r.Params), Error: r.Error, Errors: r.Errors,
		Actor: r.Actor, Reason: r.Reason, WaitsFor: r.WaitsFor, WaitsSince: UTC(r.WaitsSince), CancelRequestedAt: UTC(r.CancelRequestedAt), CancelledBy: r.CancelledBy, CancelReason: r.CancelReason,
		CodeVersion: r.CodeVersion,
	}
}

// Cursor is a flow's cursor as JSON.
type Cursor struct {
	Flow   string          `json:"flow"`
	Cursor json.RawMessage `json:"cursor"`
	Seq    int64           `json:"seq"`
	At     *time.Time      `json:"at"`
	RunID  int64           `json:"run_id,omitempty"`
	Change *CursorChange   `json:"change,omitempty"`
}

// CursorChange is a cursor that somebody has set, as JSON.
type CursorChange struct {
	ID     int64           `json:"id"`
	From   json.RawMessage `json:"from"`
	To     json.RawMessage `json:"to"`
	Seq    int64           `json:"seq"`
	Actor  string          `json:"actor,omitempty"`
	Reason string          `json:"reason,omitempty"`
	At     time.Time       `json:"at"`
}

// OfCursor returns the view of a cursor.
func OfCursor(c *dataflow.FlowCursor) Cursor {
	v := Cursor{Flow: c.FlowName, Cursor: OrNull(c.Cursor), Seq: c.Seq, At: UTC(c.At), RunID: c.RunID}
	if c.Change != nil {
		change := OfCursorChange(c.Change)
		v.Change = &change
	}
	return v
}

// OfCursorChange returns the view of a change.
func OfCursorChange(c *dataflow.CursorChange) CursorChange {
	return CursorChange{ID: c.ID, From: OrNull(c.From), To: OrNull(c.To), Seq: c.Seq, Actor: c.Actor, Reason: c.Reason, At: c.At.UTC()}
}

// AuditEntry is an entry of the audit log as JSON.
type AuditEntry struct {
	ID     int64           `json:"id"`
	At     time.Time       `json:"at"`
	Actor  string          `json:"actor,omitempty"`
	Action string          `json:"action"`
	Flow   string          `json:"flow"`
	RunID  int64           `json:"run_id,omitempty"`
	Reason string          `json:"reason,omitempty"`
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
}

// OfAuditEntry returns the view of an entry.
func OfAuditEntry(e *dataflow.AuditEntry) AuditEntry {
	return AuditEntry{
		ID: e.ID, At: e.At.UTC(), Actor: e.Actor, Action: string(e.Action), Flow: e.FlowName, RunID: e.RunID, Reason: e.Reason,
		Before: OrNull(e.Before), After: OrNull(e.After),
	}
}

// DeadLetter is a dead letter as JSON.
type DeadLetter struct {
	ID         int64           `json:"id"`
	Flow       string          `json:"flow"`
	RunID      int64           `json:"run_id"`
	Stage      string          `json:"stage"`
	Key        string          `json:"key"`
	Error      string          `json:"error"`
	Payload    json.RawMessage `json:"payload"`
	CreatedAt  time.Time       `json:"created_at"`
	Times      int             `json:"times"`
	LastAt     time.Time       `json:"last_at"`
	State      string          `json:"state"`
	ClosedAt   *time.Time      `json:"closed_at"`
	ClosedBy   string          `json:"closed_by,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	Original   json.RawMessage `json:"original,omitempty"`
	EditedAt   *time.Time      `json:"edited_at"`
	EditedBy   string          `json:"edited_by,omitempty"`
	RetryUntil *time.Time      `json:"retry_until"`
	Tries      int             `json:"tries"`
	TriesLeft  int             `json:"tries_left"`
}

// OfDeadLetter returns the view of a dead letter.
func OfDeadLetter(l *dataflow.DeadLetterRecord) DeadLetter {
	return DeadLetter{
		ID: l.ID, Flow: l.FlowName, RunID: l.RunID, Stage: string(l.Stage), Key: l.Key, Error: l.Error,
		Payload: OrNull(l.Payload), CreatedAt: l.CreatedAt.UTC(), Times: l.Times, LastAt: l.LastAt.UTC(),
		State: string(l.State), ClosedAt: UTC(l.ClosedAt), ClosedBy: l.ClosedBy, Reason: l.Reason,
		Original: l.Original, EditedAt: UTC(l.EditedAt), EditedBy: l.EditedBy,
		RetryUntil: UTC(l.RetryUntil), Tries: l.Tries, TriesLeft: l.TriesLeft,
	}
}

// Process is a started client as JSON.
type Process struct {
	ID          string    `json:"id"`
	CodeVersion string    `json:"code_version,omitempty"`
	Flows       []string  `json:"flows"`
	Queues      []string  `json:"queues"`
	StartedAt   time.Time `json:"started_at"`
	SeenAt      time.Time `json:"seen_at"`
}

// Joined reports whether the process joined the River client of its service, whose queues it does not know.
func (p Process) Joined() bool { return p.Queues == nil }

// Cause is a cause as JSON.
type Cause struct {
	Code  string     `json:"code"`
	Text  string     `json:"text"`
	RunID int64      `json:"run_id,omitempty"`
	Until *time.Time `json:"until,omitempty"`
}

// Why is an explanation as JSON.
type Why struct {
	Flow    string    `json:"flow"`
	At      time.Time `json:"at"`
	Running bool      `json:"running"`
	Causes  []Cause   `json:"causes"`
}

// All returns the All of all. It is never nil, so that JSON has an empty list.
func All[T, V any](all []T, view func(T) V) []V {
	list := make([]V, len(all))
	for i, one := range all {
		list[i] = view(one)
	}
	return list
}

// Canonical is JSON with sorted keys, because Postgres has an order of its own.
func Canonical(data json.RawMessage) json.RawMessage {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		return data
	}
	sorted, err := json.Marshal(value)
	if err != nil {
		return data
	}
	return sorted
}

// OrNull is a cursor as JSON; null is the beginning.
func OrNull(cursor json.RawMessage) json.RawMessage {
	if cursor == nil {
		return json.RawMessage("null")
	}
	return Canonical(cursor)
}

// UTC returns a time in UTC, nil for nil.
func UTC(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

// OfProcess returns the view of a process.
func OfProcess(p *dataflow.Process) Process {
	return Process{ID: p.ID, CodeVersion: p.CodeVersion, Flows: p.Flows, Queues: p.Queues, StartedAt: p.StartedAt.UTC(), SeenAt: p.SeenAt.UTC()}
}

// OfWhy returns the view of an explanation. text changes each sentence; nil leaves them.
func OfWhy(e *dataflow.Explanation, text func(string) string) Why {
	return Why{Flow: e.Flow, At: e.At.UTC(), Running: e.Running, Causes: All(e.Causes, func(c dataflow.Cause) Cause {
		v := Cause{Code: string(c.Code), Text: c.Text, RunID: c.RunID, Until: UTC(c.Until)}
		if text != nil {
			v.Text = text(c.Text)
		}
		return v
	})}
}

// SkippedTicks is an entry of the ledger as JSON.
type SkippedTicks struct {
	ID        int64     `json:"id"`
	Flow      string    `json:"flow"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Count     int64     `json:"count"`
	Reason    string    `json:"reason"`
	CreatedAt time.Time `json:"created_at"`
}

// OfSkippedTicks returns the view of an entry of the ledger.
func OfSkippedTicks(s *dataflow.SkippedTicks) SkippedTicks {
	return SkippedTicks{ID: s.ID, Flow: s.FlowName, First: s.First.UTC(), Last: s.Last.UTC(), Count: s.Count, Reason: string(s.Reason), CreatedAt: s.CreatedAt.UTC()}
}

// DailyTotal is what the runs of a flow did on a day, as JSON.
type DailyTotal struct {
	Flow        string            `json:"flow"`
	Day         string            `json:"day"`
	State       string            `json:"state"`
	Runs        int64             `json:"runs"`
	Counters    dataflow.Counters `json:"counters"`
	BusySeconds float64           `json:"busy_seconds"`
}

// OfDailyTotal returns the view of a total.
func OfDailyTotal(t *dataflow.DailyTotal) DailyTotal {
	return DailyTotal{Flow: t.FlowName, Day: t.Day, State: string(t.State), Runs: t.Runs, Counters: t.Counters, BusySeconds: t.Busy.Seconds()}
}

// Progress is how far a run is, as JSON.
type Progress struct {
	RunID          int64             `json:"run_id"`
	State          string            `json:"state"`
	Counters       dataflow.Counters `json:"counters"`
	Total          *int64            `json:"total"`
	ElapsedSeconds float64           `json:"elapsed_seconds"`
	Rate           float64           `json:"rate"`
	LeftSeconds    *float64          `json:"left_seconds"`
	Lag            *Lag              `json:"lag,omitempty"`
}

// Lag is how far a flow is after its source, as JSON.
type Lag struct {
	AgeSeconds *float64 `json:"age_seconds"`
	Bytes      *int64   `json:"bytes"`
	Error      string   `json:"error,omitempty"` // of a list: why it is not known
}

// OfLag returns the view of a lag.
func OfLag(l *dataflow.Lag) Lag {
	v := Lag{Bytes: l.Bytes}
	if l.Age != nil {
		age := l.Age.Seconds()
		v.AgeSeconds = &age
	}
	return v
}

// OfProgress returns the view of a run's progress.
func OfProgress(p *dataflow.Progress) Progress {
	v := Progress{RunID: p.RunID, State: string(p.State), Counters: p.Counters, Total: p.Total, ElapsedSeconds: p.Elapsed.Seconds(), Rate: p.Rate}
	if p.Left != nil {
		left := p.Left.Seconds()
		v.LeftSeconds = &left
	}
	if p.Lag != nil {
		lag := OfLag(p.Lag)
		v.Lag = &lag
	}
	return v
}

// Backfill is how far a backfill has come, as JSON.
type Backfill struct {
	Name        string            `json:"name"`
	Ranges      int               `json:"ranges"`
	Pending     int               `json:"pending"`
	InProgress  int               `json:"in_progress"`
	Succeeded   int               `json:"succeeded"`
	Failed      int               `json:"failed"`
	Cancelled   int               `json:"cancelled"`
	Counters    dataflow.Counters `json:"counters"`
	Done        float64           `json:"done"`
	LeftSeconds *float64          `json:"left_seconds"`
	CreatedAt   time.Time         `json:"created_at"`
	StartedAt   *time.Time        `json:"started_at"`
	EndedAt     *time.Time        `json:"ended_at"`
	FromCursor  json.RawMessage   `json:"from_cursor"`
	UntilCursor json.RawMessage   `json:"until_cursor"`
	Actor       string            `json:"actor,omitempty"`
	Reason      string            `json:"reason,omitempty"`
}

// OfBackfill returns the view of a backfill.
func OfBackfill(b *dataflow.BackfillProgress) Backfill {
	v := Backfill{
		Name: b.Name, Ranges: b.Ranges, Pending: b.Pending, InProgress: b.InProgress, Succeeded: b.Succeeded, Failed: b.Failed, Cancelled: b.Cancelled,
		Counters: b.Counters, Done: b.Done, CreatedAt: b.CreatedAt.UTC(), StartedAt: UTC(b.StartedAt), EndedAt: UTC(b.EndedAt),
		FromCursor: OrNull(b.From), UntilCursor: OrNull(b.Until), Actor: b.Actor, Reason: b.Reason,
	}
	if b.Left != nil {
		left := b.Left.Seconds()
		v.LeftSeconds = &left
	}
	return v
}

// Queue is a queue of River as JSON.
type Queue struct {
	Name     string     `json:"name"`
	PausedAt *time.Time `json:"paused_at"`
	SeenAt   time.Time  `json:"seen_at"`
}

// OfQueue returns the view of a queue.
func OfQueue(q *dataflow.RiverQueue) Queue {
	return Queue{Name: q.Name, PausedAt: UTC(q.PausedAt), SeenAt: q.SeenAt.UTC()}
}

// Part is a part of a flow's definition as JSON: what the code of a process declares, beside what is
// stored.
type Part struct {
	Name     string          `json:"name"`
	Declared json.RawMessage `json:"declared"`
	Stored   json.RawMessage `json:"stored"`
	Same     bool            `json:"same"`
	Note     string          `json:"note,omitempty"`
}

// OfDefinition returns the parts of a flow's definition.
func OfDefinition(f *dataflow.Flow, d *dataflow.FlowDefinition) []Part {
	text := func(s string) json.RawMessage {
		data, _ := json.Marshal(s) // a text is always JSON
		return data
	}
	parts := []Part{
		{Name: "runtime", Declared: d.Runtime, Stored: f.RuntimeJSON},
		{Name: "schedule", Declared: d.Schedule, Stored: f.ScheduleJSON},
		{Name: "source", Declared: d.Source, Stored: f.Source},
		{Name: "sink", Declared: d.Sink, Stored: f.Sink},
		{Name: "guarantee", Declared: text(string(d.Guarantee)), Stored: text(string(f.Guarantee))},
		{Name: "code_version", Declared: text(d.CodeVersion), Stored: text(f.CodeVersion)},
	}
	for i := range parts {
		p := &parts[i]
		p.Declared, p.Stored = Canonical(p.Declared), Canonical(p.Stored)
		p.Same = bytes.Equal(p.Declared, p.Stored)
	}
	if f.MigratedFrom != nil {
		parts[0].Note = "somebody has migrated the flow to another Runtime, and registering its code does not undo that"
	}
	return parts
}
