package pgtable

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// Insert adds each record to a table, in the transaction that commits the
// checkpoint. It is refused for a source without a cursor, because every run
// would add all records again.
//
// Columns that T has no field for get their default.
func Insert[T any](table string) dataflow.Target[T] {
	return dataflow.ToTx[T](newSink[T](table, false, nil))
}

// Upsert adds each record to a table, or replaces the values of T's columns in
// the row that has the same key. It does so in the transaction that commits the
// checkpoint. The table needs a unique index, or a primary key, of exactly the
// key columns; a key must not be NULL.
//
// Of several records of a batch with the same key, the last one counts. A row that
// has the same values already is not written, and its record counts as redundant;
// of those that are written, the counters tell how many replaced a row
// ([dataflow.Counters].Updated).
func Upsert[T any](table string, key ...string) dataflow.Target[T] {
	return dataflow.ToTx[T](upsertSink[T]{newSink[T](table, true, key)})
}

// sink writes small batches with one statement, whose parameters are arrays, one
// for each column:
//
//	insert into t (a, b) select … from unnest($1::bigint[], $2::text[]) …
//
// That takes all types. Larger batches of plain types go by COPY; see [copier].
type sink[T any] struct {
	table     string
	name      pgx.Identifier
	nameErr   error
	upsert    bool
	key       []string
	fields    *rowmap.Plan
	fieldsErr error
	copyFrom  int // the least number of rows that are copied

	refused atomic.Int32 // batches by COPY, one after the other, for no reason that is in the rows

	mu         sync.Mutex
	statements map[string]*statement // by database
}

// mostRefused is after how many batches a sink does without COPY.
const mostRefused = 3

func newSink[T any](table string, upsert bool, key []string) *sink[T] {
	s := &sink[T]{table: table, upsert: upsert, key: slices.Clone(key), copyFrom: copyFrom, statements: make(map[string]*statement)}
	s.name, s.nameErr = rowmap.SplitTable(table)
	s.fields, s.fieldsErr = rowmap.Of(reflect.TypeFor[T](), isValue)
	return s
}

// AppendOnly is true for Insert.
func (s *sink[T]) AppendOnly() bool { return !s.upsert }

// Pipelined is true for a table without triggers, rules and foreign keys to itself, once
// a batch was written to it. A statement that meets a key that the batch before it has written waits
// for the commit of that, and goes by what was committed.
func (s *sink[T]) Pipelined() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.statements {
		if !st.alone {
			return false
		}
	}
	return len(s.statements) > 0
}

func (s *sink[T]) Describe() dataflow.Description {
	if s.upsert {
		return dataflow.Description{Type: "pgtable.upsert", Detail: map[string]any{"table": s.table, "key": s.key}}
	}
	return dataflow.Description{Type: "pgtable.insert", Detail: map[string]any{"table": s.table}}
}

func (s *sink[T]) Validate() error {
	var errs []error
	if s.nameErr != nil {
		errs = append(errs, &dataflow.ConfigError{Field: "table", Reason: s.nameErr.Error()})
	}
	if s.fieldsErr != nil {
		errs = append(errs, &dataflow.ConfigError{Field: "T", Reason: s.fieldsErr.Error()})
	}
	if s.upsert {
		errs = append(errs, rowmap.ValidateKey(s.key, s.fields))
	}
	return errors.Join(errs...)
}

// WriteTx writes a batch.
func (s *sink[T]) WriteTx(ctx context.Context, rows []T) error {
	return s.writeTx(ctx, rows, nil, false)
}

// WritePartTx writes a part of a batch, of which an insert has nothing to tell.
func (s *sink[T]) WritePartTx(ctx context.Context, rows []T, _ []dataflow.RowResult) error {
	return s.writeTx(ctx, rows, nil, true)
}

// writeTx writes a batch. results may be nil. A part of one that is refused leaves the
// transaction as it was.
func (s *sink[T]) writeTx(ctx context.Context, rows []T, results []dataflow.RowResult, part bool) error {
	if err := s.Validate(); err != nil {
		return dataflow.Permanent(err)
	}
	tx, ok := dataflowpgx.TxFrom(ctx)
	if !ok {
		return dataflow.Permanent(fmt.Errorf("pgtable writes to table %s in the transaction of a Postgres client, and there is none (use package sqltable with SQLite): %w", s.table, dataflow.ErrTxMismatch))
	}
	if len(rows) == 0 {
		return nil
	}
	if err := s.write(ctx, tx, rows, results, part); err != nil {
		return fmt.Errorf("table %s: %w", s.table, err)
	}
	return nil
}

