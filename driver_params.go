package dataflow

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/activedataflow/dataflow/internal/schedule"
	"github.com/activedataflow/dataflow/internal/stored"
)

// FlowDefinition is what the registration of a flow stores.
type FlowDefinition struct {
	Name        string
	Source      json.RawMessage
	Sink        json.RawMessage
	Runtime     json.RawMessage
	Guarantee   Guarantee
	CodeVersion string
	Hash        string
	Schedule    json.RawMessage
	// MigratedFrom is nil unless Runtime is an operator's.
	MigratedFrom json.RawMessage
	PauseAfter   int           // failures in a row, 0: never
	ProbeAfter   time.Duration // 0: never
	After        After
	Group        string // empty: none
}

// FlowGroup is a group of flows that share a limit, as it is stored.
type FlowGroup struct {
	Name  string
	Limit int
	// SetBy and SetAt say which process set the limit last, and when.
	SetBy      string
	SetAt      time.Time
	InProgress int // runs
}

// WaitsForGroup begins WaitsFor of a run that waits for a place in its group.
const WaitsForGroup = "a place in the group "

// waitsForSuspect begins WaitsFor of a pending run that lost its workers, while the process that tried it
// works another such run.
const waitsForSuspect = "another run that lost its workers"

// GroupAskedText is for how long a run that was refused for lack of a place in its group keeps
// younger runs from that place, as both databases read it. Whoever works the run tries again in
// that time.
const GroupAskedText = "20 seconds"

// DueAfter is a flow that is to run because another one has succeeded. Its place is that of the
// other flow's last success.
type DueAfter struct {
	FlowID   int64
	Upstream string
	// RunID is the last successful run of Upstream, and Rows how many rows it had written by
	// then, in all its runs.
	RunID int64
	Rows  int64
}

// AfterState is how a flow follows another one.
type AfterState struct {
	After
	// Registered is true if the other flow is stored. LastRun is its last success, 0: none.
	Registered bool
	LastRun    int64
	// Due is set if a run is to be started.
	Due *DueAfter
}

// FlowPlanParams are the parameters of FlowPlan.
type FlowPlanParams struct {
	ID        int64
	NextRunAt *time.Time
	// NextRunLocal is the local time that NextRunAt stands for, empty if it has none.
	NextRunLocal string
	ProbeAt      *time.Time
	Schedule     json.RawMessage // nil: as it is
	ScheduleAt   *time.Time      // since when the ticks have changed; nil: they have not
}

// setNext sets the next tick. Nil: there is none.
func (p *FlowPlanParams) setNext(t *schedule.Tick) {
	p.NextRunAt, p.NextRunLocal = nil, ""
	if t != nil {
		p.NextRunAt, p.NextRunLocal = &t.At, t.Local
	}
}

// FlowSlots is how many runs of a flow may be in progress at once.
type FlowSlots struct {
	FlowID    int64
	Slots     int
	Backfills int // see RunClaimParams
}

// FirstBackfillSlot is the first slot of the backfills of a flow with MaxBackfills. The
// slots of its own runs are below it.
const FirstBackfillSlot = MaxOverlap

// RunWaitsParams are the parameters of RunWaits.
type RunWaitsParams struct {
	RunID       int64
	LeaseNumber int64
	State       RunState
	For         string // empty: it waits no more
	// Advanced says that the run has come further, so that its Rescues become 0.
	Advanced bool
	Ago      time.Duration // how long ago that began
}

// Activity counts the runs of a flow. A pending run counts if it is due, or has been
// claimed before.
type Activity struct {
	InProgress int
	Waiting    int
	// WaitingTicks counts those of Waiting that a tick started and nobody has claimed.
	WaitingTicks int
	// Backfills counts those of InProgress and Waiting that are backfills.
	Backfills int
}

// TickSkipParams are the parameters of TickSkip.
type TickSkipParams struct {
	FlowID int64
	First  time.Time
	Last   time.Time
	Count  int64
	Reason SkipReason
}

// FlowStateParams are the parameters of FlowSetState.
type FlowStateParams struct {
	ID     int64
	State  FlowState
	Actor  string
	Reason string
}

// FlowRuntimeParams are the parameters of FlowSetRuntime.
type FlowRuntimeParams struct {
	ID      int64
	Runtime json.RawMessage
	// MigratedFrom is the Runtime that the flow's code declares, nil if Runtime is
	// that.
	MigratedFrom json.RawMessage
}

// PruneParams are the parameters of RunsOld, RunPrune, TickPrune, DeadLetterPrune and AuditPrune.
type PruneParams struct {
	State RunState // of runs
	Age   time.Duration
	// DeadLetterAge is how long ago a dead letter must have been closed to be removed, by itself or
	// together with its run. -1: none is. OpenDeadLetterAge is how long ago an open one must have been
	// kept last.
	DeadLetterAge     time.Duration
	OpenDeadLetterAge time.Duration
	Limit             int // RunPrune has none: it removes Runs
	DryRun            bool
	// After is the run after which RunsOld begins. Nil: with the oldest one.
	After *OldRun
	// Runs are those that RunPrune removes.
	Runs []OldRun
}

// OldRun is a run that ended long ago.
type OldRun struct {
	ID      int64
	FlowID  int64
	EndedAt time.Time
}

// TotalListParams choose what TotalList lists.
type TotalListParams struct {
	FlowID int64 // 0: all flows
	// The first and the last day, each as 2006-01-02.
	From, To string
}

// Due is a flow that has a tick or a probe due, or a run that is due, and since when. It is a
// place in the order of these times and of the ids. The zero value is the place before all.
type Due struct {
	At time.Time
	ID int64
}

// FlowsDueParams are the parameters of FlowsDue.
type FlowsDueParams struct {
	FlowIDs []int64 // nil: any flows
	After   Due     // where the search goes on
	// Limit is how many flows it returns at most, those that have been due for longest. A flow
	// with a tick and a probe may come twice.
	Limit int
}

// RunDueParams are the parameters of RunDue.
type RunDueParams struct {
	FlowIDs []int64 // whose runs; nil: of any flows
	// Slots are those of flows that have more than one slot, or slots for backfills.
	Slots []FlowSlots
	After Due // where the search goes on
	Limit int
}

// RunInsertParams are the parameters of RunInsert.
type RunInsertParams struct {
	FlowID      int64
	Trigger     Trigger
	UniqueKey   string    // empty: the run is never coalesced
	At          time.Time // zero: now, by the database's clock
	MaxAttempts int
	Queue       string // empty: the run is worked without River
	RiverJobID  int64  // 0: none yet
	// ReserveJob reserves the id of a River job for the run, which becomes its RiverJobID. A
	// store that cannot leaves that 0.
	ReserveJob bool
	// Quiet tells no other process of the run, because the caller works it. See [Notifier].
	Quiet bool
	// Runtime is the Runtime that the flow must have, as it is stored. Nil: any.
	Runtime json.RawMessage
	Actor   string
	Reason  string
	Params  json.RawMessage // nil: none
	// TraceParent is stored with the run. Empty: none.
	TraceParent string

	// Backfill is true for a run with a checkpoint apart from the flow's. Scope names
	// that checkpoint. Empty: it is a new one, and the run's Scope becomes its id.
	Backfill bool
	Scope    string
	From     json.RawMessage // of a backfill: nil is the beginning
	Until    json.RawMessage // nil: there is no bound
}

// RunClaimParams are the parameters of RunClaim.
type RunClaimParams struct {
	RunID       int64
	FlowID      int64 // a run of another flow is not claimed; 0: of any
	Worker      string
	Lease       time.Duration
	CodeVersion string
	Slots       int // how many runs of the flow may be in progress at once; 0 is 1
	// Backfills is how many backfills of the flow may be in progress at once, in slots
	// of their own. 0: they take slots of the flow's own runs.
	Backfills int
	// Restart sets the run's counters to zero, for a source that reads everything
	// again.
	Restart bool
	// Suspect is how many workers a run must have lost for EndAndClaim to leave it to
	// RunClaim, as if it were busy. 0: it leaves none.
	Suspect int
}

