package dataflow

import (
	"encoding/json"
	"time"
)

// FlowDefinition is what registering stores of a flow.
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
}

// FlowPlanParams are the parameters of FlowPlan.
type FlowPlanParams struct {
	ID         int64
	NextRunAt  *time.Time
	ProbeAt    *time.Time
	Schedule   json.RawMessage // nil: as it is
	ScheduleAt *time.Time      // since when the ticks are others than before; nil: they are not
}

// FlowSlots is how many runs of a flow may be in progress at once.
type FlowSlots struct {
	FlowID    int64
	Slots     int
	Backfills int // see RunClaimParams
}

// FirstBackfillSlot is the first of the slots that backfills of a flow with MaxBackfills
// have. Those of its own runs are below.
const FirstBackfillSlot = MaxOverlap

// Activity is what goes on with a flow. A pending run counts once it is due, or has
// been worked already.
type Activity struct {
	InProgress int
	Waiting    int
	// WaitingTicks are those of Waiting that a schedule has started, and that have not
	// begun.
	WaitingTicks int
	// Backfills are those of InProgress and Waiting that are backfills.
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
	// MigratedFrom is the Runtime that the flow's code declares, nil if that is
	// Runtime.
	MigratedFrom json.RawMessage
}

// PruneParams are the parameters of RunPrune, TickPrune and DeadLetterPrune.
type PruneParams struct {
	State RunState // of runs
	Age   time.Duration
	// DeadLetterAge is from which age on dead letters go too, with their runs. -1: none
	// does.
	DeadLetterAge time.Duration
	Limit         int
	DryRun        bool
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
	Actor       string
	Reason      string
	Params      json.RawMessage // nil: none

	// Backfill is true for a run with a checkpoint apart from the flow's. Scope says
	// whose that is: empty, it is one of the run's own, whose Scope is then its id.
	Backfill bool
	Scope    string
	From     json.RawMessage // of a backfill: nil is the beginning
	Until    json.RawMessage // nil: there is no bound
}

// RunClaimParams are the parameters of RunClaim.
type RunClaimParams struct {
	RunID       int64
	Worker      string
	Lease       time.Duration
	CodeVersion string
	Slots       int // how many runs of the flow may be in progress at once; 0 is 1
	// Backfills is how many backfills of the flow may be in progress at once, in slots
	// apart. 0: they have the flow's own.
	Backfills int
	// Restart sets the run's counters back to zero, for a source that reads
	// everything again.
	Restart bool
}

// Fault is a kind of failure of a database.
type Fault int

// The kinds of failure.
const (
	// FaultOther: trying again would fail again, as far as is known.
	FaultOther Fault = iota
	// FaultConflict: another transaction was in the way, by a deadlock or for
	// lack of a serial order. This one was rolled back and may be tried again.
	FaultConflict
	// FaultUnavailable: the database cannot be reached, or cannot work now.
	// Whether a commit went through is not known.
	FaultUnavailable
	// FaultData: it does not take the data that it was given. Other data may do.
	FaultData
)

// Passes reports whether what failed may be tried again as it is.
func (f Fault) Passes() bool { return f == FaultConflict || f == FaultUnavailable }

// LeaseRef names a claim.
type LeaseRef struct {
	RunID       int64
	LeaseNumber int64
}

// LeaseStatus is what renewing a lease has found.
type LeaseStatus struct {
	RunID int64
	// Held is false when the run is no longer the claim's.
	Held bool
	// CancelRequested says that somebody wants the run to end.
	CancelRequested bool
}

// RunCancelParams are the parameters of RunCancel.
type RunCancelParams struct {
	RunID  int64
	Actor  string
	Reason string
	// PendingOnly leaves a run that is in progress as it is.
	PendingOnly bool
}

// Claim is the right to work a run.
type Claim struct {
	Run    *Run
	Seq    int64           // of the checkpoint, as this claim has set it
	Cursor json.RawMessage // nil: none yet
	SetSeq int64           // the sequence number when somebody has set the cursor last, 0: never
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
	Scope       string // whose checkpoint it is: the run's
	Slot        int
	Seq         int64           // expected; the checkpoint's becomes Seq+1
	From        json.RawMessage // where the run began, kept if there is one already
	Cursor      json.RawMessage // nil: the source has none
	Delta       Counters
	Total       *int64
	Lease       time.Duration       // from now, if less than two thirds of it are left
	Letters     []*DeadLetterRecord // are added as DeadLetterInsert does
}

// RunEndParams are the parameters of RunEnd.
type RunEndParams struct {
	RunID       int64
	FlowID      int64
	LeaseNumber int64
	State       RunState
	Delay       time.Duration // to the next attempt, for RunPending
	// Refund gives the attempt back, for a run that was handed back unfinished.
	Refund bool
	// Rescue counts a worker that died.
	Rescue bool
	Error  *AttemptError // nil for success, and for a run that was handed back
}
