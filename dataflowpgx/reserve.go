package dataflowpgx

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/pools"
)

// reserve has one connection beside the pool. The client's own statements take it when all
// connections of the pool are in use: so leases are renewed, runs are claimed, ended and
// cancelled, whatever runs and the service do with the pool.
//
// It is a pool of one that is made when it is first needed, by the configuration of the pool,
// and closed when nobody keeps it any more. It is safe for concurrent use.
type reserve struct {
	pool *pool
	size int32

	mu      sync.Mutex // guards what follows
	keepers int
	own     *pool // nil: not needed so far
}

func newReserve(pool *pool) *reserve {
	return &reserve{pool: pool, size: pool.Config().MaxConns}
}

// keep lets the connection be used until release is called.
func (r *reserve) keep() (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keepers++
	return sync.OnceFunc(func() {
		r.mu.Lock()
		own := r.own
		if r.keepers--; r.keepers > 0 {
			own = nil
		} else {
			r.own = nil
		}
		r.mu.Unlock()
		if own != nil {
			own.remove()
		}
	})
}

// pick returns the pool to use now: the user's, or the reserve if that is full.
func (r *reserve) pick(ctx context.Context) *pool {
	if r.pool.Stat().AcquiredConns() < r.size {
		return r.pool
	}
	own := r.beside(ctx)
	if own == nil {
		return r.pool
	}
	c, err := own.Acquire(ctx) // such as a server that takes no more connections
	if err != nil {
		return r.pool
	}
	c.Release()
	return own
}

// beside returns the pool of one, or nil if nobody keeps it.
func (r *reserve) beside(ctx context.Context) *pool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keepers == 0 || r.own != nil {
		return r.own
	}
	config := r.pool.Config()
	config.MaxConns, config.MinConns, config.MinIdleConns = 1, 0, 0
	own, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), config)
	if err != nil {
		return nil
	}
	r.own = r.pool.add(own)
	return r.own
}

func (r *reserve) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return r.pick(ctx).Exec(ctx, sql, args...)
}

func (r *reserve) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return r.pick(ctx).Query(ctx, sql, args...)
}

func (r *reserve) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return r.pick(ctx).QueryRow(ctx, sql, args...)
}

func (r *reserve) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	return r.pick(ctx).SendBatch(ctx, b)
}

// PoolUse says which pool the client uses. Runs leave two of its connections free: one for
// checkpoints, one for everything else.
func (s *store) PoolUse() []dataflow.PoolUse {
	return []dataflow.PoolUse{{Pool: s.pool.Pool, Size: int(s.reserve.size), Borrowed: 2}}
}

// Keep keeps a connection beside the pool, for when the pool is full.
func (s *store) Keep() (release func()) { return s.reserve.keep() }

// ForRuns returns the store whose transactions write what runs have read. They use the pool
// alone, and leave one of its connections free.
func (s *store) ForRuns() dataflow.Store {
	own := *s
	own.forRuns = true
	own.queries = queries{store: &own, db: s.pool}
	return &own
}

// connectionWait is how long a run's transaction waits for a connection. If all are held for
// so long, they may be held by sources that do not say so, which wait for one as well.
var connectionWait = time.Minute //nolint:gochecknoglobals // a test makes it short

// poolFullError says that no connection became free in time.
type poolFullError struct{ size int32 }

func (e *poolFullError) Error() string {
	return fmt.Sprintf("no connection of the pool of %d became free within %s: something holds all of them: a source that keeps a connection while it yields must say so (dataflow.PoolUser); else use a larger pool", e.size, connectionWait)
}

// beginTx begins a transaction. ended must be called when it has ended.
func (s *store) beginTx(ctx context.Context) (tx pgx.Tx, ended func(), err error) {
	if !s.forRuns {
		tx, err = s.reserve.pick(ctx).BeginTx(ctx, s.begin)
		return tx, func() {}, err
	}
	// This waits for transactions of other runs, which may take long and end by themselves.
	if ended, err = pools.Process.Begin(ctx, s.pool.Pool, int(s.reserve.size)); err != nil {
		return nil, ended, err
	}
	within, cancel := context.WithTimeout(ctx, connectionWait)
	defer cancel()
	if tx, err = s.pool.BeginTx(within, s.begin); err != nil {
		ended()
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = &poolFullError{size: s.reserve.size}
	}
	return tx, ended, err
}
