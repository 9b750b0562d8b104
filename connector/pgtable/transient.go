package pgtable

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/driverkit"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// transient marks the errors of a pool that should go away by themselves:
//
//   - the server cannot be reached or is not ready;
//   - another transaction was in the way;
//   - a connection broke, often as a plain "unexpected EOF".
//
// The client's own driver may not be for Postgres, and then knows none of these. If the
// server was read-only, transient closes the connections of the pool. transient also adds to
// an error of the server what to do about it.
func transient(ctx context.Context, pool *pgxpool.Pool, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return driverkit.Ended(ctx, err)
	}
	if isReadOnly(err) {
		pool.Reset() // new connections may reach the new primary
	}
	err = sqlstate.Explain(err)
	var network net.Error
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network), passes(pool, err):
		return dataflow.Transient(err)
	case sqlstate.Is(err, sqlstate.Permanent):
		return dataflow.Permanent(err)
	default:
		return err
	}
}

// retryStale calls read until it returns another error than that of a stale plan: the types
// of the columns have changed since a connection prepared the statement. pgx then forgets
// that connection's statement, so trying again helps. Each connection may fail once.
func retryStale(pool *pgxpool.Pool, read func() error) error {
	err := read()
	for range pool.Config().MaxConns {
		if !sqlstate.Is(err, sqlstate.Again) {
			break
		}
		err = read()
	}
	return err
}

// tooMuch reports whether a page took too long for the server, so that a smaller one may
// pass.
func tooMuch(err error) bool {
	return sqlstate.Is(err, sqlstate.Batch) || sqlstate.IsRecoveryConflict(err)
}

// passes asks the Postgres driver, whatever the client's own driver is.
func passes(pool *pgxpool.Pool, err error) bool {
	store, serr := dataflowpgx.New(pool).Store(dataflow.StoreOptions{})
	return serr == nil && store.Classify(err).Passes()
}
