package pgtable

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// divisible reports whether an error concerns the written rows, so that parts of them may
// be accepted.
func divisible(err error) bool {
	var row *dataflow.RowError
	var record *dataflow.RecordError
	return !dataflow.IsPermanent(err) &&
		(errors.As(err, &row) || errors.As(err, &record) || sqlstate.Is(err, sqlstate.Record, sqlstate.Batch))
}

// parts writes rows in parts, down to those that are refused. Whatever fails leaves the
// transaction as it was.
type parts[T any] struct {
	write   func(ctx context.Context, rows []T) error
	rows    []T
	refused []error // a RowError for each
}

// checkAll checks the constraints that the commit would check, and leaves them deferred.
const checkAll = "savepoint dataflow_check; set constraints all immediate; rollback to savepoint dataflow_check; release savepoint dataflow_check"

// newParts writes rows in a transaction. If late, the commit has refused the batch: each
// part is checked as the commit does.
func newParts[T any](tx pgx.Tx, to rowWriter[T], rows []T, late bool) *parts[T] {
	return &parts[T]{rows: rows, write: func(ctx context.Context, rows []T) error {
		err := withSavepoint(ctx, tx, func() error {
			err := to.writeRows(ctx, tx, rows)
			if err == nil && late {
				_, err = tx.Exec(ctx, checkAll)
			}
			return err
		})
		if err != nil {
			delete(tx.Conn().PgConn().CustomData(), checkedMark) // a lock on the table may be gone
		}
		return err
	}}
}

// divide writes rows[from:to], of which cause says that they are refused as a whole.
func (p *parts[T]) divide(ctx context.Context, from, to int, cause error) error {
	var e *dataflow.RowError
	named := errors.As(cause, &e) && e.Row >= 0 && e.Row < to-from
	if to-from == 1 {
		return p.refuse(from, cause)
	}
	if !named {
		return p.each(ctx, from, from+(to-from)/2, to)
	}
	row := from + e.Row
	if !e.Alone {
		return p.each(ctx, from, row, row+1, to)
	}
	if err := p.each(ctx, from, row); err != nil {
		return err
	}
	if err := p.refuse(row, cause); err != nil {
		return err
	}
	return p.each(ctx, row+1, to)
}

// each writes the rows between each two places.
func (p *parts[T]) each(ctx context.Context, places ...int) error {
	for i, to := range places[1:] {
		from := places[i]
		if from == to {
			continue
		}
		err := p.write(ctx, p.rows[from:to])
		if err == nil {
			continue
		}
		if !divisible(err) {
			return err
		}
		if err := p.divide(ctx, from, to, err); err != nil {
			return err
		}
	}
	return nil
}

// refuse notes a row that is refused alone. One that is too much for a statement is no bad
// row.
func (p *parts[T]) refuse(row int, err error) error {
	var e *dataflow.RowError
	var record *dataflow.RecordError
	switch {
	case errors.As(err, &e):
		err = e.Err
	case !errors.As(err, &record) && sqlstate.Is(err, sqlstate.Batch):
		return err
	}
	p.refused = append(p.refused, &dataflow.RowError{Row: row, Alone: true, Err: err})
	return nil
}
