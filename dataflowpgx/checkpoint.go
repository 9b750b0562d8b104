package dataflowpgx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

func (q *queries) RunCheckpoint(ctx context.Context, p *dataflow.RunCheckpointParams) (dataflow.LeaseStatus, error) {
	var b pgx.Batch
	letters := q.queueCheckpoint(&b, p, sqlRunProgress, sqlCheckpointMove)
	results := q.db.SendBatch(ctx, &b)
	status := dataflow.LeaseStatus{RunID: p.RunID, Held: true}
	if err := letters.answers(results); err != nil {
		return status, errors.Join(err, results.Close())
	}
	err := results.QueryRow().Scan(&status.CancelRequested)
	if errors.Is(err, pgx.ErrNoRows) {
		status.Held, err = false, nil
	}
	tag, moveErr := results.Exec()
	status.Held = status.Held && tag.RowsAffected() == 1
	return status, letters.lacks(inTheWay(errors.Join(err, moveErr, results.Close())))
}

// inTheWay marks the error of a checkpoint's own statements as passing if they took too long. Being small, they
// waited for something, such as a lock: a smaller batch would not help.
func inTheWay(err error) error {
	if decision, ok := sqlstate.Of(err); ok && decision == sqlstate.Batch {
		return dataflow.Transient(err)
	}
	return err
}

// queueCheckpoint queues the statements of a checkpoint: those of its dead letters, which
// it returns, then progress, then move.
func (q *queries) queueCheckpoint(b *pgx.Batch, p *dataflow.RunCheckpointParams, progress, move string) (letters queuedLetters) {
	letters = q.queueLetters(b, p.Letters)
	d, from, cursor := p.Delta, storableJSON(letters.narrow, p.From), storableJSON(letters.narrow, p.Cursor)
	c := driverkit.CheckpointOf(&dataflow.Run{Scope: p.Scope, Slot: p.Slot})
	b.Queue(q.store.text(progress), p.RunID, p.LeaseNumber,
		d.Read, d.Written, d.Redundant, d.Filtered, d.Dropped, d.DeadLettered, p.Total, from, cursor, p.Lease.Microseconds(), d.Updated, d.ReadAgain)
	b.Queue(q.store.text(move), p.FlowID, p.Seq, cursor,
		d.Read, d.Written+p.Loaded, d.Redundant, d.Filtered, d.Dropped, d.DeadLettered, c.Partition, d.Updated, p.RunID, c.Scope, d.ReadAgain)
	return letters
}

// BeginCheckpoint begins a transaction that sends its checkpoint together with its commit.
// This saves a round trip. It also leaves no moment between the two in which the process
// could stall with the run locked.
//
// A worker that has lost the run commits nothing: the statements of its checkpoint fail, and
// the server skips the statements sent after them.
func (s *store) BeginCheckpoint(ctx context.Context) (context.Context, dataflow.CheckpointTx, error) {
	tx, ended, err := s.beginTx(ctx)
	if err != nil {
		return ctx, nil, fmt.Errorf("begin transaction: %w", lostAtBegin(ctx, err))
	}
	return context.WithValue(ctx, txKey{}, tx), &checkpointTx{store: s, tx: tx, ended: ended}, nil
}

// checkpointTx implements dataflow.CheckpointTx.
type checkpointTx struct {
	store *store
	tx    pgx.Tx
	ended func() // lets another transaction begin
}

func (c *checkpointTx) Unwrap() any { return c.tx }

func (c *checkpointTx) Rollback(ctx context.Context, cause error) error {
	defer c.ended()
	defer c.giveUp(ctx)
	return sqlstate.Explain(lostInTx(ctx, c.tx, c.store.pool.seen(cause)))
}

// giveUp rolls back and ignores the caller's cancellation, so that the connection goes back
// to the pool clean. It drops the rollback's error: the error before it says more.
func (c *checkpointTx) giveUp(ctx context.Context) { _ = c.tx.Rollback(context.WithoutCancel(ctx)) }

// Commit sends the checkpoint and the commit.
func (c *checkpointTx) Commit(ctx context.Context, p *dataflow.RunCheckpointParams) (answer func() (dataflow.LeaseStatus, error)) {
	var b pgx.Batch
	letters := (&queries{store: c.store, db: c.tx}).queueCheckpoint(&b, p, sqlProgressFence, sqlMoveFence)
	b.Queue(sqlCommit)
	results := c.tx.SendBatch(ctx, &b)
	return func() (dataflow.LeaseStatus, error) {
		defer c.ended()
		status, err := answerOf(ctx, results, letters)
		if status.RunID = p.RunID; err != nil || !status.Held {
			c.giveUp(ctx)
			return status, c.store.pool.seen(err)
		}
		closeCommitted(ctx, c.tx)
		return status, nil
	}
}

// answerOf waits for the answer to a checkpoint, with the statements for its dead letters,
// and its commit.
func answerOf(ctx context.Context, results pgx.BatchResults, letters queuedLetters) (dataflow.LeaseStatus, error) {
	status := dataflow.LeaseStatus{Held: true}
	var moved bool
	err := letters.answers(results)
	if err == nil {
		err = inTheWay(results.QueryRow().Scan(&status.CancelRequested))
	}
	if err == nil {
		err = inTheWay(results.QueryRow().Scan(&moved))
	}
	if err != nil {
		_ = results.Close() // it has the same error
		if isFence(err) {
			return dataflow.LeaseStatus{}, nil
		}
		// If the connection broke, the commit may still have taken place.
		return dataflow.LeaseStatus{}, sqlstate.Explain(fmt.Errorf("checkpoint: %w", letters.lacks(lostAtCommit(ctx, err))))
	}
	if err := commitAnswer(results); err != nil {
		return dataflow.LeaseStatus{}, sqlstate.Explain(fmt.Errorf("commit transaction: %w", lostAtCommit(ctx, err)))
	}
	return status, nil
}

// commitAnswer waits for the answer to a commit that was sent last of several statements, whose answers have been read.
// A server that ends the connection right after the answer has committed.
func commitAnswer(results pgx.BatchResults) error {
	tag, err := results.Exec()
	closeErr := results.Close()
	switch {
	case err != nil:
		return err
	case tag.String() == "COMMIT":
		return nil
	default:
		return cmp.Or(closeErr, pgx.ErrTxCommitRollback)
	}
}

// sqlCommit differs from the text that pgx uses for a commit. With the same text,
// closeCommitted would make pgx drop the prepared statement each time and prepare it again.
const sqlCommit = "commit work"

// closeCommitted closes a transaction that the server has already committed, and returns its
// connection to the pool. With a context that is done, Commit does only that.
func closeCommitted(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	_ = tx.Commit(ctx) // the error says that no commit was sent, as intended
}

// isFence reports whether a statement of a checkpoint has not found its row.
func isFence(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == sqlstate.InvalidTextValue && strings.Contains(pe.Message, fencedMark)
}
