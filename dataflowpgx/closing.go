package dataflowpgx

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow"
)

// closingTx is a transaction that can send its last statement together with its commit, which saves a
// round trip. The last statement is River's insert of a job. River 0.51.1 tells the queue's listeners of the job
// after that. Here it does so when the job is committed already.
type closingTx struct {
	pgx.Tx

	closing   bool             // River's next insert of jobs is the last statement
	sent      pgx.BatchResults // of the last statement and the commit; nil: not sent
	settled   bool             // the answer to the commit is there
	committed bool
	err       error // of the commit
}

// Closing implements dataflow.ClosingTx.
func (h txHandle) Closing() dataflow.Tx {
	if tx, ok := h.tx.(*closingTx); ok {
		tx.closing = true
	}
	return h
}

const (
	riverInsert = "-- name: JobInsertFastMany " // how River's insert of jobs begins
	riverNotify = "-- name: PGNotifyMany "
)

// Query sends the commit with River's insert of jobs, if that is to be the last statement.
func (c *closingTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	switch {
	case c.sent != nil:
		return nil, fmt.Errorf("the transaction was committed with the statement before this: %w", pgx.ErrTxClosed)
	case !c.closing || !strings.HasPrefix(sql, riverInsert):
		return c.Tx.Query(ctx, sql, args...)
	}
	var b pgx.Batch
	b.Queue(sql, args...)
	b.Queue(sqlCommit)
	c.sent = c.SendBatch(ctx, &b)
	return c.sent.Query()
}

// Exec lets River tell of a job that is committed. It keeps an error of that: River finds the job by its poll too.
func (c *closingTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if c.sent == nil {
		return c.Tx.Exec(ctx, sql, args...)
	}
	if err := c.settle(); err != nil {
		return pgconn.CommandTag{}, err
	}
	if !strings.HasPrefix(sql, riverNotify) {
		return pgconn.CommandTag{}, fmt.Errorf("the transaction was committed with the statement before this: %w", pgx.ErrTxClosed)
	}
	tag, _ := c.Tx.Exec(ctx, sql, args...)
	return tag, nil
}

// settle waits for the answer to the commit that was sent. The rows of the statement before it must have been read.
func (c *closingTx) settle() error {
	if c.settled {
		return c.err
	}
	c.settled = true
	tag, err := c.sent.Exec()
	if closeErr := c.sent.Close(); err == nil {
		err = closeErr
	}
	if err == nil && tag.String() != "COMMIT" {
		err = pgx.ErrTxCommitRollback
	}
	c.committed, c.err = err == nil, err
	return err
}

// Commit waits for the commit that was sent, or sends one.
func (c *closingTx) Commit(ctx context.Context) error {
	if c.sent == nil {
		return c.Tx.Commit(ctx)
	}
	if err := c.settle(); err != nil {
		return err
	}
	closeCommitted(ctx, c.Tx)
	return nil
}

// Rollback gives the connection back. It undoes nothing that the server has committed.
func (c *closingTx) Rollback(ctx context.Context) error {
	if c.sent != nil && c.settle() == nil {
		closeCommitted(ctx, c.Tx)
	}
	return c.Tx.Rollback(ctx)
}
