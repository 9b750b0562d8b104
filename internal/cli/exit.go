package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow"
)

// The exit codes.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNotFound = 3
	exitRefused  = 4
	exitDatabase = 5
)

// usageError is a mistake in the command line or the environment.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usage(format string, args ...any) error { return &usageError{text: fmt.Sprintf(format, args...)} }

// refusedError is a command that the current state does not allow.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return e.text }

func refused(format string, args ...any) error {
	return &refusedError{text: fmt.Sprintf(format, args...)}
}

// databaseError is a database that cannot be used.
type databaseError struct{ err error }

func (e *databaseError) Error() string { return e.err.Error() }
func (e *databaseError) Unwrap() error { return e.err }

// errInterrupted is returned by a command that was interrupted before it was done.
var errInterrupted = errors.New("interrupted")

// errUnwritten is returned by a command whose output is lost, such as when its terminal was
// closed. The command was not done, or nobody can know what it did.
var errUnwritten = errors.New("the output can no longer be written")

// exits maps errors to exit codes. The first one that fits counts.
var exits = []struct { //nolint:gochecknoglobals // a table
	code int
	fits func(err error) bool
}{
	{exitUsage, as[*usageError]},
	{exitRefused, as[*refusedError]},
	{exitFailed, is(errInterrupted, errUnwritten, context.Canceled)},
	{exitFailed, as[*timeoutError]},
	{exitFailed, as[*dataflow.RunError]},
	{exitNotFound, is(dataflow.ErrNotFound)},
	{exitRefused, is(dataflow.ErrDisabled, dataflow.ErrRunFinished, dataflow.ErrRunState, dataflow.ErrAlreadyRunning, dataflow.ErrNotDue, dataflow.ErrNotRegistered, dataflow.ErrStopped, dataflow.ErrCursorMoved, dataflow.ErrDeadLetterClosed)},
	{exitUsage, as[*dataflow.ConfigError]},
	{exitUsage, is(dataflow.ErrGlobalID)},
	{exitDatabase, as[*databaseError]},
	{exitRefused, is(fs.ErrExist)},
	{exitFailed, as[*fs.PathError]}, // before net.Error, because the syscall.Errno in it would pass for one
	{exitDatabase, as[*pgconn.PgError]},
	{exitDatabase, as[*pgconn.ConnectError]},
	{exitDatabase, as[net.Error]},
	{exitDatabase, ofSQLite},
}

// exitCode is the exit code of an error.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	for _, e := range exits {
		if e.fits(err) {
			return e.code
		}
	}
	return exitFailed
}

func as[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func is(targets ...error) func(error) bool {
	return func(err error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
}

// ofSQLite reports whether an error is of a SQLite library. It goes by the name of the type,
// because this package links no such library.
func ofSQLite(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if strings.Contains(fmt.Sprintf("%T", err), "sqlite") {
			return true
		}
	}
	return false
}

// message is the text of an error for the last line of a command.
func message(err error) string { return strings.TrimPrefix(err.Error(), "dataflow: ") }