// DeadLetterCloseParams are the parameters of DeadLetterClose. They choose all dead letters
// with one of the IDs or Identities and, unless it is 0, those that NotOfRun has not kept.
type DeadLetterCloseParams struct {
	FlowID     int64
	IDs        []int64
	Identities []string
	NotOfRun   int64
	State      DeadLetterState
	By         string
	Reason     string
}

// DeadLetterIdentity is the Identity of a dead letter and its Key, as they are stored.
type DeadLetterIdentity struct{ Identity, Key string }

// DeadLetterSupersededParams name dead letters whose rows were written anew.
type DeadLetterSupersededParams struct {
	FlowID   int64
	SinkKeys []string
	Before   int64 // 0: all
	Note     string
}

// Fault is a kind of failure of a database.
type Fault int

// The kinds of failure.
const (
	// FaultOther: trying again would fail again, as far as is known.
	FaultOther Fault = iota
	// FaultConflict: another transaction was in the way, by a deadlock or a
	// serialization failure. This transaction was rolled back and may be tried again.
	FaultConflict
	// FaultUnavailable: the database cannot be reached, or cannot work now. Whether a
	// commit went through is not known.
	FaultUnavailable
	// FaultData: the database refuses the data. It may accept other data.
	FaultData
	// FaultTooMuch: a statement was too much for the server, by its time or its memory.
	// A smaller part may pass.
	FaultTooMuch
	// FaultStale: a prepared statement no longer fits a table that was altered, or a text of an
	// error has to be escaped. The same work succeeds if it is tried again at once.
	FaultStale
	// FaultPermanent: trying again fails again, until the code, the schema or a setting
	// is changed.
	FaultPermanent
)

// Passes reports whether the same work may be tried again.
func (f Fault) Passes() bool {
	return f == FaultConflict || f == FaultUnavailable || f == FaultStale
}

// LeaseRef names a claim.
type LeaseRef struct {
	RunID       int64
	LeaseNumber int64
}

// LeaseStatus is the outcome of renewing a lease.
type LeaseStatus struct {
	RunID int64
	// Held is false if the claim no longer holds the run.
	Held bool
	// CancelRequested says that somebody asked to cancel the run.
	CancelRequested bool
}

// RunCancelParams are the parameters of RunCancel.
type RunCancelParams struct {
	RunID  int64
	Actor  string
	Reason string
	// PendingOnly leaves a run in progress as it is.
	PendingOnly bool
}

// Claim is the right to work a run.
type Claim struct {
	Run    *Run
	Seq    int64           // of the checkpoint, as this claim has set it
	Cursor json.RawMessage // nil: none yet
	SetSeq int64           // the sequence number when somebody last set the cursor, 0: never
}

// ClaimAnswer is what EndAndClaim answers for a run to claim. The zero value says that the run
// cannot be claimed now.
type ClaimAnswer struct {
	Claim *Claim
	// Busy says that the run must be claimed by itself: another transaction was in the way,
	// and RunClaim would wait for it, or the run is a suspect.
	Busy bool
}

// InsertAnswer is what InsertAndClaim answers for a run.
type InsertAnswer struct {
	Run *Run // as RunInsertMany returns it; nil: it was not added
	ClaimAnswer
}

// EndAnswer is what EndAndClaim answers for a run to end. The zero value says that the claim no
// longer holds the run.
type EndAnswer struct {
	Run  *Run
	Next *NextRun // as RunNext returns it
	// Busy says that another transaction was in the way, and that RunEnd would wait for it.
	Busy bool
}

// NextRun is a run that needs a River job.
type NextRun struct {
	ID          int64
	MaxAttempts int
}

// CursorSetParams are the parameters of CursorSet.
type CursorSetParams struct {
	FlowID int64
	Seq    int64           // expected; the checkpoint's becomes Seq+1
	From   json.RawMessage // for the history
	To     json.RawMessage // nil: the beginning
	Actor  string
	Reason string
}

