package dataflowpgx

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow/internal/pooler"
)

// pool is the caller's pool. It does two things that pgxpool does not:
//
//   - Before its first statement, it looks for a pooler, and refuses an exec mode of pgx that
//     does not work there.
//   - When a statement finds the server read-only, it closes the connections of the pool.
//     After a fail-over, such a server may keep its connections open, and only new ones
//     reach the new primary.
type pool struct {
	*pgxpool.Pool
	pooler pooler.Guard

	mu    sync.Mutex    // guards reset
	reset chan struct{} // closed when the connections are closed, and replaced
}

func newPool(p *pgxpool.Pool) *pool {
	return &pool{Pool: p, reset: make(chan struct{})}
}

// look returns an error if the pool must not be used as it is configured.
func (p *pool) look(ctx context.Context) error { return p.pooler.Check(ctx, p.Pool) }

// seen looks at an error of a statement, and returns it.
func (p *pool) seen(err error) error {
	if isReadOnly(err) {
		p.Reset()
		p.mu.Lock()
		close(p.reset)
		p.reset = make(chan struct{})
		p.mu.Unlock()
	}
	return err
}

// nextReset returns a channel that is closed when the connections are closed again.
func (p *pool) nextReset() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reset
}

// isReadOnly reports whether the server refused to write: it is a standby, or was the primary
// before a fail-over.
func isReadOnly(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "25006"
}

// Exec implements querier.
func (p *pool) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := p.look(ctx); err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := p.Pool.Exec(ctx, sql, args...)
	return tag, p.seen(err)
}

// Query implements querier.
func (p *pool) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := p.look(ctx); err != nil {
		return nil, err
	}
	rows, err := p.Pool.Query(ctx, sql, args...)
	return seenRows{Rows: rows, pool: p}, p.seen(err)
}

// QueryRow implements querier.
func (p *pool) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := p.look(ctx); err != nil {
		return failed{err: err}
	}
	return seenRow{row: p.Pool.QueryRow(ctx, sql, args...), pool: p}
}

// SendBatch implements querier.
func (p *pool) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if err := p.look(ctx); err != nil {
		return failed{err: err}
	}
	return seenBatch{BatchResults: p.Pool.SendBatch(ctx, b), pool: p}
}

// Begin begins a transaction.
func (p *pool) Begin(ctx context.Context) (pgx.Tx, error) { return p.BeginTx(ctx, pgx.TxOptions{}) }

// BeginTx begins a transaction. The caller hands the errors of its statements to seen.
func (p *pool) BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error) {
	if err := p.look(ctx); err != nil {
		return nil, err
	}
	return p.Pool.BeginTx(ctx, opts)
}

type seenRows struct {
	pgx.Rows
	pool *pool
}

func (r seenRows) Err() error { return r.pool.seen(r.Rows.Err()) }

type seenRow struct {
	row  pgx.Row
	pool *pool
}

func (r seenRow) Scan(dest ...any) error { return r.pool.seen(r.row.Scan(dest...)) }

type seenBatch struct {
	pgx.BatchResults
	pool *pool
}

func (b seenBatch) Exec() (pgconn.CommandTag, error) {
	tag, err := b.BatchResults.Exec()
	return tag, b.pool.seen(err)
}

func (b seenBatch) Query() (pgx.Rows, error) {
	rows, err := b.BatchResults.Query()
	return seenRows{Rows: rows, pool: b.pool}, b.pool.seen(err)
}

func (b seenBatch) QueryRow() pgx.Row {
	return seenRow{row: b.BatchResults.QueryRow(), pool: b.pool}
}

func (b seenBatch) Close() error { return b.pool.seen(b.BatchResults.Close()) }

// failed is the result of what was not sent.
type failed struct{ err error }

func (f failed) Scan(...any) error                { return f.err }
func (f failed) Exec() (pgconn.CommandTag, error) { return pgconn.CommandTag{}, f.err }
func (f failed) Query() (pgx.Rows, error)         { return nil, f.err }
func (f failed) QueryRow() pgx.Row                { return f }
func (f failed) Close() error                     { return f.err }
func (f failed) Tx() pgx.Tx                       { return nil }
