//go:build unix && chaos

package chaos_test

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Another writer updates the same rows as the flows' transactions: of one flow in the opposite
// order, of the other between its snapshot and its update. Postgres aborts the flows'
// transactions with deadlocks and serialization failures. Oracle: exact, and so are the sums in
// those rows.
func TestConflicts(t *testing.T) {
	t.Parallel()
	rng := dice(t)
	rows := scaled[int64](6_000, 12_000)
	flow := flowSettings{Batch: 100, Chunk: rows, Limit: rows, Pace: 10 * time.Millisecond, Hold: 100 * time.Millisecond}
	flows := []flowSettings{flow, flow}
	flows[0].Name, flows[0].Queue, flows[0].Rival = "deadlocked", true, deadlock
	flows[1].Name, flows[1].Rival = "unserializable", serial
	s := newStage(t, onPostgres, flows)
	s.start(1)
	f := newFleet(s, 2, workerSettings{})

	want := scaled(2, 8)
	conflicts := func(text string) (n int) {
		for _, log := range f.logs {
			n += len(grep(log, text))
		}
		return n
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	other := rand.New(rand.NewPCG(rng.Uint64(), 0))
	crossed, updated := make(chan int64, 1), make(chan int64, 1)
	go func() {
		crossed <- s.rival(ctx, rng, 800*time.Millisecond, `update chaos_total set n = n + 1 where id = 2`, `update chaos_total set n = n + 1 where id = 1`)
	}()
	go func() {
		updated <- s.rival(ctx, other, 400*time.Millisecond, `update chaos_total set n = n + 1 where id = 3`)
	}()
	s.within(patience, "conflicts", func() bool {
		return s.number(unfinished) == 0 || conflicts("40P01") >= want && conflicts("40001") >= want
	})
	t.Logf("%d deadlocks, %d serialization failures", conflicts("40P01"), conflicts("40001"))
	require.GreaterOrEqual(t, conflicts("40P01"), want)
	require.GreaterOrEqual(t, conflicts("40001"), want)
	cancel()
	crossings, updates := <-crossed, <-updated
	s.finished(patience)
	s.exact()
	batches := flow.Limit / int64(flow.Batch)
	require.Equal(t, batches+crossings, s.number(`select n from chaos_total where id = 1`))
	require.Equal(t, batches+crossings, s.number(`select n from chaos_total where id = 2`))
	require.Equal(t, batches+updates, s.number(`select n from chaos_total where id = 3`))
}

// rival runs transactions of these statements, which conflict with the flows', until ctx is done.
// It returns how many were committed. It pauses in between: a conflict in every try would use up
// the flows' attempts.
func (s *stage) rival(ctx context.Context, rng *rand.Rand, most time.Duration, statements ...string) (committed int64) {
	for ctx.Err() == nil {
		if s.rivalTx(ctx, statements...) == nil {
			committed++
		}
		pause(ctx, time.Duration(rng.Int64N(int64(most))))
	}
	return committed
}

// rivalTx runs statements in a transaction, with a pause between them. In a deadlock, the flow's
// transaction is the victim.
func (s *stage) rivalTx(ctx context.Context, statements ...string) error {
	ctx = context.WithoutCancel(ctx)
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{})
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // it may be committed
	if _, err := tx.ExecContext(ctx, `set local deadlock_timeout = '1h'`); err != nil {
		return err
	}
	for i, statement := range statements {
		if i > 0 {
			pause(ctx, 100*time.Millisecond)
		}
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return tx.Commit()
}
