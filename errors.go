package dataflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"strings"
	"time"
)

// Sentinel errors, to be compared with [errors.Is]. The errors that wrap them name the
// flow and the run.
var (
	// ErrNotFound is returned for a flow, a run or a dead letter that is not in the
	// database.
	ErrNotFound = errors.New("not found")

	// ErrNotRegistered is returned for a flow in the database whose code is not among
	// this client's Config.Flows, and for a Flow that no client returned.
	ErrNotRegistered = errors.New("not registered")

	// ErrAlreadyRunning is returned by [FlowExecutor.Execute] and [Heartbeat.Execute]
	// when the run, or another run of its flow, is in progress, or when another one goes
	// first, because it lost its worker. A pending run stays pending. [Client.SetCursor]
	// returns it while a run of the flow is in progress.
	ErrAlreadyRunning = errors.New("already running")

	// ErrNotDue is returned by [FlowExecutor.Execute] for a run whose time has not
	// come. The run stays pending.
	ErrNotDue = errors.New("not due")

	// ErrDisabled is returned for a flow that is inactive, or whose Runtime is
	// disabled. A call that would start a run then stores nothing.
	ErrDisabled = errors.New("disabled")

	// ErrRunFinished is returned by [FlowExecutor.Execute] for a run that has ended, and by
	// [Client.Cancel] for one that ended otherwise than by a cancellation.
	ErrRunFinished = errors.New("run is finished")

	// ErrUnknownType is returned for a stored Runtime whose type neither the library
	// nor Config.Runtimes can read.
	ErrUnknownType = errors.New("unknown type")

	// ErrGlobalID is returned by [ParseGlobalID] and [Client.Locate] for a text that is
	// not a global id, and by Locate for an id of another application or model.
	ErrGlobalID = errors.New("not a global id")

	// ErrRunState is returned by [Client.Retry] for a run that has neither failed nor
	// been cancelled.
	ErrRunState = errors.New("run is in another state")

	// ErrCursorMoved is returned by [Client.SetCursor] when the flow's cursor is no
	// longer the one that the caller named. The error's message holds the current
	// cursor.
	ErrCursorMoved = errors.New("the cursor has moved")

	// ErrDeadLetterClosed is returned by [Client.EditDeadLetter] and
	// [Client.CloseDeadLetters] for a dead letter that is no longer open. It is in the
	// report of [Client.Replay] too. The error's message says what became of it.
	ErrDeadLetterClosed = errors.New("the dead letter is closed")

	// ErrTxMismatch is returned by calls that take a [Tx], when it belongs to another
	// kind of database than the client's.
	ErrTxMismatch = errors.New("transaction of another database")

	// ErrStopped is returned by calls on a client that is stopping, and by
	// [FlowExecutor.Execute] for a run that was handed back, because the client stops
	// or the caller's context ended.
	ErrStopped = errors.New("client is stopped")

	// ErrPoolFull is returned by [FlowExecutor.Execute] for a run that would hold more
	// connections of a pool than other runs have left. The run stays pending, and begins
	// once there is room. See [PoolUser].
	ErrPoolFull = errors.New("the pool of connections has no room for the run")

	// ErrFenced is returned by [FlowExecutor.Execute] when another process took the run
	// over. Nothing of the interrupted batch was committed. A [FencedSink] returns it
	// for a fence that is out of date.
	ErrFenced = errors.New("run was taken over")
)

// Skip is returned by the function of a [Map] or a [FlatMap] to leave a record out on
// purpose. The record counts as filtered.
var Skip = errors.New("skip this record") //nolint:gochecknoglobals,errname,revive,staticcheck // a signal, named like fs.SkipDir

// ConfigError says which setting is wrong, and what would be right. [NewClient] returns
// all of them at once, joined.
type ConfigError struct {
	// Field is the setting, such as `Flows["orders"].Runtime.Priority`.
	Field string
	// Reason says what is wrong and what would be right.
	Reason string
}

func (e *ConfigError) Error() string { return e.Field + ": " + e.Reason }

// RecordError is the error of one bad record. A [Source] yields it for a record that it
// cannot read, and goes on. The engine makes one of each [Results.Fail] of a
// [Transform]. The flow's [Policy] decides what becomes of the record.
type RecordError struct {
	// Stage is where the record failed. The engine sets it.
	Stage Stage
	// Key names the record: a key, or a position such as "line 7". It is the key that the
	// record would have as an [Item], so that a later read of it resolves its dead letter.
	Key string
	// Raw is the record as it was read, as far as it is known. It may be nil.
	Raw json.RawMessage
	// Read is how many records the run has read, including the record's batch. The
	// engine sets it.
	Read int64
	// Err is the cause.
	Err error

	retryFor time.Duration // set by RetryBadFor
	retries  int
}

