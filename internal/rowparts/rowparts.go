// Package rowparts writes the rows of a batch of which a database has refused some, down to those
// that it refuses.
package rowparts

import (
	"context"
	"errors"

	"github.com/activedataflow/dataflow"
)

// Config says how rows are written.
type Config[T any] struct {
	// Write writes some of the rows. If it fails, the transaction is as it was before, or the error is an
	// [EndedError].
	Write func(ctx context.Context, rows []T) error
	// OfRows is that of [Divisible].
	OfRows func(err error) bool
	// TooMuch reports whether an error is about how many rows are written at once. If it is that of one row,
	// that row is no bad one. Nil: there is no such error.
	TooMuch func(err error) bool
}

// EndedError says that a transaction has ended. What is written after that is written outside of it.
type EndedError struct{ Err error }

// Error returns the text of the error that ended the transaction.
func (e *EndedError) Error() string { return e.Err.Error() }

// Unwrap returns the error that ended the transaction.
func (e *EndedError) Unwrap() error { return e.Err }

// Divisible reports whether an error is about the rows that were written, so that others may be accepted: one
// of the engine, or of the database by ofRows.
func Divisible(err error, ofRows func(error) bool) bool {
	var ended *EndedError
	return !dataflow.IsPermanent(err) && !errors.As(err, &ended) && (ofEngine(err) || ofRows(err))
}

func ofEngine(err error) bool {
	var row *dataflow.RowError
	var record *dataflow.RecordError
	return errors.As(err, &row) || errors.As(err, &record)
}

// Again writes rows in parts, after they were refused as a whole for the cause, which is Divisible. inTx
// calls its function in a transaction, and commits that unless the function fails. If rows are refused, none is
// written, and Again returns a [dataflow.RowError] for each of them, joined.
func Again[T any](ctx context.Context, c *Config[T], rows []T, cause error, inTx func(divide func() error) error) error {
	var refused []error
	err := inTx(func() error {
		w := &writer[T]{Config: c, rows: rows}
		if err := w.divide(ctx, 0, len(rows), cause); err != nil {
			return err
		}
		refused = w.refused
		return errors.Join(refused...)
	})
	if refused != nil {
		return errors.Join(refused...)
	}
	return err
}

type writer[T any] struct {
	*Config[T]
	rows    []T
	refused []error // a RowError for each
}

// divide writes rows[from:to], of which cause says that they are refused as a whole.
func (w *writer[T]) divide(ctx context.Context, from, to int, cause error) error {
	var e *dataflow.RowError
	named := errors.As(cause, &e) && e.Row >= 0 && e.Row < to-from
	if to-from == 1 {
		return w.refuse(from, cause)
	}
	if !named {
		return w.each(ctx, from, from+(to-from)/2, to)
	}
	row := from + e.Row
	if !e.Alone {
		return w.each(ctx, from, row, row+1, to)
	}
	if err := w.each(ctx, from, row); err != nil {
		return err
	}
	if err := w.refuse(row, cause); err != nil {
		return err
	}
	return w.each(ctx, row+1, to)
}

// each writes the rows between each two places.
func (w *writer[T]) each(ctx context.Context, places ...int) error {
	for i, to := range places[1:] {
		from := places[i]
		if from == to {
			continue
		}
		err := w.Write(ctx, w.rows[from:to])
		if err == nil {
			continue
		}
		if !Divisible(err, w.OfRows) {
			return err
		}
		if err := w.divide(ctx, from, to, err); err != nil {
			return err
		}
	}
	return nil
}

// refuse notes a row that is refused alone.
func (w *writer[T]) refuse(row int, err error) error {
	var e *dataflow.RowError
	switch {
	case errors.As(err, &e):
		err = e.Err
	case !ofEngine(err) && w.TooMuch != nil && w.TooMuch(err):
		return err
	}
	w.refused = append(w.refused, &dataflow.RowError{Row: row, Alone: true, Err: err})
	return nil
}
