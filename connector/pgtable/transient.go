package pgtable

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// transient marks the errors of a pool that should pass by themselves: those of a
// server that cannot be reached or is in no state to work, and of another
// transaction that was in the way. The client's own database may be none of
// Postgres, and tells nothing of these. A broken connection often gives a plain
// "unexpected EOF", which nobody else could tell from any other.
func transient(ctx context.Context, pool *pgxpool.Pool, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	var network net.Error
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network) || passes(pool, err) {
		return dataflow.Transient(err)
	}
	return err
}

// passes asks the driver of Postgres, which need not be the client's.
func passes(pool *pgxpool.Pool, err error) bool {
	store, serr := dataflowpgx.New(pool).Store(dataflow.StoreOptions{})
	return serr == nil && store.Classify(err).Passes()
}
