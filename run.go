package dataflow

import (
	"encoding/json"
	"time"
)

// Run is one execution of a flow, as it is stored. A Run that a call has
// returned is a copy: it does not change.
type Run struct {
	ID       int64
	FlowID   int64
	FlowName string
	State    RunState
	Trigger  Trigger

	// Coalesced is true when the call that returned this run found it waiting
	// already, and made no other. It is not stored.
	Coalesced bool

	// Tripped is true when a call that ended this run has found that its flow has
	// failed so often in a row that ticks do not start it any more. It is not stored.
	Tripped bool

	// ScheduledFor is the moment that the run was asked for; of a run that a schedule
	// has started, the tick.
	ScheduledFor time.Time
	// RunAfter is when the run, or its next attempt, may start.
	RunAfter  time.Time
	CreatedAt time.Time
	// StartedAt is when the first attempt started, nil before that.
	StartedAt *time.Time
	// EndedAt is when the run reached success, failed or cancelled.
	EndedAt *time.Time

	// Attempt counts the attempts that have started; MaxAttempts is how many
	// there are.
	Attempt     int
	MaxAttempts int
	// Worker is the client that works the run, or worked it last.
	Worker string
	// Rescues counts the workers that have died since the run's last checkpoint
	// with a cursor.
	Rescues int
	// LeaseNumber counts how often the right to work the run was granted.
	LeaseNumber int64
	// LeaseUntil is when that right lapses if it is not renewed.
	LeaseUntil *time.Time
	// Slot is which of the runs that may be in progress at once this one is. See
	// OverlapAllow. Backfills of a flow with MaxBackfills have 1000 and above.
	Slot int

	// Queue is the River queue that the run's job is in; empty for a run that
	// is worked without River. RiverJobID is that job, 0 if there is none.
	Queue      string
	RiverJobID int64

	// Counters add up over the run's attempts.
	Counters Counters
	// Total is how many records the source expected to yield, nil if it cannot
	// tell.
	Total *int64
	// FromCursor is the cursor at which the run began, ToCursor the last one
	// that it committed. Both are nil before the first checkpoint; a run that
	// began at the beginning has JSON null as its FromCursor. A backfill has its From
	// from the beginning on.
	FromCursor json.RawMessage
	ToCursor   json.RawMessage

	// Scope names the backfill that the run belongs to: by the id of its first run. Of
	// ranges that were made together ([Client.BackfillRanges]) each behind the first has
	// the first one's with its number behind a slash, such as "7/2". Empty: it is one of the flow's own runs, which move the flow's cursor.
	Scope string
	// UntilCursor is where a backfill ends, nil if it goes to the source's end.
	UntilCursor json.RawMessage
	// Params are what the source was given for this run, nil if nothing.
	Params json.RawMessage

	// Error is the error of the last attempt, empty if there was none. Errors
	// holds those of all attempts.
	Error  string
	Errors []AttemptError

	// Actor and Reason say who asked for the run and why, as given by the
	// caller.
	Actor  string
	Reason string
	// CancelRequestedAt is when somebody asked for the run to be cancelled, nil
	// if nobody has. CancelledBy and CancelReason say who and why.
	CancelRequestedAt *time.Time
	CancelledBy       string
	CancelReason      string
	// CodeVersion is the Config.CodeVersion of the client that last worked it.
	CodeVersion string
}

// IsBackfill reports whether the run is one of a backfill. See [Client.Backfill].
func (r *Run) IsBackfill() bool { return r.Scope != "" }

// Duration is how long the run has taken from the start of its first attempt to
// its end; zero for a run that has not ended.
func (r *Run) Duration() time.Duration {
	if r.StartedAt == nil || r.EndedAt == nil {
		return 0
	}
	return r.EndedAt.Sub(*r.StartedAt)
}

// Completed reports whether the run has come to an end by itself: by success or by
// failure. See [RunState.Finished], which counts cancelled runs too.
func (r *Run) Completed() bool { return r.State == RunSuccess || r.State == RunFailed }

// IsDue reports whether the run is pending and its RunAfter has come.
func (r *Run) IsDue(now time.Time) bool { return r.State == RunPending && !r.RunAfter.After(now) }

// IsOverdue reports whether the run is pending and its RunAfter came an hour ago
// ([OverdueAfter]) or earlier.
func (r *Run) IsOverdue(now time.Time) bool { return r.IsDue(now.Add(-OverdueAfter)) }

// wantedAt is since when a run is to be worked: one for later may have been started
// long before its time, and that of a tick long after.
func (r *Run) wantedAt() time.Time {
	if r.CreatedAt.After(r.ScheduledFor) {
		return r.CreatedAt
	}
	return r.ScheduledFor
}

// Err returns a *[RunError] for a run that has failed or was cancelled, and nil
// for any other.
func (r *Run) Err() error {
	if r.State != RunFailed && r.State != RunCancelled {
		return nil
	}
	e := &endedError{state: r.State, message: r.Error}
	if r.State == RunCancelled {
		e.message = cancelText(r.CancelledBy, r.CancelReason)
	}
	return &RunError{RunID: r.ID, Flow: r.FlowName, Err: e}
}

