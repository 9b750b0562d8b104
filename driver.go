package dataflow

import (
	"context"
	"log/slog"
	"reflect"
	"time"

	"github.com/riverqueue/river"
)

// Driver connects a [Client] to a database. Package dataflowpgx makes one for
// Postgres, dataflowsqlite one for SQLite. The interfaces in this file are the
// seam between the library's own packages; they may change in any release.
type Driver interface {
	// Store returns the store of one client. It does not touch the database.
	Store(opts StoreOptions) (Store, error)
}

// StoreOptions are what a client tells its store.
type StoreOptions struct {
	// Schema holds the tables. Empty: where the search path leads.
	Schema string
	// Clock replaces the database's clock in tests. Nil: the database's clock.
	Clock func() time.Time
	// Lease is the client's. A store on a server has it break a transaction whose
	// client has been silent for so long, because that may have locked a run whose
	// lease lapses meanwhile. 0: whatever the server does.
	Lease time.Duration
	// Logger gets what River's migrations say. Nil: River's default.
	Logger *slog.Logger
}

// Tx is a transaction of the caller's. Package dataflowpgx makes one of a
// pgx.Tx, dataflowsqlite of a *sql.Tx.
type Tx interface {
	// Unwrap returns the transaction of the database's own type.
	Unwrap() any
}

// Store keeps flows, runs and checkpoints in a database. It is safe for
// concurrent use.
type Store interface {
	// Queries whose statements are transactions of their own.
	Queries

	// InTx runs fn in a transaction and commits it unless fn returns an error.
	// The context that fn gets carries the transaction for sinks.
	InTx(ctx context.Context, fn func(ctx context.Context, tx Tx) error) error
	// With returns queries in the caller's transaction, or ErrTxMismatch.
	With(tx Tx) (Queries, error)
	// TxType is the type of the transactions that With takes, unwrapped.
	TxType() reflect.Type

	// River returns a client of River on the same database.
	River(config *river.Config) (River, error)

	// Migrate brings River's tables and ours up to the newest version.
	Migrate(ctx context.Context) error
	// MigrateDown takes our tables, not River's, down to a version; 0 removes
	// them.
	MigrateDown(ctx context.Context, version int) error
	// Savepoint runs fn in a transaction, and undoes what it has done there if it
	// returns an error, which it returns.
	Savepoint(ctx context.Context, tx Tx, fn func() error) error
	// Migrations returns our migrations and which of them have been applied, and the
	// versions of River's tables. It changes nothing.
	Migrations(ctx context.Context) (*MigrationStatus, error)
	// Classify tells what kind of failure of the database an error is.
	Classify(err error) Fault
	// CheckSchema returns an error that says what to do unless the tables are
	// at exactly the version of this library, and River's at its own.
	CheckSchema(ctx context.Context) error
}

// CheckpointCommitter is the power of a [Store] to send the checkpoint of a transaction
// together with its commit, and to have another transaction work meanwhile. Without it,
// they are sent one after the other, in one transaction at a time.
type CheckpointCommitter interface {
	// BeginCheckpoint begins a transaction that ends with a checkpoint. The context that it
	// returns carries the transaction for sinks. The caller ends it by Commit or Rollback,
	// one of which must be called, once.
	BeginCheckpoint(ctx context.Context) (context.Context, CheckpointTx, error)
}

// CheckpointTx is a transaction that ends with a checkpoint.
type CheckpointTx interface {
	Tx
	// Commit sends the checkpoint, which is made as RunCheckpoint does, and the commit.
	// answer, which must be called, and may be by another goroutine, waits for what comes of
	// them: when Held is false, or there is an error before the commit, nothing is
	// committed.
	Commit(ctx context.Context, p *RunCheckpointParams) (answer func() (LeaseStatus, error))
	// Rollback takes back what was done, and returns why, as InTx does the error of its
	// function.
	Rollback(ctx context.Context, cause error) error
}

