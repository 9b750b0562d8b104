package dataflowpgx

import (
	"context"
	"errors"
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

	closing bool             // River's next insert of jobs is the last statement
	stored  string           // sqlJobStored
	jobID   int64            // of that job
	sent    pgx.BatchResults // of the last statement and the commit; nil: not sent
	settled bool             // the answer to the commit is there
	err     error            // of the commit
}

// Closing implements dataflow.ClosingTx.
func (h txHandle) Closing() dataflow.Tx {
	if tx, ok := h.tx.(*closingTx); ok {
		tx.closing = tx.jobID != 0
	}
	return h
}

const (
	riverInsert = "-- name: JobInsertFastMany " // how River's insert of jobs begins
	riverNotify = "-- name: PGNotifyMany "
)

// sqlJobStored fails unless there is the job, because its text is no boolean. So the commit is skipped if a trigger of
// the service has dropped the row.
const sqlJobStored = `select (case when exists (select from {s}river_job where id = $1) then 'true' else 'dataflow: no job' end)::boolean`

// Query sends the commit with River's insert of jobs, if that is to be the last statement. What River asks after
// that, it asks outside of the transaction.
func (c *closingTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if c.sent != nil || !c.closing || !strings.HasPrefix(sql, riverInsert) {
		return c.Tx.Query(ctx, sql, args...)
	}
	var b pgx.Batch
	b.Queue(sql, args...)
	b.Queue(c.stored, c.jobID)
	b.Queue(sqlCommit)
	c.sent = c.SendBatch(ctx, &b)
	rows, err := c.sent.Query()
	return closingRows{Rows: rows, tx: c}, err
}

// closingRows are those of the last statement. The answer to the commit comes after them.
type closingRows struct {
	pgx.Rows

	tx *closingTx
}

func (r closingRows) Close() {
	r.Rows.Close()
	_ = r.tx.settle() // Commit returns it
}

// Exec keeps an error of River's note about a job that is committed: River finds the job by its poll too. It sends no
// note about a job that is not: Commit says why.
func (c *closingTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	note := c.settled && strings.HasPrefix(sql, riverNotify)
	if note && c.err != nil {
		return pgconn.CommandTag{}, nil //nolint:nilerr // see above
	}
	tag, err := c.Tx.Exec(ctx, sql, args...)
	if note {
		err = nil
	}
	return tag, err
}

// settle waits for the answer to the commit that was sent.
func (c *closingTx) settle() error {
	if c.settled {
		return c.err
	}
	c.settled = true
	if _, c.err = c.sent.Exec(); c.err != nil { // the job is not there, or was refused
		_ = c.sent.Close() // it has the same error
		return c.err
	}
	c.err = commitAnswer(c.sent)
	return c.err
}

// explain says what is known of the commit, if something failed after it was sent.
func (c *closingTx) explain(err error) error {
	var pe *pgconn.PgError
	switch {
	case err == nil || c.sent == nil:
		return err
	case c.settle() == nil:
		return fmt.Errorf("the run and its River job are committed, but something failed after that: %w", err)
	case errors.As(c.err, &pe), errors.Is(c.err, pgx.ErrTxCommitRollback): // nothing was committed
		return err
	default:
		return fmt.Errorf("it is not known whether the run and its River job were committed: %w", err)
	}
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
