package dataflowpgx

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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
//     reach the new primary. Once a statement has written again, it closes them once more:
//     until the address moved, new ones still reached the old primary.
type pool struct {
	*pgxpool.Pool
	*server
}

// server is what is known of the server of a pool. The connection beside the pool shares it.
type server struct {
	pooler pooler.Guard
	log    *slog.Logger // nil: nothing is logged
	// refused is when the server last refused a write. nil: a statement has written since.
	refused atomic.Pointer[time.Time]
	// narrow says that the database's encoding lacks characters of a text that was to be stored.
	narrow atomic.Bool

	mu    sync.Mutex      // guards what follows
	reset chan struct{}   // closed when the connections are closed, and replaced
	all   []*pgxpool.Pool // that have connections to it
	told  string          // what was logged last of the pooler
}

func newPool(p *pgxpool.Pool, log *slog.Logger) *pool {
	return &pool{Pool: p, server: &server{log: log, reset: make(chan struct{}), all: []*pgxpool.Pool{p}}}
}

// add returns another pool of the same server.
func (p *pool) add(another *pgxpool.Pool) *pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, another)
	return &pool{Pool: another, server: p.server}
}

// remove closes a pool that was added, and waits until its connections are given back.
func (p *pool) remove() {
	p.mu.Lock()
	p.all = slices.DeleteFunc(p.all, func(one *pgxpool.Pool) bool { return one == p.Pool })
	p.mu.Unlock()
	p.Close()
}

// look returns an error if the pool must not be used as it is configured.
func (p *pool) look(ctx context.Context) error {
	if p.pooler.Known() {
		return p.pooler.Check(ctx, p.Pool)
	}
	err := p.pooler.Check(ctx, p.Pool)
	note := p.pooler.Note()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.told != note && p.log != nil {
		if note != "" {
			p.log.WarnContext(ctx, "dataflow: "+note)
		} else {
			p.log.InfoContext(ctx, "dataflow: the pooler is known now", slog.Bool("prepared_statements", p.pooler.Found().Prepared))
		}
	}
	p.told = note
	return err
}

// refusedLately is how long a refused write is told. A started client tries one far more often.
const refusedLately = 2 * time.Minute

// Notes implements dataflow.NotedStore.
func (s *store) Notes() (notes []string) {
	if note := s.pool.pooler.Note(); note != "" {
		notes = append(notes, note)
	}
	if at := s.pool.refused.Load(); at != nil && time.Since(*at) < refusedLately {
		notes = append(notes, "the server has just refused to write: it is a standby, or default_transaction_read_only is on. Processes that cannot write may look as if they were not alive")
	}
	return notes
}

// seen looks at an error of a statement, and returns it.
func (s *server) seen(err error) error {
	if isReadOnly(err) {
		s.refused.Store(new(time.Now())) //nolint:forbidigo // how long ago, not what time it is
		s.resetAll()
	}
	return err
}

// wrote looks at the answer to a statement. A started client often calls ProcessAlive, which writes
// by one.
func (s *server) wrote(tag pgconn.CommandTag) {
	if at := s.refused.Load(); at != nil && tag.RowsAffected() > 0 && !tag.Select() && s.refused.CompareAndSwap(at, nil) {
		s.resetAll()
	}
}

// resetAll closes the connections of the pools, and those that listen. One that is in use is
// closed when it is given back.
func (s *server) resetAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.all {
		p.Reset() // it waits for nothing
	}
	close(s.reset)
	s.reset = make(chan struct{})
}

// Reconnect implements dataflow.Reconnector. Each connection of the pool may lead to the silent server.
func (s *store) Reconnect() { s.pool.resetAll() }

// nextReset returns a channel that is closed when the connections are closed again.
func (s *server) nextReset() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reset
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
	p.wrote(tag)
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
