package dataflow

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Sentinel errors, to be compared with [errors.Is]. The errors that carry them
// name the flow and the run.
var (
	// ErrNotFound is returned for a flow or a run that is not in the database.
	ErrNotFound = errors.New("not found")

	// ErrNotRegistered is returned for a flow that is in the database but whose
	// code is not among this client's Config.Flows, and for a flow that was not
	// got from a client.
	ErrNotRegistered = errors.New("not registered")

	// ErrAlreadyRunning is returned by [FlowExecutor.Execute] and by
	// [Heartbeat.Execute] when the run, or another of its flow, is in progress.
	// A pending run stays pending.
	ErrAlreadyRunning = errors.New("already running")

	// ErrNotDue is returned by [FlowExecutor.Execute] for a run whose time has
	// not come. The run stays pending.
	ErrNotDue = errors.New("not due")

	// ErrDisabled is returned for a flow that is inactive, or whose Runtime is
	// disabled. Starting one leaves no rows.
	ErrDisabled = errors.New("disabled")

	// ErrRunFinished is returned by [FlowExecutor.Execute] for a run that has
	// ended.
	ErrRunFinished = errors.New("run is finished")

	// ErrUnknownType is returned for a stored Runtime of a type that nothing in
	// this program reads. See Config.Runtimes.
	ErrUnknownType = errors.New("unknown type")

	// ErrGlobalID is returned by [ParseGlobalID] and [Client.Locate] for a text that
	// is no global id, and by Locate for one of another application or model.
	ErrGlobalID = errors.New("not a global id")

	// ErrRunState is returned by [Client.Retry] for a run that has neither failed nor
	// was cancelled.
	ErrRunState = errors.New("run is in another state")

	// ErrCursorMoved is returned by [Client.SetCursor] when the flow's cursor is not
	// the one that the caller has seen. The error says what it is now.
	ErrCursorMoved = errors.New("the cursor has moved")

	// ErrTxMismatch is returned by calls that take a [Tx] of another kind of
	// database than the client's.
	ErrTxMismatch = errors.New("transaction of another database")

	// ErrStopped is returned by calls on a client that is stopping, and by
	// [FlowExecutor.Execute] for a run that was handed back because of that.
	ErrStopped = errors.New("client is stopped")

	// ErrFenced is returned by [FlowExecutor.Execute] when another process has
	// taken the run over. Nothing of the interrupted batch was committed.
	ErrFenced = errors.New("run was taken over")
)

// Skip is returned by the function of a [Map] for a record that is left out on
// purpose. It counts as filtered.
var Skip = errors.New("skip this record") //nolint:gochecknoglobals,errname,revive,staticcheck // a signal, named like fs.SkipDir

// ConfigError tells which setting is wrong, and what would be right.
// [NewClient] returns all of them at once, joined.
type ConfigError struct {
	// Field is the setting, such as `Flows["orders"].Runtime.Priority`.
	Field string
	// Reason says what is wrong and what would be right.
	Reason string
}

func (e *ConfigError) Error() string { return e.Field + ": " + e.Reason }

// RecordError is an error of one record. A [Source] yields it for a row that
// cannot be read and goes on; a [Transform] reports it through [Results.Fail].
// The flow's [Policy] decides what becomes of the record.
type RecordError struct {
	// Stage is where the record failed. The engine sets it.
	Stage Stage
	// Key names the record: a key, or a position such as "line 7".
	Key string
	// Raw is the record as it was read, as far as it is known. It may be nil.
	Raw json.RawMessage
	// Read is how many records the run has read, those of the record's batch
	// included. The engine sets it.
	Read int64
	// Err is the cause.
	Err error
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("%s record %s: %v", e.Stage, e.Key, e.Err)
}

// Unwrap returns the cause.
func (e *RecordError) Unwrap() error { return e.Err }

// RowError is what a [TxSink] returns that knows which row of a batch cannot be
// written. Where the flow's policy keeps the other records, they are then written
// without looking for the bad one by halves.
type RowError struct {
	// Row counts from 0 in the rows that the sink was given.
	Row int
	// Alone says that the row was refused when it was written alone, so that the engine
	// need not try that again.
	Alone bool
	// Err is the cause.
	Err error
}

func (e *RowError) Error() string { return e.Err.Error() }

func (e *RowError) Unwrap() error { return e.Err }

// Stage is a part of a flow, in which an error arose.
type Stage string

// The stages of a flow.
const (
	StageRead      Stage = "read"
	StageTransform Stage = "transform"
	StageWrite     Stage = "write"
)

// RunError is the error of an attempt at a run.
type RunError struct {
	RunID int64
	Flow  string
	Err   error
}

func (e *RunError) Error() string {
	return fmt.Sprintf("dataflow: flow %q run %d: %v", e.Flow, e.RunID, e.Err)
}

// Unwrap returns the cause.
func (e *RunError) Unwrap() error { return e.Err }

// PanicError is a panic of a source, a transform or a sink.
type PanicError struct {
	// Value is what was passed to panic.
	Value any
	// Stack is the goroutine's stack.
	Stack string
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }
