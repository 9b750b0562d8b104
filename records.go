package dataflow

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/activedataflow/dataflow/internal/batch"
	"github.com/activedataflow/dataflow/internal/stored"
)

// FlowStats is how a flow is doing, as the database has it. See [Client.FlowStats].
type FlowStats struct {
	FlowID int64
	Flow   string
	// At is when this was so, by the database's clock.
	At time.Time
	// State is set by operators. TrippedAt is when failures stopped its ticks, nil if they
	// have not. See Schedule.PauseAfter.
	State     FlowState
	TrippedAt *time.Time
	// Failures counts the runs that failed in a row since the last success, or since a run went on
	// to its next slice.
	Failures      int
	LastSuccessAt *time.Time
	// InProgress and Due count the flow's runs that are worked, and that wait although they are
	// due. DueSince is since when the oldest of Due is due, nil if there is none.
	InProgress int
	Due        int
	DueSince   *time.Time
	// DeadLetters counts those that are open, up to 10,000.
	DeadLetters int
	// Cursor is that of the flow's own runs, nil if there is none. CursorAt is when it was last
	// moved or set.
	Cursor   json.RawMessage
	CursorAt *time.Time
	// Lag is the age of the oldest record that the next run would read, 0 if there is none. Nil:
	// the source cannot tell. See [Lagger].
	Lag *time.Duration
	// LagBytes is how much of a log the next run would read. Nil: the source reads no log, or
	// cannot tell. See [LogLagger].
	LagBytes *int64
}

// Lag is how far a flow is after its source, as the source tells it. See [Flow.Lag].
type Lag struct {
	// Age is the age of the oldest record that the next run would read, 0 if there is none. Nil:
	// the source cannot tell. See [Lagger].
	Age *time.Duration
	// Bytes is how much of a log the next run would read. Nil: the source reads no log, or
	// cannot tell. See [LogLagger].
	Bytes *int64
}

// FlowCursor is where a flow goes on. It belongs to the flow's own runs: each backfill
// has a cursor of its own. See [Client.Cursor].
type FlowCursor struct {
	FlowID   int64
	FlowName string
	// Cursor is the source's, as JSON. Nil: the next run begins at the beginning.
	Cursor json.RawMessage
	// Seq is the sequence number of the flow's checkpoint. It moves whenever the cursor
	// may have moved, and at each claim of a run.
	Seq int64
	// At is when the cursor was last moved or set, nil if it never was.
	At *time.Time
	// RunID is the run that moved it last. 0: no run did, or somebody has set it since.
	RunID int64
	// Change is how somebody last set it, nil if a run has moved it since.
	Change *CursorChange
}

// CursorChange is a cursor that somebody has set. See [Client.SetCursor].
type CursorChange struct {
	ID       int64
	FlowID   int64
	FlowName string
	// From is the cursor before the change, To the one after it. Nil is the beginning.
	From json.RawMessage
	To   json.RawMessage
	// Seq is the sequence number of the checkpoint after the change.
	Seq int64
	// Actor and Reason say who made the change and why.
	Actor  string
	Reason string
	At     time.Time
}

// AuditEntry is an entry of the audit log: what somebody did to a flow or a run. See
// [Client.Audit].
type AuditEntry struct {
	ID int64
	At time.Time
	// Actor is who did it, as the call that did it says. Reason is why.
	Actor  string
	Reason string
	Action AuditAction
	// Flow is the name of the flow. RunID is the run that was started or cancelled, 0 if there is
	// none.
	FlowID   int64
	FlowName string
	RunID    int64
	// Before and After are what the action changed, as JSON objects. Nil: there is nothing to
	// tell. The records of dead letters are not among it; each dead letter has its own.
	Before json.RawMessage
	After  json.RawMessage
}

// AuditAction is what an entry of the audit log says was done.
type AuditAction string

// The actions.
const (
	AuditPause            AuditAction = "pause"
	AuditResume           AuditAction = "resume"
	AuditTrigger          AuditAction = "trigger"
	AuditBackfill         AuditAction = "backfill"
	AuditRetry            AuditAction = "retry"
	AuditCancel           AuditAction = "cancel"
	AuditSetCursor        AuditAction = "set_cursor"
	AuditReplay           AuditAction = "replay"
	AuditEditDeadLetter   AuditAction = "edit_dead_letter"
	AuditCloseDeadLetters AuditAction = "close_dead_letters"
	AuditMigrateRuntime   AuditAction = "migrate_runtime"
)

// audit makes an entry. before and after are values that JSON can hold, or nil.
func audit(action AuditAction, flowID, runID int64, actor, reason string, before, after map[string]any) (*AuditEntry, error) {
	e := &AuditEntry{Action: action, FlowID: flowID, RunID: runID, Actor: stored.Clean(actor), Reason: stored.Clean(reason)}
	for _, part := range []struct {
		to *json.RawMessage
		v  map[string]any
	}{{&e.Before, before}, {&e.After, after}} {
		if part.v == nil {
			continue
		}
		data, err := json.Marshal(part.v)
		if err != nil {
			return nil, fmt.Errorf("write the entry of the audit log: %w", err)
		}
		*part.to = data
	}
	return e, nil
}