func (s *sink[T]) write(ctx context.Context, tx pgx.Tx, rows []T, results []dataflow.RowResult, part bool) error {
	database := databaseOf(tx)
	st, err := s.statement(ctx, tx, database)
	if err != nil {
		return err
	}
	if st.copier != nil && len(rows) >= s.copyFrom {
		result, err := st.copy(ctx, tx, reflect.ValueOf(rows), results, part)
		switch {
		case result.refused != nil:
			return &dataflow.RowError{Row: result.line - 1, Alone: true, Err: s.explain(result.refused)}
		case result.accepted:
			s.refused.Store(0)
		}
		if result.accepted || err != nil {
			return err
		}
		if err := s.tryRow(ctx, tx, st, rows, result.line-1); err != nil {
			return err
		}
	}
	args, err := st.encode(tx.Conn().TypeMap(), reflect.ValueOf(rows))
	if err != nil {
		return err
	}
	write := func() error {
		if results != nil && st.results != "" {
			return st.queryResults(ctx, tx, args, results)
		}
		_, err := tx.Exec(ctx, st.sql, args...)
		return err
	}
	if part {
		err = behindSavepoint(ctx, tx, write)
	} else {
		err = write()
	}
	if err != nil {
		s.forget(database) // the table may have been altered
		return s.explain(err)
	}
	if st.copier != nil && st.copier.stale.Load() {
		// What was wrong was not the rows. It may have been the table as it was.
		s.forget(database)
		s.refused.Add(1)
	}
	return nil
}

// tryRow tries a row alone that COPY was refused at, and takes it back. The error names
// the row; it is nil if there is nothing wrong with it.
func (s *sink[T]) tryRow(ctx context.Context, tx pgx.Tx, st *statement, rows []T, row int) error {
	if row < 0 || row >= len(rows) {
		return nil
	}
	args, err := st.encode(tx.Conn().TypeMap(), reflect.ValueOf(rows[row:row+1]))
	if err != nil {
		return nil //nolint:nilerr // it comes up again, with the right number
	}
	err = behindSavepoint(ctx, tx, func() error {
		if _, err := tx.Exec(ctx, st.sql, args...); err != nil {
			return err
		}
		return errAccepted
	})
	var pg *pgconn.PgError
	switch {
	case errors.Is(err, errAccepted):
		return nil
	case !errors.As(err, &pg) || !refusal(pg.Code):
		return err
	default:
		st.copier.stale.Store(false) // it was the row
		return &dataflow.RowError{Row: row, Alone: pg.Code != "23503", Err: s.explain(err)}
	}
}

// errAccepted has a row taken back that is not refused.
var errAccepted = errors.New("the row is accepted")

// behindSavepoint calls fn, and takes back what it has done if it returns an error.
func behindSavepoint(ctx context.Context, tx pgx.Tx, fn func() error) error {
	if _, err := tx.Exec(ctx, "savepoint dataflow_copy"); err != nil {
		return err
	}
	if err := fn(); err != nil {
		if _, undoErr := tx.Exec(ctx, backToBefore); undoErr != nil {
			return errors.Join(err, undoErr)
		}
		return err
	}
	_, err := tx.Exec(ctx, "release savepoint dataflow_copy")
	return err
}

// databaseOf tells databases apart. The user counts, because the search path may
// depend on it.
func databaseOf(tx pgx.Tx) string {
	c := tx.Conn().Config()
	return fmt.Sprintf("%q %d %q %q %q", c.Host, c.Port, c.Database, c.User, c.RuntimeParams["search_path"])
}

// statement returns the statement for a database, which is made once.
func (s *sink[T]) statement(ctx context.Context, tx pgx.Tx, database string) (*statement, error) {
	s.mu.Lock()
	st := s.statements[database]
	s.mu.Unlock()
	if st != nil {
		return st, nil
	}
	to, err := lookUp(ctx, tx, s.name)
	if err != nil {
		return nil, err
	}
	st, err = newStatement(s.name, s.fields, to, s.upsert, s.key)
	if err != nil {
		return nil, err
	}
	if s.refused.Load() >= mostRefused {
		st.copier = nil
	}
	s.mu.Lock()
	s.statements[database] = st
	s.mu.Unlock()
	return st, nil
}

func (s *sink[T]) forget(database string) {
	s.mu.Lock()
	delete(s.statements, database)
	s.mu.Unlock()
}

// explain adds to Postgres's error what it does not say by itself.
func (s *sink[T]) explain(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	switch pg.Code {
	case "42P10":
		columns := rowmap.QuoteAll(s.key, ", ")
		return dataflow.Permanent(fmt.Errorf("it has no unique index of exactly the key columns (%s): create unique index on %s (%s): %w", columns, s.name.Sanitize(), columns, err))
	case "23505", "23503", "22003":
		// These details are about the values at fault alone. Others hold the
		// whole row.
		if pg.Detail != "" {
			return fmt.Errorf("%w: %s", err, pg.Detail)
		}
	}
	return err
}
