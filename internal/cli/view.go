package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/activedataflow/dataflow"
)

// flowView is a flow as JSON.
type flowView struct {
	ID            int64           `json:"id"`
	Name          string          `json:"name"`
	State         string          `json:"state"`
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
}

func viewFlow(f *dataflow.Flow) flowView {
	return flowView{
		ID: f.ID, Name: f.Name, State: string(f.State), StateBy: f.StateBy, StateReason: f.StateReason, StateAt: utc(f.StateAt),
		Runtime: canonical(f.RuntimeJSON), Source: canonical(f.Source), Sink: canonical(f.Sink), Guarantee: string(f.Guarantee),
		NextRunAt: utc(f.NextRunAt), LastRunAt: utc(f.LastRunAt), LastSuccessAt: utc(f.LastSuccessAt),
		LastError: f.LastError, Failures: f.Failures, TrippedAt: utc(f.TrippedAt), TrippedReason: f.TrippedReason, ProbeAt: utc(f.ProbeAt),
		CodeVersion: f.CodeVersion, CodeHere: f.Registered(), CreatedAt: f.CreatedAt.UTC(), UpdatedAt: f.UpdatedAt.UTC(),
	}
}

// runView is a run as JSON.
type runView struct {
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
	LeaseUntil        *time.Time              `json:"lease_until,omitempty"`
	Queue             string                  `json:"queue,omitempty"`
	RiverJobID        int64                   `json:"river_job_id,omitempty"`
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

func viewRun(r *dataflow.Run) runView {
	return runView{
		ID: r.ID, Flow: r.FlowName, State: string(r.State), Trigger: string(r.Trigger), Coalesced: r.Coalesced,
		ScheduledFor: r.ScheduledFor.UTC(), RunAfter: r.RunAfter.UTC(), CreatedAt: r.CreatedAt.UTC(), StartedAt: utc(r.StartedAt), EndedAt: utc(r.EndedAt),
		Attempt: r.Attempt, MaxAttempts: r.MaxAttempts, Worker: r.Worker, LeaseUntil: utc(r.LeaseUntil), Queue: r.Queue, RiverJobID: r.RiverJobID,
		Counters: r.Counters, Total: r.Total, FromCursor: canonical(r.FromCursor), ToCursor: canonical(r.ToCursor),
		Backfill: r.Scope, UntilCursor: canonical(r.UntilCursor), Params: canonical(r.Params), Error: r.Error, Errors: r.Errors,
		Actor: r.Actor, Reason: r.Reason, WaitsFor: r.WaitsFor, WaitsSince: utc(r.WaitsSince), CancelRequestedAt: utc(r.CancelRequestedAt), CancelledBy: r.CancelledBy, CancelReason: r.CancelReason,
		CodeVersion: r.CodeVersion,
	}
}

// canonical is JSON with sorted keys, because Postgres has an order of its own.
func canonical(data json.RawMessage) json.RawMessage {
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

// views returns the views of all. It is never nil, so that JSON has an empty list.
func views[T, V any](all []T, view func(T) V) []V {
	list := make([]V, len(all))
	for i, one := range all {
		list[i] = view(one)
	}
	return list
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

// scheduleText says when a flow runs by itself.
func scheduleText(f *dataflow.Flow) string {
	switch s := f.Runtime.Settings(); {
	case s.Interval > 0:
		return "every " + shortDuration(s.Interval)
	case s.Schedule.Cron != "" && s.Schedule.TimeZone != "":
		return s.Schedule.Cron + " " + s.Schedule.TimeZone
	default:
		return orDash(s.Schedule.Cron)
	}
}

// shortDuration leaves out trailing zero units: 5m0s is 5m.
func shortDuration(d time.Duration) string {
	switch {
	case d%time.Hour == 0 && d > 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0 && d > 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	default:
		return d.String()
	}
}

// flowState is a flow's state in the words of the commands: "paused" for an inactive flow, and
// "tripped" for an active one that failures have tripped.
func flowState(f *dataflow.Flow) string {
	if f.State == dataflow.FlowInactive {
		return "paused"
	}
	if f.State == dataflow.FlowActive && f.TrippedAt != nil {
		return "tripped"
	}
	return string(f.State)
}

func records(c dataflow.Counters) string {
	return fmt.Sprintf("%d read, %d written, %d redundant, %d filtered, %d dropped, %d dead-lettered",
		c.Read, c.Written, c.Redundant, c.Filtered, c.Dropped, c.DeadLettered)
}