// noteAction stores an entry of the audit log, in the transaction of the action.
func noteAction(ctx context.Context, q Queries, action AuditAction, flowID, runID int64, actor, reason string, before, after map[string]any) error {
	e, err := audit(action, flowID, runID, actor, reason, before, after)
	if err != nil {
		return err
	}
	if err := q.AuditInsert(ctx, e); err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	return nil
}

// DeadLetterRecord is a dead letter: a bad record that a flow's [Policy] kept.
type DeadLetterRecord struct {
	ID       int64
	FlowID   int64
	FlowName string
	RunID    int64
	// Stage is where the record failed, Key names it, and Error says why.
	Stage Stage
	Key   string
	Error string
	// Payload is the record, as far as it was known. A record that is not JSON is kept
	// as a JSON text. Nil: nothing was known.
	Payload   json.RawMessage
	CreatedAt time.Time
	// State says what became of the record. It is open until it is closed: at ClosedAt, by
	// ClosedBy, for a Reason. ClosedBy is an actor, or a run such as "run 7".
	State    DeadLetterState
	ClosedAt *time.Time
	ClosedBy string
	Reason   string
	// Times is how often the record was kept, LastAt is when that was last, and RunID is the
	// run that kept it then. One record of a flow has one open dead letter. A later version
	// that is bad too gets a dead letter of its own, and the one before is resolved.
	Times  int
	LastAt time.Time
	// EditedAt and EditedBy say when and by whom Payload was last edited, and Original is
	// what it was before that. EditedAt is nil if nobody has edited it.
	EditedAt *time.Time
	EditedBy string
	Original json.RawMessage
	// Identity tells the record from others of the flow, by its key. It is empty if the key
	// is but a number or a place in a page, which names no record: such a dead letter is
	// kept anew each time, and is not resolved by itself.
	Identity string
	// RetryUntil is how long the flow's runs try the record again by themselves. Nil: they
	// do not, or no longer. TriesLeft is how often they still do, and Tries how often they
	// did. See [RetryBadFor].
	RetryUntil *time.Time
	TriesLeft  int
	Tries      int
	// SinkKey names the rows of the sink that the record would write, if the sink is
	// [Keyed].
	SinkKey string
	// RetryFor is how long after it is stored the record is tried again. It is set only
	// for a record that is to be stored.
	RetryFor time.Duration
}

// DeadLetterState says what became of a dead letter.
type DeadLetterState string

// The states of a dead letter.
const (
	// DeadLetterOpen is the state of one whose record is still to be dealt with.
	DeadLetterOpen DeadLetterState = "open"
	// DeadLetterReplayed is the state of one whose record was taken to the sink.
	DeadLetterReplayed DeadLetterState = "replayed"
	// DeadLetterResolved is the state of one whose record was dealt with otherwise: by a run
	// that has written it since, or by somebody who says so.
	DeadLetterResolved DeadLetterState = "resolved"
	// DeadLetterDiscarded is the state of one whose record is not wanted.
	DeadLetterDiscarded DeadLetterState = "discarded"
)

// Valid reports whether the state is one of those above.
func (s DeadLetterState) Valid() bool {
	switch s {
	case DeadLetterOpen, DeadLetterReplayed, DeadLetterResolved, DeadLetterDiscarded:
		return true
	default:
		return false
	}
}

// ReasonLaterVersion is the Reason of a dead letter that was resolved because a later version
// of its record was kept as another dead letter.
const ReasonLaterVersion = "a later version of the record was kept"

// Process is a started client, in this process or another one, that was recently seen
// alive.
type Process struct {
	// ID is its Config.ID.
	ID string
	// CodeVersion is its Config.CodeVersion.
	CodeVersion string
	// Flows are the names of the flows whose code it has.
	Flows []string
	// Queues are the River queues that it works. Nil: it joined the service's own River
	// client, whose queues it does not know.
	Queues []string
	// Polls says how often it looks for runs that other processes added for [Heartbeat], and why
	// it is not told of them. Empty: it is told, and looks at once.
	Polls string
	// ZoneData is which time zone data it uses. Nil: it is of a version that did not say.
	ZoneData *ZoneData
	// StartedAt is when it was first seen, SeenAt when it was last seen. It counts as
	// alive until Until.
	StartedAt time.Time
	SeenAt    time.Time
	Until     time.Time
}

// joined reports whether the process joined the River client of its service.
func (p *Process) joined() bool { return p.Queues == nil }