// RunCheckpointParams are the parameters of RunCheckpoint.
type RunCheckpointParams struct {
	RunID       int64
	FlowID      int64
	LeaseNumber int64
	Scope       string // the run's, which names the checkpoint
	Slot        int
	Seq         int64           // expected; the checkpoint's becomes Seq+1
	From        json.RawMessage // where the run began, kept if there is one already
	Cursor      json.RawMessage // nil: the source has none
	Delta       Counters
	Loaded      int64 // rows that the ranges of a first load have written: the checkpoint counts them, and the run does not
	Total       *int64
	Lease       time.Duration       // renewed if less than two thirds of it are left
	Letters     []*DeadLetterRecord // stored as DeadLetterInsert does
}

// RunEndParams are the parameters of RunEnd.
type RunEndParams struct {
	RunID       int64
	FlowID      int64
	LeaseNumber int64
	State       RunState
	Delay       time.Duration // to the next attempt, for RunPending
	// Refund gives the attempt back, for a run that is handed back unfinished. Without
	// Rescue, an Error is then why the run waits, and not one of its failed attempts.
	Refund bool
	// Works is true with Refund if the run has moved its cursor. Its flow's failures are
	// forgotten then, as the end of a run may be far away, or never come.
	Works bool
	// Rescue counts a worker that died.
	Rescue bool
	Error  *AttemptError // nil for success, and for a run that was handed back without a reason
	// Backfills is the flow's MaxBackfills. EndAndClaim finds the next run by it.
	Backfills int
}

// RunStrandedParams are the parameters of RunStranded.
type RunStrandedParams struct {
	Idle time.Duration
	// Queueless are the types of Runtimes without a queue. A run of such a flow is stranded in
	// any queue. Of other Runtimes, the stored "queue" tells which is the flow's; a Runtime that
	// stores none may use any.
	Queueless []string
	// After and Limit are of RunsStranded.
	After Due
	Limit int
}

// StrandedRun is a stranded run, and its flow.
type StrandedRun struct {
	Due
	FlowID int64
}

// CallbackTakeParams are the parameters of CallbackTake.
type CallbackTakeParams struct {
	FlowIDs []int64 // whose runs
	Lease   time.Duration
	Limit   int
}

// CallbackTry is one try to tell the end of a run.
type CallbackTry struct {
	Run   *Run
	Tries int // with this one
}

// CallbackDoneParams are the parameters of CallbackDone.
type CallbackDoneParams struct {
	RunID int64
	Tries int
	Error string        // empty: it is told
	Delay time.Duration // to the next try
	// GiveUp ends the tries.
	GiveUp bool
}

// CallbackListParams are the parameters of CallbackList.
type CallbackListParams struct {
	FlowID  int64 // 0: of any flow
	GivenUp bool  // only those that were given up
	Limit   int
}

// UntoldRun is an ended run whose end is not told.
type UntoldRun struct {
	RunID    int64
	FlowID   int64
	FlowName string
	State    RunState
	EndedAt  time.Time
	// NextAt is when it is tried again, or, if a process tries now, when that counts as dead.
	NextAt time.Time
	Tries  int
	Error  string // of the last try; empty: there was none, or it is still going on
}

// Why says why the end is not told, in a part of a sentence.
func (u *UntoldRun) Why() string {
	switch {
	case u.GaveUp():
		return fmt.Sprintf("Config.OnRunEnded was given up after try %d, which failed with: %s", u.Tries, stored.Clip(u.Error))
	case u.Tries == 0:
		return "no started client that has Config.OnRunEnded and the flow has called it"
	case u.Error == "":
		return fmt.Sprintf("try %d of Config.OnRunEnded has not returned; unless it does, it is called again from %s on", u.Tries, u.NextAt.Format(time.RFC3339))
	default:
		return fmt.Sprintf("try %d of Config.OnRunEnded failed with: %s; the next is due at %s", u.Tries, stored.Clip(u.Error), u.NextAt.Format(time.RFC3339))
	}
}

// GaveUp reports whether it is not tried again.
func (u *UntoldRun) GaveUp() bool { return u.NextAt.Year() == 9999 }