// cancelText says who cancelled a run and why.
func cancelText(actor, reason string) string {
	switch {
	case actor == "":
		return reason
	case reason == "":
		return "by " + actor
	default:
		return "by " + actor + ": " + reason
	}
}

// byWhom says who did something and why, with a comma before it.
func byWhom(actor, reason string) string {
	if text := cancelText(actor, reason); text != "" {
		return ", " + text
	}
	return ""
}

func ofVersion(version string) string {
	if version == "" {
		return ""
	}
	return ", version " + version
}

// endedError says how a run has ended.
type endedError struct {
	state   RunState
	message string
}

func (e *endedError) Error() string {
	if e.message == "" {
		return string(e.state)
	}
	return string(e.state) + ": " + e.message
}

// AttemptError is the error of one attempt at a run.
type AttemptError struct {
	Attempt int       `json:"attempt"`
	At      time.Time `json:"at"`
	Worker  string    `json:"worker"`
	Error   string    `json:"error"`
	Stack   string    `json:"stack,omitempty"`
}

// Counters count a run's or a flow's input records. Every record that was read
// is in exactly one of the other counters, besides Updated.
type Counters struct {
	Read         int64 `json:"read"`
	Written      int64 `json:"written"`
	Redundant    int64 `json:"redundant"`
	Filtered     int64 `json:"filtered"`
	Dropped      int64 `json:"dropped"`
	DeadLettered int64 `json:"dead_lettered"`
	// Updated counts those of Written that replaced a row of the sink, where the sink
	// tells. See ResultSink.
	Updated int64 `json:"updated,omitempty"`
}

// Balanced reports whether the counters add up.
func (c Counters) Balanced() bool {
	return c.Read == c.Written+c.Redundant+c.Filtered+c.Dropped+c.DeadLettered
}

// Add returns the sum of both.
func (c Counters) Add(d Counters) Counters {
	return Counters{
		Read:         c.Read + d.Read,
		Written:      c.Written + d.Written,
		Redundant:    c.Redundant + d.Redundant,
		Filtered:     c.Filtered + d.Filtered,
		Dropped:      c.Dropped + d.Dropped,
		DeadLettered: c.DeadLettered + d.DeadLettered,
		Updated:      c.Updated + d.Updated,
	}
}

// RunState is the state of a [Run].
type RunState string

// The states of a run.
const (
	RunPending    RunState = "pending"
	RunInProgress RunState = "in_progress"
	RunSuccess    RunState = "success"
	RunFailed     RunState = "failed"
	RunCancelled  RunState = "cancelled"
)

// Next returns the states that may follow s; none for a finished run.
//
//	pending      → in_progress, cancelled
//	in_progress  → success, failed, cancelled, or pending: to be tried again
func (s RunState) Next() []RunState {
	switch s {
	case RunPending:
		return []RunState{RunInProgress, RunCancelled}
	case RunInProgress:
		return []RunState{RunSuccess, RunFailed, RunCancelled, RunPending}
	default:
		return nil
	}
}

// Valid reports whether s is a state of a run.
func (s RunState) Valid() bool {
	return s == RunPending || s == RunInProgress || s.Finished()
}

// Finished reports whether a run in state s has ended for good.
func (s RunState) Finished() bool {
	return s == RunSuccess || s == RunFailed || s == RunCancelled
}

// Trigger is what started a run.
type Trigger string

// The triggers of a run.
const (
	TriggerManual   Trigger = "manual"
	TriggerSchedule Trigger = "schedule"
	// TriggerRegistration: the flow was registered for the first time. See
	// Schedule.RunAtRegistration.
	TriggerRegistration Trigger = "registration"
	// TriggerMigration: the flow was migrated to another Runtime. See
	// [Client.MigrateRuntimes].
	TriggerMigration Trigger = "migration"
	// TriggerRetry: somebody wants a run that has failed, or was cancelled, once more.
	// See [Client.Retry].
	TriggerRetry Trigger = "retry"
	// TriggerProbe: the run is to find out whether a flow that has failed time after
	// time works again. See Schedule.PauseAfter.
	TriggerProbe Trigger = "probe"
	// TriggerBackfill: somebody wants a part of the source read again. See
	// [Client.Backfill].
	TriggerBackfill Trigger = "backfill"
)

// Progress is how far a run has come. See [Client.Progress].
type Progress struct {
	RunID    int64
	State    RunState
	Counters Counters
	// Total is how many records the source expected to yield, nil if it cannot
	// tell.
	Total *int64
	// Elapsed is the time since the first attempt started, to the end of a
	// finished run.
	Elapsed time.Duration
	// Rate is the number of records read per second of Elapsed.
	Rate float64
	// Left is how long what is left of Total takes at this rate, nil if that cannot be
	// told, or if the run has ended.
	Left *time.Duration
}
