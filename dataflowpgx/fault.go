package dataflowpgx

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow"
)

func isUniqueViolation(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "23505"
}

// Classify returns what kind of database failure an error is.
func (s *store) Classify(err error) dataflow.Fault {
	var pe *pgconn.PgError
	switch {
	case errors.As(err, &pe):
		return classifyCode(pe.Code)
	case isDisconnect(err):
		return dataflow.FaultUnavailable
	default:
		return dataflow.FaultOther
	}
}

// classifyCode classifies a SQLSTATE, in most cases by its class.
func classifyCode(code string) dataflow.Fault {
	switch code {
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return dataflow.FaultConflict
	case "25006", // read_only_sql_transaction: a replica, until it is promoted
		"25P03", "25P04": // this process was silent for too long in a transaction
		return dataflow.FaultUnavailable
	}
	if len(code) != 5 {
		return dataflow.FaultOther
	}
	switch code[:2] {
	case "08", // connection exception
		"40", // transaction rollback
		"53", // insufficient resources: too many connections, disk full
		"55", // object not in prerequisite state: a lock not available
		"57", // operator intervention: shutting down, starting up
		"58": // system error
		return dataflow.FaultUnavailable
	case "21", // cardinality violation: a key twice in one statement
		"22", // data exception
		"23": // integrity constraint violation
		return dataflow.FaultData
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
	return err
}

// lostInTx marks the error of a transaction that is still open.
func lostInTx(ctx context.Context, tx pgx.Tx, err error) error {
	if ctx.Err() == nil && tx.Conn().IsClosed() {
		return &lostError{err: err}
	}
	return err
}

// lostAtCommit marks the error of a commit. It leaves errors that do not mean a broken
// connection: those of the server, and pgx's for a transaction that has ended before.
func lostAtCommit(ctx context.Context, err error) error {
	var pe *pgconn.PgError
	if ctx.Err() != nil || errors.As(err, &pe) || errors.Is(err, pgx.ErrTxClosed) || errors.Is(err, pgx.ErrTxCommitRollback) {
		return err
	}
	return &lostError{err: err}
}
