package dataflowpgx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

func isUniqueViolation(err error) bool { return sqlstate.Has(err, sqlstate.UniqueViolation) }

// Classify returns what kind of database failure an error is. Errors of the server are in
// the table of package sqlstate.
func (s *store) Classify(err error) dataflow.Fault {
	var lack *lackError
	if errors.As(err, &lack) {
		return dataflow.FaultStale
	}
	if decision, ok := sqlstate.Of(err); ok {
		return faultOf(decision)
	}
	if isDisconnect(err) {
		return dataflow.FaultUnavailable
	}
	return dataflow.FaultOther
}

func faultOf(d sqlstate.Decision) dataflow.Fault {
	switch d {
	case sqlstate.Record:
		return dataflow.FaultData
	case sqlstate.Batch:
		return dataflow.FaultTooMuch
	case sqlstate.Conflict:
		return dataflow.FaultConflict
	case sqlstate.Connection:
		return dataflow.FaultUnavailable
	case sqlstate.Permanent:
		return dataflow.FaultPermanent
	case sqlstate.Again:
		return dataflow.FaultStale
	case sqlstate.Attempt:
		return dataflow.FaultOther
	default:
		return dataflow.FaultOther
	}
}

// isDisconnect reports whether the connection broke, or could not be made. A broken
// connection often returns a plain "unexpected EOF", but so does a file or a web
// server. InTx knows the cause, and marks the error as a lostError.
func isDisconnect(err error) bool {
	var lost *lostError
	var refused *pgconn.ConnectError
	var full *poolFullError
	if errors.As(err, &full) || errors.As(err, &lost) || errors.As(err, &refused) {
		return true
	}
	return pgconn.SafeToRetry(err) || errors.Is(err, pgconn.ErrConnClosed)
}

// lostError is the error of a transaction whose connection broke. It is unknown
// whether the transaction was committed.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// lostAtBegin marks the error of a begin on a connection that broke in the pool.
func lostAtBegin(ctx context.Context, err error) error {
	var network net.Error
	if ctx.Err() == nil && (errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)) {
		return &lostError{err: err}
	}
	return driverkit.Ended(ctx, err)
}

// lostInTx marks the error of a transaction that is still open. A server that ends a silent
// transaction says so, but a process that writes next may only learn that the socket is
// closed.
func lostInTx(ctx context.Context, tx pgx.Tx, err error) error {
	if ctx.Err() != nil || !tx.Conn().IsClosed() {
		return driverkit.Ended(ctx, err)
	}
	_, told := sqlstate.Of(err)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("%w: the context of a statement ended, and pgx then closes the connection", err)
	case !told:
		err = fmt.Errorf("%w: the connection broke in the transaction: the server or the network failed, or nothing was sent for longer than idle_in_transaction_session_timeout, which the client sets to Config.Lease", err)
	}
	return &lostError{err: err}
}

// lostAtCommit marks the error of a commit. It leaves errors that do not mean a broken
// connection: those of the server, and pgx's for a transaction that has ended before.
func lostAtCommit(ctx context.Context, err error) error {
	var pe *pgconn.PgError
	if ctx.Err() != nil || errors.As(err, &pe) || errors.Is(err, pgx.ErrTxClosed) || errors.Is(err, pgx.ErrTxCommitRollback) {
		return driverkit.Ended(ctx, err)
	}
	return &lostError{err: err}
}
