package dataflow

import (
	"context"
	"encoding/json"
	"log/slog"
	"reflect"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// Driver connects a [Client] to a database. Package dataflowpgx makes one for Postgres,
// dataflowsqlite one for SQLite. The interfaces in this file join the library's own
// packages. They may change in any release.
type Driver interface {
	// Store returns the store of one client. It does not touch the database.
	Store(opts StoreOptions) (Store, error)
}

// StoreOptions are what a client tells its store.
type StoreOptions struct {
	// Schema holds the tables. Empty: the first schema of the search path.
	Schema string
	// Clock replaces the database's clock in tests. Nil: the database's clock.
	Clock func() time.Time
	// Lease is the client's. A store on a server lets the server end a transaction
	// whose client was silent for this long. Such a transaction may have locked a run
	// whose lease lapses in the meantime. 0: the server's own setting.
	Lease time.Duration
	// Logger gets the log lines of River's migrations. Nil: River's default.
	Logger *slog.Logger
}

// Tx is a transaction of the caller. Package dataflowpgx makes one of a pgx.Tx,
// dataflowsqlite of a *sql.Tx. The caller commits it or rolls it back.
type Tx interface {
	// Unwrap returns the transaction of the database's own type.
	Unwrap() any
}

// Store keeps flows, runs and checkpoints in a database. It is safe for concurrent use.
type Store interface {
	// These queries run each statement in a transaction of its own.
	Queries

	// InTx runs fn in a transaction and commits it unless fn returns an error. The
	// context that fn gets carries the transaction for sinks.
	InTx(ctx context.Context, fn func(ctx context.Context, tx Tx) error) error
	// EndAndClaim ends runs, as RunEnd does, and then claims runs, as RunClaim does, in one
	// transaction of its own. It returns an answer for each, in their order. The worker, the lease
	// and the version of all claims are the same. It waits for no other transaction. A run of a
	// flow with a group may be left to RunClaim, as if it were busy. A run that must wait keeps no other
	// of the set from a slot. An error means that no run was ended or claimed, or that it is not known.
	EndAndClaim(ctx context.Context, ends []*RunEndParams, claims []*RunClaimParams) ([]EndAnswer, []ClaimAnswer, error)

	// With returns queries in the caller's transaction, or ErrTxMismatch.
	With(tx Tx) (Queries, error)
	// TxType is the type of the transactions that With takes, unwrapped.
	TxType() reflect.Type

	// River returns a client of River on the same database.
	River(config *river.Config) (River, error)

	// Migrate brings River's tables and ours up to the newest version.
	Migrate(ctx context.Context) error
	// MigrateDown takes our tables, not River's, down to a version. 0 removes them.
	MigrateDown(ctx context.Context, version int) error
	// Savepoint runs fn in a transaction. If fn returns an error, it undoes what fn did
	// there, and returns the error.
	Savepoint(ctx context.Context, tx Tx, fn func() error) error
	// Migrations returns our migrations, which of them have been applied, and the
	// versions of River's tables. It changes nothing.
	Migrations(ctx context.Context) (*MigrationStatus, error)
	// Classify tells what kind of failure of the database an error is.
	Classify(err error) Fault
	// CheckSchema returns nil if our tables are at exactly the version of this library,
	// and River's at the version of its own. Otherwise the error says what to do.
	CheckSchema(ctx context.Context) error
}

// PooledStore is the power of a [Store] on a pool of connections to keep what the client does
// apart from the transactions of runs, which may last and may be many. Such a store is a
// [PoolUser] too.
type PooledStore interface {
	// ForRuns returns the store for the transactions that write what runs have read. They
	// wait for connections of the pool, and leave one free.
	ForRuns() Store
	// Keep keeps a connection beside the pool ready, until release is called. Everything
	// that is not ForRuns takes it when the pool is full.
	Keep() (release func())
}

// SchemaStore is the power of a [Store] on a database with schemas to tell where River's jobs are.
type SchemaStore interface {
	// SameJobs reports whether a River client of that schema has its jobs where the store looks
	// for them. An empty schema is that of the search path.
	SameJobs(ctx context.Context, tx Tx, schema string) (bool, error)
}

// NotedStore is the power of a [Store] to say what is not known of its database, and matters.
type NotedStore interface {
	// Notes returns sentences without their last period. It does not touch the database.
	Notes() []string
}

// RunStarter is the power of a [Store] to begin a transaction and add a run with one message
// to the server. Without it, they are two.
type RunStarter interface {
	// InsertInTx is InTx, with RunInsert as its first statement. fn gets the run. Its transaction may be
	// a [ClosingTx].
	InsertInTx(ctx context.Context, p *RunInsertParams, fn func(ctx context.Context, tx Tx, run *Run) error) error
}

// ClosingTx is a transaction that can send its last statement together with its commit.
type ClosingTx interface {
	Tx
	// Closing returns the transaction for River's insert of jobs. Nothing may follow the insert but
	// River's note to its listeners.
	Closing() Tx
}

// InsertClaimer is the power of a [Store] to add many runs and claim them together. Without it, each run has a
// transaction of its own.
type InsertClaimer interface {
	// InsertAndClaim adds runs, as RunInsertMany does, and then claims them, as EndAndClaim does,
	// in one transaction of its own. claims has a claim for each of ps, whose RunID it sets. It
	// tells no other process of the runs, and waits for other transactions only for a moment. An
	// error means that nothing came about, or that it is not known.
	InsertAndClaim(ctx context.Context, ps []*RunInsertParams, claims []*RunClaimParams) ([]InsertAnswer, error)
}

// Notifier is the power of a [Store] to tell the other processes of runs that need no River
// job. RunInsert and RunInsertMany tell them of due runs by themselves, when their transaction
// is committed. Without it, the others find runs by their polls.
type Notifier interface {
	// Wake tells of flows of which a run may now be worked.
	Wake(ctx context.Context, flowIDs []int64) error
	// Listen calls woken with each flow of which it is told, by any process. It calls ready once
	// it misses none from then on. It returns an error when it can no longer listen, and must
	// then be called again.
	Listen(ctx context.Context, ready func(), woken func(flowID int64)) error
}

// Reconnector is the power of a [Store] to leave connections whose server has fallen silent, after a statement got no
// answer in time. New ones may reach a server that answers.
type Reconnector interface {
	// Reconnect closes the connections, those in use once they are given back. It waits for nothing.
	Reconnect()
}

// CheckpointCommitter is the power of a [Store] to send a transaction's checkpoint
// together with its commit, while another transaction already works. Without it, they
// are sent one after the other, in one transaction at a time.
type CheckpointCommitter interface {
	// BeginCheckpoint begins a transaction that ends with a checkpoint. The context
	// that it returns carries the transaction for sinks. The caller ends it by calling
	// Commit or Rollback once.
	BeginCheckpoint(ctx context.Context) (context.Context, CheckpointTx, error)
}

// DeferredChecker is the power of a [Store] to check, before the commit, the constraints
// that the commit would check. So the engine finds the records for which a commit fails.
type DeferredChecker interface {
	// CheckDeferred returns the error that a commit of the transaction would return. The
	// constraints stay deferred. After an error, only a savepoint saves the transaction. The
	// engine first calls it before it writes rows, and then after each part of them.
	CheckDeferred(ctx context.Context, tx Tx) error
}

// CheckpointTx is a transaction that ends with a checkpoint.
type CheckpointTx interface {
	Tx
	// Commit sends the checkpoint, as RunCheckpoint makes it, and the commit. The
	// caller must call answer once, in any goroutine: it waits for the outcome. Nothing
	// is committed if Held is false or an error came before the commit.
	Commit(ctx context.Context, p *RunCheckpointParams) (answer func() (LeaseStatus, error))
	// Rollback undoes the transaction. It returns cause, as InTx returns the error of
	// its function.
	Rollback(ctx context.Context, cause error) error
}

// Queries are the statements of a [Store]. A query that names one row returns
// ErrNotFound if there is none. Times are those of the clock that Now returns.
type Queries interface {
	// Now returns the time of the clock that all other queries use.
	Now(ctx context.Context) (time.Time, error)

	// FlowUpsert stores definitions, each of another name, and returns the flows in the order
	// of their definitions. It does not change the state of an existing flow.
	FlowUpsert(ctx context.Context, ds ...*FlowDefinition) ([]*FlowRecord, error)
	FlowByID(ctx context.Context, id int64) (*FlowRecord, error)
	FlowByName(ctx context.Context, name string) (*FlowRecord, error)
	FlowList(ctx context.Context, p *FlowListParams) ([]*FlowRecord, error)
	// FlowTrouble is FlowList for Trouble.
	FlowTrouble(ctx context.Context, p *FlowListParams) ([]*FlowRecord, error)
	// FlowSetState makes a flow active or inactive, whatever it was. An active flow is
	// no longer tripped, and has no failures.
	FlowSetState(ctx context.Context, p *FlowStateParams) (*FlowRecord, error)
	// FlowSetRuntime replaces the Runtime of a flow by an operator's.
	FlowSetRuntime(ctx context.Context, p *FlowRuntimeParams) (*FlowRecord, error)
	// FlowsChanged returns the flows whose definition, Runtime or state was changed after a
	// place in the order of changes, and the place after them. A flow may come twice. At the
	// place 0 it returns no flows, but the present place.
	FlowsChanged(ctx context.Context, after int64) ([]*FlowRecord, int64, error)
	// FlowLock locks a flow. It returns the flow and the time, which is not before any
	// earlier change of the flow. It must be called in a transaction.
	FlowLock(ctx context.Context, id int64) (*FlowRecord, time.Time, error)
	// FlowsLock is FlowLock for those of the flows that exist. It locks them in the order of
	// their ids, and returns them in that order.
	FlowsLock(ctx context.Context, ids []int64) ([]*FlowRecord, time.Time, error)
	// FlowDue locks those of the given flows that have a tick or a probe due and that no
	// other transaction has locked. It returns them, the longest due first, and the time,
	// which is zero if there are none. It must be called in a transaction.
	FlowDue(ctx context.Context, flowIDs []int64) ([]*FlowRecord, time.Time, error)
	// FlowsDue returns flows that have a tick or a probe due, and the time. It locks none.
	FlowsDue(ctx context.Context, p *FlowsDueParams) ([]Due, time.Time, error)
	// FlowNext returns how long it is until the first tick or probe after a time. It is one of
	// the given flows, or, if flowIDs is nil, of any. The duration is negative if that is due.
	// It returns false if there is none.
	FlowNext(ctx context.Context, flowIDs []int64, after time.Time) (time.Duration, bool, error)
	// FlowPlan sets the times of the flows' next ticks and probes, and their schedules. It
	// returns ErrNotFound, and the caller must roll back, if one of the flows does not exist.
	FlowPlan(ctx context.Context, ps ...*FlowPlanParams) error

	// AfterSet stores which flow another one follows; the zero value is none. A flow that did
	// not follow that flow before begins with its next success. It must be called in a
	// transaction, and keeps others from calling it until the end of that.
	AfterSet(ctx context.Context, flowID int64, after After) error
	// AfterChain returns the name of the flow that a flow follows, the name of the one that
	// that one follows, and so on. It ends where nothing is followed, or at the flow itself.
	AfterChain(ctx context.Context, name string) ([]string, error)
	// AfterDue returns the active flows that are to run because the flow that they follow
	// has succeeded. With a flow's id it looks at that flow alone, whatever its state.
	AfterDue(ctx context.Context, flowID int64) ([]*DueAfter, error)
	// AfterDone stores that the run of a DueAfter has been started.
	AfterDone(ctx context.Context, due *DueAfter) error
	// AfterWrote counts rows of a flow's dead letters for those who follow it OnlyIfRows: no
	// checkpoint counts them.
	AfterWrote(ctx context.Context, flowID int64, rows int) error
	// AfterGet returns how a flow follows another one, or ErrNotFound if it follows none.
	AfterGet(ctx context.Context, flowID int64) (*AfterState, error)

	// TickSkip stores ticks that did not become runs in the ledger, in the order of ps. It
	// extends the last entry of a flow if that has the same reason and no run came between.
	// Of more than one, it must be called in a transaction.
	TickSkip(ctx context.Context, ps ...*TickSkipParams) error
	// TickList returns the ledger's entries, newest first.
	TickList(ctx context.Context, p *TickListParams) ([]*SkippedTicks, error)

	// DeadLetterInsert stores dead letters. If a dead letter of the same flow and Identity
	// is open, it is counted again: Times, LastAt, RunID, Stage, Error, and what is tried
	// again become those of the new one. If its record, before any edit, is not the same,
	// it is resolved for ReasonLaterVersion, and the new one is stored beside it. An empty
	// Identity is that of no other. It must be called in a transaction.
	DeadLetterInsert(ctx context.Context, letters []*DeadLetterRecord) error
	// DeadLetterList returns dead letters, newest first.
	DeadLetterList(ctx context.Context, p *DeadLetterListParams) ([]*DeadLetterRecord, error)
	// DeadLetterReplayed stores that a dead letter has been replayed, by whom and why. It returns
	// false if it was no longer open or, with held, if it is no longer to be tried again.
	DeadLetterReplayed(ctx context.Context, id int64, by, reason string, held bool) (bool, error)
	// DeadLetterEdit replaces the Payload of an open dead letter, and keeps what it was
	// before the first edit. It is not tried again from then on. It returns ErrNotFound if
	// none with the id is open.
	DeadLetterEdit(ctx context.Context, id int64, payload json.RawMessage, by string) error
	// DeadLetterClose closes the open dead letters of a flow that the parameters choose,
	// and returns how many there were. They are not tried again.
	DeadLetterClose(ctx context.Context, p *DeadLetterCloseParams) (int64, error)
	// DeadLetterRecords returns the identities of a flow's open dead letters that are above
	// after, in their order, with their keys.
	DeadLetterRecords(ctx context.Context, flowID int64, after string, limit int) ([]DeadLetterIdentity, error)

	// DeadLetterHeld returns the dead letters of a flow that are to be tried again, with
	// ids above after, oldest first. They are open.
	DeadLetterHeld(ctx context.Context, flowID, after int64, limit int) ([]*DeadLetterRecord, error)
	// DeadLetterTried counts a try of a dead letter and stores its error. A dead letter
	// without tries left, or whose time is over, is not tried again. If the error passes, it does so only if the
	// time is over.
	DeadLetterTried(ctx context.Context, id int64, err string, passes bool) error
	// DeadLetterSuperseded ends the tries of a flow's dead letters with one of the sink
	// keys and, unless before is 0, with an id below it. It adds a note to their errors,
	// and returns how many there were.
	DeadLetterSuperseded(ctx context.Context, p *DeadLetterSupersededParams) (int64, error)

	// ProcessSeen stores that a process is alive until ttl has passed, and what it
	// works. It removes the processes that have been dead for a day.
	ProcessSeen(ctx context.Context, p *Process, ttl time.Duration) error
	// ProcessAlive is ProcessSeen for a process whose other fields are as they were. It
	// returns false if the process is not stored.
	ProcessAlive(ctx context.Context, id string, ttl time.Duration) (bool, error)
	// ProcessGone removes a process.
	ProcessGone(ctx context.Context, id string) error
	// ProcessList returns the processes that are alive.
	ProcessList(ctx context.Context) ([]*Process, error)

	// CursorGet returns where a flow goes on. A flow that was never worked is at the
	// beginning, with the sequence number 0.
	CursorGet(ctx context.Context, flowID int64) (*FlowCursor, error)
	// CursorLock is CursorGet. It also keeps others from moving the cursor until the
	// end of the transaction, in which it must be called.
	CursorLock(ctx context.Context, flowID int64) (*FlowCursor, error)
	// CursorSet sets the cursor, moves the sequence number by one, and adds the change
	// to the history. If the sequence number is not the expected one, it changes
	// nothing and returns ErrCursorMoved. It must be called in a transaction.
	CursorSet(ctx context.Context, p *CursorSetParams) error
	// CursorHistory returns how the cursor was set, newest first.
	CursorHistory(ctx context.Context, p *CursorHistoryParams) ([]*CursorChange, error)

	// AuditInsert adds entries to the audit log, at the time of the clock.
	AuditInsert(ctx context.Context, entries ...*AuditEntry) error
	// AuditList returns the audit log, newest first.
	AuditList(ctx context.Context, p *AuditListParams) ([]*AuditEntry, error)

	// RunInsert stores a pending run. It returns another run instead, with Coalesced
	// set:
	//
	//   - the pending run of the flow with the same unique key
	//   - for TriggerSchedule, the run of the same tick, even one that has ended
	//
	// If the flow is inactive, or has another Runtime than p names, it returns ErrNotFound.
	RunInsert(ctx context.Context, p *RunInsertParams) (*Run, error)
	// RunInsertMany does what RunInsert does for each of ps, in their order. In place of
	// ErrNotFound, a run is nil. A run may coalesce with an earlier one of ps. It must be
	// called in a transaction.
	RunInsertMany(ctx context.Context, ps []*RunInsertParams) ([]*Run, error)
	// FlowsByName returns those of the flows that exist, in any order.
	FlowsByName(ctx context.Context, names []string) ([]*FlowRecord, error)
	// RunSetJob stores which River job is to work a run. 0 is none.
	RunSetJob(ctx context.Context, runID, jobID int64, queue string) error
	// RunWaits stores what a run waits for, and since when. It changes nothing if the run
	// has another state or lease number, or waits for the same already. RunClaim and
	// RunEnd clear it.
	RunWaits(ctx context.Context, p *RunWaitsParams) error
	RunByID(ctx context.Context, id int64) (*Run, error)
	// RunByJob returns the newest run that a River job was to work. It need not find a run whose
	// job was reserved for it: that job names the run.
	RunByJob(ctx context.Context, jobID int64) (*Run, error)
	RunList(ctx context.Context, p *RunListParams) ([]*Run, error)
	// RunsLast returns up to limit of the newest runs of each of the flows, newest first.
	RunsLast(ctx context.Context, flowIDs []int64, limit int) ([]*RunSummary, error)
	// RunLive returns the runs of a flow that are pending or in progress, oldest first.
	RunLive(ctx context.Context, flowID int64) ([]*Run, error)
	// RunWaiting returns the pending runs of a flow whose unique key begins with
	// keyPrefix, oldest first.
	RunWaiting(ctx context.Context, flowID int64, keyPrefix string) ([]*Run, error)
	// RunDue returns pending runs that are due and have no River job, in the order of
	// RunAfter and their ids. It leaves out runs that RunClaim has no free slot for.
	RunDue(ctx context.Context, p *RunDueParams) ([]*Run, error)
	// RunActivity counts the runs of flows that are in progress or waiting. It leaves out
	// flows that have none.
	RunActivity(ctx context.Context, flowIDs []int64) (map[int64]*Activity, error)
	// FlowStats returns how flows are doing, in any order, without Lag. It leaves out flows that
	// do not exist.
	FlowStats(ctx context.Context, flowIDs []int64) ([]*FlowStats, error)
	// FlowsCrowded returns the flows with OverlapCancelOther that have more than one run of
	// their own that is in progress, is due, or has been claimed before.
	FlowsCrowded(ctx context.Context) ([]int64, error)
	// GroupSet stores the limit of a group: how many runs of its flows may be in progress at once.
	GroupSet(ctx context.Context, name string, limit int, by string) error
	// GroupList returns the groups by their names.
	GroupList(ctx context.Context) ([]*FlowGroup, error)
	// GroupNext returns the oldest run that waits for a place in the group of a flow. It has its
	// id, its flow's id and name, MaxAttempts and Queue alone. Nil: there is none.
	GroupNext(ctx context.Context, flowID int64) (*Run, error)
	// RunClaim makes a pending run in_progress, moves the sequence number of its
	// checkpoint, and returns the claim. It must be called in a transaction. It returns
	// nil unless all of this is true:
	//
	//   - The run is due, and its flow is active.
	//   - A slot is free. See below.
	//   - If the run is one of the flow's own that was never claimed: besides its slot, one is free for
	//     each own run of the flow that lost its worker and is due in the same queue. A run
	//     that is no tick's waits for them until a Lease after its CreatedAt.
	//   - If Slots is 1 and the run is a tick's that was never claimed: no such run of
	//     an earlier tick waits in the same queue.
	//   - If Slots is 1, Backfills is 0 and the run is a backfill's: no own run of the
	//     flow is due in the same queue.
	//
	//   - If the flow has a group: it has a place for the run, and for the older runs of the group
	//     that were refused for that alone in the last 20 seconds. If the run is refused for that
	//     alone, RunClaim stores what it waits for.
	//
	// With Backfills, a backfill takes one of that many slots, from [FirstBackfillSlot]
	// on. One is free if fewer backfills of the flow are in progress, in any slots.
	// Such slots are never in the way of the flow's own runs. Without Backfills, a
	// backfill takes one of the Slots of the flow's own runs. One is free if fewer runs
	// of any kind are in progress there.
	RunClaim(ctx context.Context, p *RunClaimParams) (*Claim, error)
	// RunCheckpoint moves the flow's cursor, adds to the counters of the run and the
	// checkpoint, and renews the lease. If the claim no longer holds the run or the
	// checkpoint, Held is false, and the caller must roll back.
	RunCheckpoint(ctx context.Context, p *RunCheckpointParams) (LeaseStatus, error)
	// RunEnd takes a run from in_progress to another state, and stores the outcome with
	// its flow. A run that lost its worker keeps RunAfter, so that it goes first. RunEnd
	// returns nil if the claim no longer holds the run.
	RunEnd(ctx context.Context, p *RunEndParams) (*Run, error)
	// RunNext returns the run to wake when a run has ended: of the pending runs that take the
	// same places, the one that is due and waits longest for a River job's work. It returns nil
	// if there is none, or if that run's River job is in line to be worked. backfills is the
	// flow's MaxBackfills.
	RunNext(ctx context.Context, ended *Run, backfills int) (*NextRun, error)
	// RunRenew renews the leases of claims, and returns the status of each. It does not
	// renew a lease whose run another transaction has locked.
	RunRenew(ctx context.Context, claims []LeaseRef, lease time.Duration) ([]LeaseStatus, error)
	// RunHeld renews the lease of a claim and returns the claim as the database has it,
	// or nil if the claim no longer holds the run. It must be called in a transaction.
	RunHeld(ctx context.Context, claim LeaseRef, lease time.Duration) (*Claim, error)
	// RunLapsed locks and returns a run whose lease has lapsed and that no other
	// transaction has locked, or nil if there is none. It must be called in a
	// transaction.
	RunLapsed(ctx context.Context) (*Run, error)
	// RunsStranded returns stranded runs in the order of RunAfter and their ids: pending runs
	// that no River job will work. It locks none. The flow is active, the run has been due for
	// longer than Idle, and one of these is true of its job:
	//
	//   - It is gone, or has ended.
	//   - A process fetched it longer than Idle ago, and has not claimed the run.
	//   - It is in a queue that is no longer the flow's.
	RunsStranded(ctx context.Context, p *RunStrandedParams) ([]StrandedRun, error)
	// RunStranded locks and returns a run that is stranded. It returns nil if the run is not,
	// or if another transaction has locked it. It must be called in a transaction.
	RunStranded(ctx context.Context, runID int64, p *RunStrandedParams) (*Run, error)
	// RunCancel ends a pending run. It asks a run in progress to end, unless
	// PendingOnly is set. It returns a finished run unchanged.
	RunCancel(ctx context.Context, p *RunCancelParams) (*Run, error)

	// CallbackKeep makes the flows keep, for a while from now on, the ends of their runs until
	// they are told: RunEnd and RunCancel then store that. A longer while that is stored stays.
	CallbackKeep(ctx context.Context, flowIDs []int64, keep time.Duration) error
	// CallbackTake takes ends of runs that are to be told now, those that are due for longest,
	// and counts a try of each. They are due again when the lease is over.
	CallbackTake(ctx context.Context, p *CallbackTakeParams) ([]*CallbackTry, error)
	// CallbackDone stores what came of a try. It returns false if the try is no longer the last.
	CallbackDone(ctx context.Context, p *CallbackDoneParams) (bool, error)
	// CallbackList returns the ends that are not yet told, and those that were given up, which
	// come last.
	CallbackList(ctx context.Context, p *CallbackListParams) ([]*UntoldRun, error)

	// RunsOld returns up to Limit runs of a state that ended longer than Age ago, those that are kept among
	// them. They are in the order of their ends, and come after After.
	RunsOld(ctx context.Context, p *PruneParams) ([]OldRun, error)
	// RunPrune removes those of Runs that are still in the state and older than Age, adds them to the totals of
	// their days, and returns how many they are. It keeps the last success of
	// each flow, runs whose end is still to be told, and runs that have younger dead letters. It must be called in a
	// transaction. With DryRun it removes none, and returns how many of all runs it would remove.
	RunPrune(ctx context.Context, p *PruneParams) (int64, error)
	// ScopePrune removes the checkpoints of backfills that have no runs left: no run will
	// continue there.
	ScopePrune(ctx context.Context) error
	// TotalList returns what the runs of each day and state did, removed runs and others:
	// the oldest day first, in a day by flow and state.
	TotalList(ctx context.Context, p *TotalListParams) ([]*DailyTotal, error)
	// UpkeepTake reports whether this worker is to do a task that one process at a time does:
	// it is due, and no other worker holds it. This worker then holds it for the lease.
	// Calling it again before that renews the lease.
	UpkeepTake(ctx context.Context, task, worker string, lease time.Duration) (bool, error)
	// UpkeepDone lets the task go. It is due again after the pause.
	UpkeepDone(ctx context.Context, task, worker string, pause time.Duration) error
	// TickPrune removes at most Limit entries of the ledger whose last tick is older than
	// Age, and returns how many. With DryRun it removes none, and returns how many there
	// are without a limit. DeadLetterPrune and AuditPrune do the same.
	TickPrune(ctx context.Context, p *PruneParams) (int64, error)
	// DeadLetterPrune removes dead letters by DeadLetterAge and OpenDeadLetterAge. One that is still
	// tried again stays.
	DeadLetterPrune(ctx context.Context, p *PruneParams) (int64, error)
	// AuditPrune removes entries of the audit log that are older than Age.
	AuditPrune(ctx context.Context, p *PruneParams) (int64, error)
}

// River is what a [Client] needs of River's client. See [WrapRiver]. It is safe for
// concurrent use.
type River interface {
	// InsertTx inserts a job in a transaction and returns its id.
	InsertTx(ctx context.Context, tx Tx, args river.JobArgs, opts *river.InsertOpts) (int64, error)
	// InsertManyTx inserts jobs in a transaction and returns their ids, in their order.
	InsertManyTx(ctx context.Context, tx Tx, jobs []river.InsertManyParams) ([]int64, error)
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	StopAndCancel(ctx context.Context) error
	// JobCancelTx cancels a job in a transaction. A missing job is no error.
	JobCancelTx(ctx context.Context, tx Tx, jobID int64) error
	// JobCancelled reports whether a job exists and was cancelled.
	JobCancelled(ctx context.Context, tx Tx, jobID int64) (bool, error)
	// JobGet returns a job, or [river.ErrNotFound].
	JobGet(ctx context.Context, jobID int64) (*rivertype.JobRow, error)
	// QueuePaused reports whether a queue is paused. A queue that River has never seen
	// is not.
	QueuePaused(ctx context.Context, queue string) (bool, error)
	// ListQueues returns the queues that River has seen, in the order of their names.
	ListQueues(ctx context.Context) ([]*RiverQueue, error)
	// QueueAdd adds a queue to the queues that the client works. The client must work
	// some already.
	QueueAdd(name string, config river.QueueConfig) error
	// Unwrap returns the *river.Client of the database's own type.
	Unwrap() any
}
