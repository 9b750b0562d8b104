package dataflow

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Run is one execution of a flow, as it is stored. A Run that a call returns is a copy:
// it does not change.
type Run struct {
	ID       int64
	FlowID   int64
	FlowName string
	State    RunState
	Trigger  Trigger

	// Coalesced is true if the call that returned this run found it waiting already,
	// and stored no other. It is not stored.
	Coalesced bool

	// Tripped is true if the call that ended this run found that its flow failed
	// Schedule.PauseAfter times in a row, so that ticks no longer start it. It is not
	// stored.
	Tripped bool

	// ScheduledFor is the time for which the run was asked. For a run that a schedule
	// started, it is the tick.
	ScheduledFor time.Time
	// RunAfter is when the run, or its next attempt, may start.
	RunAfter  time.Time
	CreatedAt time.Time
	// StartedAt is when the first attempt started, nil before that.
	StartedAt *time.Time
	// EndedAt is when the run reached success, failed or cancelled, nil before that.
	EndedAt *time.Time

	// Attempt counts the attempts that have started, without those that were handed back or
	// whose end spent none. MaxAttempts is how many there may be.
	Attempt     int
	MaxAttempts int
	// Worker is the Config.ID of the client that works the run, or worked it last.
	Worker string
	// Rescues counts the workers that have died since the run's last checkpoint with a
	// cursor.
	Rescues int
	// LeaseNumber counts the claims of the run.
	LeaseNumber int64
	// LeaseUntil is when the claim lapses unless it is renewed, nil if no worker has
	// one.
	LeaseUntil *time.Time
	// Slot numbers the runs of the flow that are in progress at once. See
	// [OverlapAllow]. Backfills of a flow with MaxBackfills have 1000 and above.
	Slot int

	// Queue is the River queue of the run's job, empty for a run that is worked without
	// River. RiverJobID is that job, 0 if there is none.
	Queue      string
	RiverJobID int64

	// Counters add up over the run's attempts.
	Counters Counters
	// Total is how many records the source expected to yield, nil if it cannot tell.
	Total *int64
	// FromCursor is the cursor at which the run began. ToCursor is the last one that it
	// committed. Both are nil before the first checkpoint. FromCursor is JSON null if
	// the run began at the source's beginning. A run with a Scope has its FromCursor at once.
	FromCursor json.RawMessage
	ToCursor   json.RawMessage

	// Scope names the backfill of the run, or the first load if it is a range of one: the id of
	// its first run. Of ranges that were made together ([Client.BackfillRanges],
	// FlowOptions.FirstLoad), each later one has the Scope of the first with its number after a
	// slash, such as "7/2". Empty: it is one of the flow's own runs, which move the flow's cursor.
	Scope string
	// UntilCursor is where a backfill or a range of a first load ends, nil if it goes to the
	// source's end.
	UntilCursor json.RawMessage
	// Params are the run's parameters for the source, nil if there are none.
	Params json.RawMessage

	// Error is the error of the last attempt, empty if there was none. Errors holds the
	// errors of all attempts.
	Error  string
	Errors []AttemptError

	// WaitsFor is what the run waits for now, as a text for people, and WaitsSince since when: a
	// pending run for connections of a pool, its group or another run; a run in progress for its
	// source, transform or sink, for trouble that should pass, or for the ranges of a first load.
	// Empty and nil: for nothing that a process has told.
	WaitsFor   string
	WaitsSince *time.Time

	// Actor and Reason say who asked for the run and why, as the caller gave them.
	Actor  string
	Reason string
	// TraceParent is the W3C trace context of whoever asked for the run, as [Observer] told
	// it: a "traceparent" header. Empty: there is none.
	TraceParent string
	// CancelRequestedAt is when somebody asked to cancel the run, nil if nobody has.
	// CancelledBy and CancelReason say who and why.
	CancelRequestedAt *time.Time
	CancelledBy       string
	CancelReason      string
	// CodeVersion is the Config.CodeVersion of the client that last worked it.
	CodeVersion string
}

// RunSummary is a run as a list of flows shows it. See FlowListParams.LastRuns.
type RunSummary struct {
	ID        int64
	FlowID    int64
	State     RunState
	Trigger   Trigger
	CreatedAt time.Time
	StartedAt *time.Time
	EndedAt   *time.Time
	// Read and Written are two of the run's Counters.
	Read    int64
	Written int64
}

// IsBackfill reports whether the run belongs to a backfill, or is a range of a first load. See
// [Client.Backfill] and FlowOptions.FirstLoad.
func (r *Run) IsBackfill() bool { return r.Scope != "" }

// rangeOf returns the Scope of the first of the ranges to which the run belongs, and the number of
// its own, from 1. A backfill in one piece is its own first range.
func (r *Run) rangeOf() (first string, part int) {
	first, number, _ := strings.Cut(r.Scope, "/")
	part, err := strconv.Atoi(number)
	if err != nil {
		part = 1
	}
	return first, part
}

// rangeScope returns the Scope of a range after the first.
func rangeScope(first string, part int) string { return first + "/" + strconv.Itoa(part) }

// Duration is the time from the start of the first attempt to the end of the run, zero
// for a run that has not ended.
func (r *Run) Duration() time.Duration {
	if r.StartedAt == nil || r.EndedAt == nil {
		return 0
	}
	return r.EndedAt.Sub(*r.StartedAt)
}

// Completed reports whether the run has ended by itself: by success or failure. See
// [RunState.Finished], which includes cancelled runs.
func (r *Run) Completed() bool { return r.State == RunSuccess || r.State == RunFailed }

// IsDue reports whether the run is pending and its RunAfter has come.
func (r *Run) IsDue(now time.Time) bool { return r.State == RunPending && !r.RunAfter.After(now) }

// IsOverdue reports whether the run is pending and its RunAfter came at least an hour
// ago ([OverdueAfter]).
func (r *Run) IsOverdue(now time.Time) bool { return r.IsDue(now.Add(-OverdueAfter)) }

// wantedAt is since when a run should be worked. A run for later may be stored long
// before its time, and the run of a tick long after.
func (r *Run) wantedAt() time.Time {
	if r.CreatedAt.After(r.ScheduledFor) {
		return r.CreatedAt
	}
	return r.ScheduledFor
}

// Err returns a *[RunError] for a run that has failed or was cancelled, and nil for any
// other run.
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

// byWhom says who did something and why, after a comma.
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
	Attempt int       `json:"attempt"` // which of the run's it was, from 1
	At      time.Time `json:"at"`      // when it ended
	Worker  string    `json:"worker"`  // the Config.ID of the client that worked it
	Error   string    `json:"error"`
	Stack   string    `json:"stack,omitempty"` // the goroutine's, after a panic; otherwise empty
}

// Counters count the input records of a run or a flow. Every record that was read is in
// exactly one of the other counters. Updated is part of Written.
type Counters struct {
	Read         int64 `json:"read"`
	Written      int64 `json:"written"`
	Redundant    int64 `json:"redundant"`     // in the sink already, with the same values
	Filtered     int64 `json:"filtered"`      // left out by the transform
	Dropped      int64 `json:"dropped"`       // bad, and left out by the Policy
	DeadLettered int64 `json:"dead_lettered"` // bad, and kept as a [DeadLetterRecord]
	// Updated counts the records of Written that replaced a row of the sink, if the
	// sink reports it. See [ResultSink].
	Updated int64 `json:"updated,omitempty"`
	// ReadAgain counts the records of Read that an earlier run had read, as those of a
	// lookback. See [Item].
	ReadAgain int64 `json:"read_again,omitempty"`
}

// Balanced reports whether every record that was read is in one other counter.
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
		ReadAgain:    c.ReadAgain + d.ReadAgain,
	}
}

// RunState is the state of a [Run].
type RunState string

// The states of a run.
const (
	RunPending    RunState = "pending"     // it waits for its time, its turn, or its next attempt
	RunInProgress RunState = "in_progress" // a worker has claimed it
	RunSuccess    RunState = "success"
	RunFailed     RunState = "failed" // for good
	RunCancelled  RunState = "cancelled"
)

// Next returns the states that may follow s, none for a finished run.
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

// Triggers returns all triggers that a run may have.
func Triggers() []Trigger {
	return []Trigger{TriggerManual, TriggerSchedule, TriggerRegistration, TriggerMigration, TriggerRetry, TriggerProbe, TriggerBackfill, TriggerAfter, TriggerFirstLoad}
}

// The triggers of a run.
const (
	// TriggerManual: somebody asked for the run. See [Client.Trigger].
	TriggerManual Trigger = "manual"
	// TriggerSchedule: a tick of the flow's schedule came.
	TriggerSchedule Trigger = "schedule"
	// TriggerRegistration: the flow was registered for the first time. See
	// Schedule.RunAtRegistration.
	TriggerRegistration Trigger = "registration"
	// TriggerMigration: the flow was migrated to another Runtime. See
	// [Client.MigrateRuntimes].
	TriggerMigration Trigger = "migration"
	// TriggerRetry: somebody asked to try a failed or cancelled run again. See
	// [Client.Retry].
	TriggerRetry Trigger = "retry"
	// TriggerProbe: the run tests whether a flow that failed several times in a row
	// works again. See Schedule.PauseAfter.
	TriggerProbe Trigger = "probe"
	// TriggerBackfill: somebody asked to read a part of the source again. See
	// [Client.Backfill].
	TriggerBackfill Trigger = "backfill"
	// TriggerAfter: a run of the flow that this one follows has succeeded. See
	// FlowOptions.After.
	TriggerAfter Trigger = "after"
	// TriggerFirstLoad: the run is a range of the flow's first load. See FlowOptions.FirstLoad.
	TriggerFirstLoad Trigger = "first_load"
)

// Progress is how far a run has come. See [Client.Progress].
type Progress struct {
	RunID    int64
	State    RunState
	Counters Counters
	// Total is how many records the source expected to yield, nil if it cannot tell.
	Total *int64
	// Elapsed is the time since the first attempt started, up to the end of a finished
	// run.
	Elapsed time.Duration
	// Rate is the number of records read per second of Elapsed.
	Rate float64
	// Left is how long the rest of Total takes at this rate, nil if that is not known
	// or the run has ended.
	Left *time.Duration
	// Lag is how far the run is after its source: of a run in progress whose source tells it,
	// and whose code this process has. Nil otherwise. See [Flow.Lag].
	Lag *Lag
}
