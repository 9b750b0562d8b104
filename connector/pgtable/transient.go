package pgtable

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// transient marks the errors of a pool that should go away by themselves:
//
//   - the server cannot be reached or is not ready;
//   - another transaction was in the way;
//   - a connection broke, often as a plain "unexpected EOF".
//
// The client's own driver may not be for Postgres, and then knows none of these. If the
// server was read-only, transient closes the connections of the pool.
func transient(ctx context.Context, pool *pgxpool.Pool, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if isReadOnly(err) {
		pool.Reset() // new connections may reach the new primary
	}
	var network net.Error
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network) || passes(pool, err) {
		return dataflow.Transient(err)
	}
	return err
}

// isStalePlan reports whether a statement could not be executed because the types of
// its columns have changed since a connection prepared it. pgx then forgets that
// connection's statement, so trying again helps. Each connection may fail once.
func isStalePlan(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "0A000" && pg.Routine == "RevalidateCachedQuery"
}

// passes asks the Postgres driver, whatever the client's own driver is.
func passes(pool *pgxpool.Pool, err error) bool {
	store, serr := dataflowpgx.New(pool).Store(dataflow.StoreOptions{})
	return serr == nil && store.Classify(err).Passes()
}