// Queries are the statements of a [Store]. A query that names one row returns
// ErrNotFound when there is none.
type Queries interface {
	// Now is the time, by the clock that all other queries go by.
	Now(ctx context.Context) (time.Time, error)

	// FlowUpsert stores a definition and leaves the state of an existing flow
	// as it is.
	FlowUpsert(ctx context.Context, d *FlowDefinition) (*FlowRecord, error)
	FlowByID(ctx context.Context, id int64) (*FlowRecord, error)
	FlowByName(ctx context.Context, name string) (*FlowRecord, error)
	FlowList(ctx context.Context, p *FlowListParams) ([]*FlowRecord, error)
	// FlowSetState makes a flow active or inactive, whatever it was. An active one is
	// not tripped any more, and has not failed.
	FlowSetState(ctx context.Context, p *FlowStateParams) (*FlowRecord, error)
	// FlowSetRuntime replaces the Runtime of a flow by an operator's.
	FlowSetRuntime(ctx context.Context, p *FlowRuntimeParams) (*FlowRecord, error)
	// FlowLock locks a flow and returns it with the time, which is not before anything
	// that was done to the flow. It must be called in a transaction.
	FlowLock(ctx context.Context, id int64) (*FlowRecord, time.Time, error)
	// FlowDue locks one of the given flows that has a tick or a probe due, and that no
	// other transaction has locked, and returns it with the time, or nil when there
	// is none. It must be called in a transaction.
	FlowDue(ctx context.Context, flowIDs []int64) (*FlowRecord, time.Time, error)
	// FlowNext returns how long it is until the first tick or probe of the given
	// flows; negative if that is due, and false if there is none.
	FlowNext(ctx context.Context, flowIDs []int64) (time.Duration, bool, error)
	// FlowPlan sets the times of a flow's next tick and probe, and its schedule.
	FlowPlan(ctx context.Context, p *FlowPlanParams) error

	// TickSkip adds ticks that did not become runs to the ledger. It extends the last
	// entry if that has the same reason and no run came between.
	TickSkip(ctx context.Context, p *TickSkipParams) error
	// TickList returns the ledger's entries, newest first.
	TickList(ctx context.Context, p *TickListParams) ([]*SkippedTicks, error)

	// DeadLetterInsert adds bad records. It must be called in the transaction of the
	// checkpoint behind them.
	DeadLetterInsert(ctx context.Context, letters []*DeadLetterRecord) error
	// DeadLetterList lists them, newest first.
	DeadLetterList(ctx context.Context, p *DeadLetterListParams) ([]*DeadLetterRecord, error)
	// DeadLetterReplayed notes that one has been replayed, and reports false if it was
	// before.
	DeadLetterReplayed(ctx context.Context, id int64) (bool, error)

	// ProcessSeen notes that a process is alive for so long, and what it works. New
	// removes those that have been dead for a day.
	ProcessSeen(ctx context.Context, p *Process, ttl time.Duration) error
	// ProcessGone forgets a process.
	ProcessGone(ctx context.Context, id string) error
	// ProcessList returns the processes that are alive.
	ProcessList(ctx context.Context) ([]*Process, error)

	// CursorGet returns where a flow goes on; a flow that was never worked is at the
	// beginning, with the sequence number 0.
	CursorGet(ctx context.Context, flowID int64) (*FlowCursor, error)
	// CursorLock is CursorGet, and keeps others from moving the cursor until the end
	// of the transaction, in which it must be called.
	CursorLock(ctx context.Context, flowID int64) (*FlowCursor, error)
	// CursorSet sets the cursor and moves the sequence number by one, if it is the
	// one that is expected, and keeps that in the history. Else it returns
	// ErrCursorMoved. It must be called in a transaction.
	CursorSet(ctx context.Context, p *CursorSetParams) error
	// CursorHistory returns who has set the cursor, newest first.
	CursorHistory(ctx context.Context, p *CursorHistoryParams) ([]*CursorChange, error)

	// RunInsert adds a pending run. If a pending run of the flow has the same
	// unique key, it returns that with Coalesced set.
	RunInsert(ctx context.Context, p *RunInsertParams) (*Run, error)
	// RunSetJob notes which River job is to work a run. 0 is none.
	RunSetJob(ctx context.Context, runID, jobID int64, queue string) error
	RunByID(ctx context.Context, id int64) (*Run, error)
	// RunByJob returns the newest run that a River job was to work.
	RunByJob(ctx context.Context, jobID int64) (*Run, error)
	RunList(ctx context.Context, p *RunListParams) ([]*Run, error)
	// RunLive returns the runs of a flow that are pending or in progress, oldest
	// first.
	RunLive(ctx context.Context, flowID int64) ([]*Run, error)
	// RunWaiting returns the pending runs of a flow whose unique key begins so, oldest
	// first.
	RunWaiting(ctx context.Context, flowID int64, keyPrefix string) ([]*Run, error)
	// RunDue returns the pending runs that are due and have no River job,
	// oldest first, of the given flows, unless as many of the flow are in progress
	// as RunClaim lets.
	RunDue(ctx context.Context, flows []FlowSlots, limit int) ([]*Run, error)
	// RunActivity counts the runs of a flow that are in progress or wait.
	RunActivity(ctx context.Context, flowID int64) (*Activity, error)
	// RunClaim makes a pending run that is due in_progress, if its flow is
	// active and has a free slot, and, of a flow with one slot, no run of an earlier
	// tick waits in the same queue that has not begun, nor, if it is a backfill without
	// slots apart, any other that is due, and moves the sequence number of the run's
	// checkpoint. It returns nil when the run cannot be claimed. It must be called
	// in a transaction.
	//
	// With Backfills, a backfill gets one of so many slots from [FirstBackfillSlot] on,
	// if fewer backfills of the flow than that are in progress, in whichever slots.
	// Without, it gets one of the flow's own, if fewer runs than those are in progress,
	// of any kind. What has a slot apart is never in the way of the flow's own runs.
	RunClaim(ctx context.Context, p *RunClaimParams) (*Claim, error)
	// RunCheckpoint moves the flow's cursor, adds to the counters of run and
	// checkpoint, and renews the lease. When the run or the checkpoint is no
	// longer the claim's, Held is false, and the caller must roll back.
	RunCheckpoint(ctx context.Context, p *RunCheckpointParams) (LeaseStatus, error)
	// RunEnd takes a run from in_progress to another state, and notes the
	// outcome at its flow. It returns nil when the run is no longer the claim's.
	RunEnd(ctx context.Context, p *RunEndParams) (*Run, error)
	// RunRenew renews the leases of claims, except of those that another
	// transaction has locked, and returns what is known of each.
	RunRenew(ctx context.Context, claims []LeaseRef, lease time.Duration) ([]LeaseStatus, error)
	// RunHeld renews the lease of a claim and returns the claim as the database
	// has it, or nil when the run is no longer the claim's. It must be called in
	// a transaction.
	RunHeld(ctx context.Context, claim LeaseRef, lease time.Duration) (*Claim, error)
	// RunLapsed locks a run whose lease has lapsed, and that no other transaction
	// has locked, and returns it, or nil when there is none. It must be called in
	// a transaction.
	RunLapsed(ctx context.Context) (*Run, error)
	// RunStranded locks a pending run of the given flows, active ones, that has
	// been due for so long and has no River job that will work it: the job is gone
	// or has ended, or a process took it up so long ago and has not claimed the
	// run, or it is in a queue that is no longer the flow's. It returns nil when
	// there is none, or none that no other transaction has locked. It must be
	// called in a transaction.
	RunStranded(ctx context.Context, flowIDs []int64, idle time.Duration) (*Run, error)
	// RunCancel ends a pending run, and asks for the end of one in progress, unless
	// only a pending one is meant. A finished run is returned as it is.
	RunCancel(ctx context.Context, p *RunCancelParams) (*Run, error)

	// RunPrune removes the runs of a state that ended so long ago, oldest first, but
	// neither the last success of a flow nor a run that has younger dead letters. Like
	// the two below, it removes Limit rows at most and returns how many; with DryRun,
	// it removes none, and returns how many there are without a limit.
	RunPrune(ctx context.Context, p *PruneParams) (int64, error)
	// TickPrune removes entries of the ledger whose last tick was so long ago.
	TickPrune(ctx context.Context, p *PruneParams) (int64, error)
	// DeadLetterPrune removes dead letters that are so old.
	DeadLetterPrune(ctx context.Context, p *PruneParams) (int64, error)
}

// River is what a [Client] needs of River's client. See [WrapRiver].
type River interface {
	// InsertTx inserts a job in a transaction and returns its id.
	InsertTx(ctx context.Context, tx Tx, args river.JobArgs, opts *river.InsertOpts) (int64, error)
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	StopAndCancel(ctx context.Context) error
	// JobCancelTx cancels a job in a transaction. A job that is gone is no error.
	JobCancelTx(ctx context.Context, tx Tx, jobID int64) error
	// JobCancelled reports whether a job is there and was cancelled.
	JobCancelled(ctx context.Context, tx Tx, jobID int64) (bool, error)
	// QueuePaused reports whether a queue is paused. One that River has never seen is
	// not.
	QueuePaused(ctx context.Context, queue string) (bool, error)
	// QueueAdd has a client that works queues work another one.
	QueueAdd(name string, config river.QueueConfig) error
	// Unwrap returns the *river.Client of the database's own type.
	Unwrap() any
}
