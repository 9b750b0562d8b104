//go:build unix && chaos

package chaos_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// follow says how a flow follows the rows that others insert into chaos_row.
type follow string

const (
	noFollow  follow = ""
	guarded   follow = "guarded"   // with the default guard of a key with a time
	unguarded follow = "unguarded" // without a guard, to show that the test detects missed rows
)

// Rows get their time and id before their transaction commits. All rows of a transaction have the
// same time.
const followSQL = `
create table chaos_row (id bigint generated always as identity primary key, updated_at timestamptz not null default now());
create index on chaos_row (updated_at, id);`

type followed struct{ ID int64 }

func (f follow) source(pool *pgxpool.Pool, page int) dataflow.Source[followed, pgtable.Cursor] {
	query := pgtable.Query{SQL: `select id, updated_at from chaos_row`, Key: []string{"updated_at", "id"}, PageSize: page}
	if f == unguarded {
		query.LateCommits = pgtable.Unguarded{}
	}
	return pgtable.Keyset[followed](pool, query)
}

func (follow) numbers() dataflow.Transform[followed, int64] {
	return dataflow.Map(func(_ context.Context, row followed) (int64, error) { return row.ID, nil })
}

const (
	writers    = 12
	writerHold = 3 * time.Second // the longest that a transaction is kept open
)

// inserted is what the writers have done.
type inserted struct {
	mu                          sync.Mutex // guards the fields below
	committed, held, rolledBack int
	longest                     time.Duration
	err                         error
}

// insertRows lets 12 writers insert rows until enough is closed.
func insertRows(ctx context.Context, url string, seed uint64, enough <-chan struct{}) *inserted {
	return writeRows(ctx, url, seed, enough, func(rng *rand.Rand) (string, int64) {
		return `insert into chaos_row select from generate_series(1, $1::int)`, 1 + rng.Int64N(3)
	})
}

// writeRows lets 12 writers run statements until enough is closed, each on its own connection, and each
// statement in a transaction of its own. One in eight is kept open, either before its statement or between
// it and the commit. One in ten is rolled back.
func writeRows(ctx context.Context, url string, seed uint64, enough <-chan struct{}, next func(rng *rand.Rand) (statement string, arg int64)) *inserted {
	did := &inserted{}
	more := func() bool {
		select {
		case <-enough:
			return false
		default:
			return true
		}
	}
	var wg sync.WaitGroup
	for writer := range uint64(writers) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, writer))
			conn, err := pgx.Connect(ctx, url)
			if err == nil {
				defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the writer is done
			}
			for err == nil && more() {
				err = did.write(ctx, conn, rng, next)
				pause(ctx, time.Duration(rng.Int64N(int64(40*time.Millisecond))))
			}
			if err != nil {
				did.mu.Lock()
				did.err = err
				did.mu.Unlock()
			}
		})
	}
	wg.Wait()
	return did
}

// write runs one transaction.
func (d *inserted) write(ctx context.Context, conn *pgx.Conn, rng *rand.Rand, next func(rng *rand.Rand) (string, int64)) error {
	var before, after time.Duration
	hold := writerHold - time.Duration(rng.Int64N(int64(writerHold)*9/10))
	switch rng.IntN(16) {
	case 0:
		before = hold
	case 1:
		after = hold
	}
	rollBack := rng.IntN(10) == 0
	statement, arg := next(rng)
	began := time.Now()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // it may be committed
	pause(ctx, before)
	if _, err := tx.Exec(ctx, statement, arg); err != nil {
		return err
	}
	pause(ctx, after)
	if !rollBack {
		err = tx.Commit(ctx)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case rollBack:
		d.rolledBack++
	case before+after > 0:
		d.held++
		fallthrough
	default:
		d.committed++
		d.longest = max(d.longest, time.Since(began))
	}
	return err
}