func (e *RecordError) Error() string {
	if e.Key == "" { // as a transform returns it: the engine knows the key
		return fmt.Sprintf("%s record: %v", e.Stage, e.Err)
	}
	return fmt.Sprintf("%s record %s: %v", e.Stage, e.Key, e.Err)
}

// Unwrap returns the cause.
func (e *RecordError) Unwrap() error { return e.Err }

// errNoCause stands for the cause of a RecordError or RowError that has none.
var errNoCause = errors.New("the code that refuses the record does not say why: its error's Err is nil")

// RowError is returned by a sink that knows which row of a batch cannot be written. If the
// flow's policy keeps the other records, the engine writes them without searching for the
// bad row.
type RowError struct {
	// Row is the index of the bad row in the rows that the sink was given, from 0.
	Row int
	// Alone says that the sink has tried the row alone and it was refused, so that the
	// engine need not try that again.
	Alone bool
	// Err is the cause.
	Err error
}

func (e *RowError) Error() string {
	if e.Err == nil {
		return errNoCause.Error()
	}
	return e.Err.Error()
}

// Unwrap returns the cause.
func (e *RowError) Unwrap() error { return e.Err }

// Stage is the part of a flow in which an error arose.
type Stage string

// The stages of a flow.
const (
	StageRead      Stage = "read"
	StageTransform Stage = "transform"
	StageWrite     Stage = "write"
)

// RunError is the error of a failed attempt at a run.
type RunError struct {
	RunID int64
	Flow  string
	Err   error

	wait time.Duration // until the next attempt
}

func (e *RunError) Error() string {
	return fmt.Sprintf("dataflow: flow %q run %d: %v", e.Flow, e.RunID, e.Err)
}

// Unwrap returns the cause.
func (e *RunError) Unwrap() error { return e.Err }

// PanicError reports a panic of a source, a transform or a sink.
type PanicError struct {
	// Value is the argument of panic.
	Value any
	// Stack is the goroutine's stack.
	Stack string
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// errorPrefix begins every message that leaves the library, once.
const errorPrefix = "dataflow: "

// publicError is an error that leaves the library.
type publicError struct{ err error }

func (e *publicError) Error() string { return errorPrefix + e.err.Error() }
func (e *publicError) Unwrap() error { return e.err }

// public puts the library's name before an error's message, unless it is there already.
func public(err error) error {
	if err == nil || strings.HasPrefix(err.Error(), errorPrefix) {
		return err
	}
	return &publicError{err: err}
}

// private removes the library's name from an error that is to be wrapped in another.
func private(err error) error {
	if p, ok := err.(*publicError); ok { //nolint:errorlint // the outermost alone
		return p.err
	}
	return err
}

// foreignError hides ErrFenced and ErrStopped in an error of the user's code. These two
// are the engine's to say. The user's code may return those of another client.
type foreignError struct{ err error }

// foreign marks an error as one of the user's code. err may be nil.
func foreign(err error) error {
	if errors.Is(err, ErrFenced) || errors.Is(err, ErrStopped) {
		return &foreignError{err: err}
	}
	return err
}

func (e *foreignError) Error() string { return e.err.Error() }

// Is and As replace Unwrap, which would let errors.Is find the two.
func (e *foreignError) Is(target error) bool {
	return target != ErrFenced && target != ErrStopped && errors.Is(e.err, target)
}

func (e *foreignError) As(target any) bool { return errors.As(e.err, target) }

// guard turns a panic of fn into an error with its stack.
func guard(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: string(debug.Stack())}
		}
	}()
	return fn()
}

// isNil reports whether v is nil, or an interface around nil.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch rv := reflect.ValueOf(v); rv.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Slice, reflect.Chan, reflect.Interface:
		return rv.IsNil()
	default:
		return false
	}
}

// validate checks a part of a flow.
func validate(field string, v any) error {
	if isNil(v) {
		return &ConfigError{Field: field, Reason: "it is nil"}
	}
	if val, ok := v.(Validator); ok {
		return errors.Join(prefixed(field, val.Validate())...)
	}
	return nil
}