// RiverQueue is a queue of River. See [RiverQueues].
type RiverQueue struct {
	Name string
	// PausedAt is when somebody paused it, nil if it is not paused. Nobody works jobs of a paused
	// queue, in any process.
	PausedAt *time.Time
	// SeenAt is when a River client that works it was last seen.
	SeenAt time.Time
}

// Migration is one step of our tables' schema.
type Migration struct {
	Version int
	Name    string
	// AppliedAt is when it was applied to the database, nil if it was not.
	AppliedAt *time.Time
	// Up and Down are the whole step as SQL for this database and schema, including its
	// entry in dataflow_migration. Run each in a transaction of its own.
	Up   string
	Down string
}

// MigrationStatus is the state of the tables in a database. Versions count
// migrations: 0 is a database without the tables.
type MigrationStatus struct {
	// Migrations are those of this library, oldest first.
	Migrations []Migration
	// Version is the version of our tables in the database. It is greater than
	// len(Migrations) if a newer program has migrated them.
	Version int
	// RiverVersion is the version of River's tables in the database. RiverNewest is the
	// version that this program's River needs.
	RiverVersion int
	RiverNewest  int
}

// DryRunParams say what a [Client.DryRun] reads. The zero value reads the next 10
// records.
type DryRunParams struct {
	// Limit is how many records are read, up to 10,000. 0: 10.
	Limit int
	// From is the cursor behind which it begins, as JSON, without a lookback; JSON null is the
	// beginning. Nil: where the flow goes on, with the lookback of the next run.
	From json.RawMessage
	// Params are given to the source, as Request.Params. Nil: none.
	Params json.RawMessage
}

// DryRunReport is what a run would do with some records.
type DryRunReport struct {
	Flow string
	// From is the cursor after which was read, nil for the beginning; To the last
	// resume point among the records, nil if there was none.
	From json.RawMessage
	To   json.RawMessage
	// Records are what was read, in its order. More is true when the reading has
	// stopped at the limit, and not at the source's end.
	Records []DryRunRecord
	More    bool
	// Counters are as a run would count these records. One at which a run would fail
	// counts as dropped.
	Counters Counters
	// Written is true if the records were written, in a transaction that was rolled
	// back. Otherwise the sink is outside the database, and was not called.
	Written bool
}

// DryRunRecord is a record that was read, and what would become of it.
type DryRunRecord struct {
	// Key names the record. Before is the record as it was read, and After what the
	// transform made of it, as JSON. What cannot be written as JSON is a text.
	Key    string
	Before json.RawMessage
	After  []json.RawMessage
	// Outcome is what would become of it.
	Outcome DryRunOutcome
	// Stage and Error say where and why a bad record failed, and Action what the flow's
	// policy does with it.
	Stage  Stage
	Error  string
	Action Action
}

// DryRunOutcome is what would become of a record.
type DryRunOutcome string

// The outcomes.
const (
	DryRunInsert    DryRunOutcome = "insert"
	DryRunUpdate    DryRunOutcome = "update"
	DryRunRedundant DryRunOutcome = "redundant"
	// DryRunWrite: it would be written; the sink does not tell whether it is new there,
	// or was not called.
	DryRunWrite    DryRunOutcome = "write"
	DryRunFiltered DryRunOutcome = "filtered"
	DryRunBad      DryRunOutcome = "bad"
)

// records is a slice of records, of a type that only a flow's code knows. Its methods use
// reflection: they are for whole batches, and for single records only where these are rare.
type records struct {
	slice reflect.Value // can be set
}

// recordsIn returns the slice at s.
func recordsIn[T any](s *[]T) records { return records{reflect.ValueOf(s).Elem()} }

// at returns a pointer to the slice.
func (r records) at() any { return r.slice.Addr().Interface() }

func (r records) len() int { return r.slice.Len() }

// grow adds a zero record, and returns a pointer to it.
func (r records) grow() any {
	n := r.len()
	r.slice.Grow(1)
	r.slice.SetLen(n + 1)
	return r.pointer(n)
}

// record returns a copy of record i.
func (r records) record(i int) any { return r.slice.Index(i).Interface() }

// pointer returns a pointer to record i.
func (r records) pointer(i int) any { return r.slice.Index(i).Addr().Interface() }

// move copies record i to a place.
func (r records) move(i, to int) { r.slice.Index(to).Set(r.slice.Index(i)) }

// truncate drops all records from n on, and keeps nothing of them alive.
func (r records) truncate(n int) {
	r.slice.Slice(n, r.slice.Len()).Clear()
	r.slice.SetLen(n)
}

// add adds the records of another slice of the same type, from one on.
func (r records) add(of records, from int) {
	r.slice.Set(reflect.AppendSlice(r.slice, of.slice.Slice(from, of.slice.Len())))
}

// release drops all records and keeps the memory.
func (r records) release() {
	if batch.HasPointers(r.slice.Type().Elem()) {
		r.slice.Clear()
	}
	r.slice.SetLen(0)
}
