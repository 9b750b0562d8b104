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
	"github.com/activedataflow/dataflow/internal/driverkit"
	"github.com/activedataflow/dataflow/internal/rowmap"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// Insert adds each record to a table, in the transaction that commits the
// checkpoint. It is refused for a source without a cursor, because every run would
// add all records again.
//
// Columns without a field in T get their default. The server of a foreign table commits before the
// client's, and after a crash between the two commits a batch is there twice: use [InsertTo].
func Insert[T any](table string) dataflow.Target[T] {
	return dataflow.ToTx[T](newSink[T](table, false, nil))
}

// Upsert adds each record to a table. If a row with the same key exists, Upsert
// replaces the values of T's columns in that row. It does so in the transaction
// that commits the checkpoint. The table needs a primary key or a unique index of
// exactly the key columns. A key must not be NULL.
//
// If several records of a batch have the same key, the last one counts. A row that
// already has the same values is not written, and its record counts as redundant.
// [dataflow.Counters].Updated counts the written records that replaced a row.
func Upsert[T any](table string, key ...string) dataflow.Target[T] {
	return dataflow.ToTx[T](reporting(newSink[T](table, true, key)))
}

// tableSink writes small batches with one statement, whose parameters are arrays, one
// for each column:
//
//	insert into t (a, b) select … from unnest($1::bigint[], $2::text[]) …
//
// This works for all types. Larger batches of plain types are written by COPY; see
// [copier].
type tableSink struct {
	table    string
	name     pgx.Identifier
	nameErr  error
	tableErr error // of [Table]
	way
	fields    *rowmap.Plan
	fieldsErr error
	copyFrom  int // the smallest number of rows to copy

	refused atomic.Int32 // the number of successive COPY batches rejected for a reason other than the rows

	mu         sync.Mutex
	kind       string                // of the relation, as it was last looked up
	statements map[string]*statement // by database, see databaseOf
}

// mostRefused is the number of rejected batches after which a sink stops using
// COPY.
const mostRefused = 3

// tablePowers are the powers of a tableSink.
type tablePowers interface {
	dataflow.Validator
	dataflow.Describer
	dataflow.AppendOnly
	dataflow.Pipelined
}

// sink is a tableSink for records of type T.
type sink[T any] struct {
	tablePowers
	to *tableSink
}

func newSink[T any](table string, upsert bool, key []string) *sink[T] {
	to := newTableSink(reflect.TypeFor[T](), table, upsert, key)
	return &sink[T]{tablePowers: to, to: to}
}

// WriteTx writes a batch.
func (s *sink[T]) WriteTx(ctx context.Context, rows []T) error {
	return s.to.writeTx(ctx, reflect.ValueOf(rows), nil, false)
}

// WritePartTx writes a part of a batch. An insert reports no results.
func (s *sink[T]) WritePartTx(ctx context.Context, rows []T, _ []dataflow.RowResult) error {
	return s.to.writeTx(ctx, reflect.ValueOf(rows), nil, true)
}

func newTableSink(record reflect.Type, table string, upsert bool, key []string) *tableSink {
	s := &tableSink{table: table, way: way{upsert: upsert, key: slices.Clone(key)}, copyFrom: copyFrom, statements: make(map[string]*statement)}
	s.name, s.nameErr = rowmap.SplitTable(table)
	s.fields, s.fieldsErr = rowmap.Of(record, isValue)
	return s
}

// AppendOnly is true for Insert.
func (s *tableSink) AppendOnly() bool { return !s.upsert }

// Pipelined is true for a table without triggers, rules and foreign keys to itself,
// once a batch was written to it. A statement that meets a key of the batch before
// waits for that batch's commit, and then sees the committed row. An upsert that looks
// first which rows exist awaits that commit itself; see [statement.awaitPredecessor].
func (s *tableSink) Pipelined() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.statements {
		if !st.alone {
			return false
		}
	}
	return len(s.statements) > 0
}

func (s *tableSink) Describe() dataflow.Description {
	if s.upsert {
		detail := map[string]any{"table": s.table, "key": s.key}
		if s.newer != "" {
			detail["only_if_newer"] = s.newer
		}
		return dataflow.Description{Type: "pgtable.upsert", Detail: detail}
	}
	return dataflow.Description{Type: "pgtable.insert", Detail: map[string]any{"table": s.table}}
}

func (s *tableSink) Validate() error {
	errs := []error{s.tableErr}
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

// writeTx writes a batch. results may be nil. A rejected part leaves the
// transaction as it was.
func (s *tableSink) writeTx(ctx context.Context, rows reflect.Value, results []dataflow.RowResult, part bool) error {
	if err := s.Validate(); err != nil {
		return dataflow.Permanent(err)
	}
	tx, ok := dataflowpgx.TxFrom(ctx)
	if !ok {
		return dataflow.Permanent(fmt.Errorf("pgtable needs a client on Postgres to write to table %s in its transaction (use package sqltable with SQLite): %w", s.table, dataflow.ErrTxMismatch))
	}
	if rows.Len() == 0 {
		return nil
	}
	if err := s.write(ctx, tx, rows, results, part); err != nil {
		return fmt.Errorf("table %s: %w", s.table, driverkit.Ended(ctx, err))
	}
	return nil
}

func (s *tableSink) write(ctx context.Context, tx pgx.Tx, rows reflect.Value, results []dataflow.RowResult, part bool) error {
	database := databaseOf(tx)
	st, err := s.statement(ctx, tx, database)
	if err != nil {
		return err
	}
	if st.check == "" {
		return s.writeWith(ctx, tx, st, rows, results, part)
	}
	write := func() error {
		if err := s.writeWith(ctx, tx, st, rows, results, part); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, st.check); err != nil {
			s.forget(database) // the constraints may have changed
			return s.explain(err)
		}
		return nil
	}
	if !part {
		return write()
	}
	err = withSavepoint(ctx, tx, write)
	if err != nil {
		delete(tx.Conn().PgConn().CustomData(), checkedMark) // the lock on the table is gone
	}
	return err
}

// writeWith writes rows by a statement. See write.
func (s *tableSink) writeWith(ctx context.Context, tx pgx.Tx, st *statement, rows reflect.Value, results []dataflow.RowResult, part bool) error {
	database := databaseOf(tx)
	if err := st.checkClock(rows); err != nil {
		return s.refusedByNow(ctx, tx, st, err)
	}
	if st.copier != nil && (rows.Len() >= s.copyFrom || st.copier.isHeavy(rows)) {
		result, err := st.copy(ctx, tx, rows, results, part)
		switch {
		case result.refused != nil:
			return &dataflow.RowError{Row: result.line - 1, Alone: true, Err: s.explain(result.refused)}
		case result.accepted:
			s.refused.Store(0)
		}
		if result.accepted || err != nil {
			return err
		}
		if err := st.awaitPredecessor(ctx); err != nil {
			return err
		}
		if err := s.tryRow(ctx, tx, st, rows, result.line-1); err != nil {
			return err
		}
	}
	args, err := st.encode(tx.Conn().TypeMap(), rows)
	if err != nil {
		return s.refusedByNow(ctx, tx, st, err)
	}
	if err := st.awaitPredecessor(ctx); err != nil {
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
		err = withSavepoint(ctx, tx, write)
	} else {
		err = write()
	}
	if err = staleIfAltered(err); err != nil {
		s.forget(database) // the table may have been altered
		if part && rows.Len() == 1 && !isStale(err) {
			err = nameColumn(ctx, tx, st, args, s.nameHolder(ctx, tx, st, args, err))
		}
		return s.explain(err)
	}
	if st.copier != nil && st.copier.stale.Load() {
		// COPY failed, but not because of the rows. The table may have changed.
		s.forget(database)
		s.refused.Add(1)
	}
	return nil
}

// tryRow writes alone the row at which COPY was rejected, and rolls it back. The
// error names the row; it is nil if the row is accepted.
func (s *tableSink) tryRow(ctx context.Context, tx pgx.Tx, st *statement, rows reflect.Value, row int) error {
	if row < 0 || row >= rows.Len() {
		return nil
	}
	args, err := st.encode(tx.Conn().TypeMap(), rows.Slice(row, row+1))
	if err != nil {
		return nil //nolint:nilerr // encoding the batch meets it again, with the right row number
	}
	err = withSavepoint(ctx, tx, func() error {
		if _, err := tx.Exec(ctx, st.sql, args...); err != nil {
			return staleIfAltered(err)
		}
		return errAccepted
	})
	var pg *pgconn.PgError
	switch {
	case errors.Is(err, errAccepted):
		return nil
	case isStale(err):
		s.forget(databaseOf(tx))
		return err
	case !errors.As(err, &pg) || !refusal(err):
		return err
	default:
		st.copier.stale.Store(false) // the row was the reason
		err = nameColumn(ctx, tx, st, args, s.nameHolder(ctx, tx, st, args, err))
		return &dataflow.RowError{Row: row, Alone: pg.Code != sqlstate.ForeignKeyViolation, Err: s.explain(err)}
	}
}

// errAccepted makes withSavepoint roll back a row that was accepted.
var errAccepted = errors.New("the row is accepted")

// withSavepoint calls fn in a savepoint, and rolls back to it if fn returns an
// error.
func withSavepoint(ctx context.Context, tx pgx.Tx, fn func() error) error {
	if _, err := tx.Exec(ctx, "savepoint dataflow_copy"); err != nil {
		return inTheWay(err)
	}
	if err := fn(); err != nil {
		_, undoErr := tx.Exec(ctx, backToBefore)
		return undone(err, undoErr)
	}
	_, err := tx.Exec(ctx, "release savepoint dataflow_copy")
	return inTheWay(err)
}

// undone returns the error of a part that was to be undone. If that failed too, nothing more can be written in the
// transaction: the attempt goes on at the last checkpoint.
func undone(err, undoErr error) error {
	if undoErr == nil {
		return err
	}
	return dataflow.Transient(fmt.Errorf("undo a part that was refused (%s): %w", err.Error(), undoErr))
}

// inTheWay marks the error of a small statement that took too long: it waited for something, or somebody has cancelled
// it. Fewer rows would not help. err may be nil.
func inTheWay(err error) error {
	if sqlstate.Is(err, sqlstate.Batch) {
		return dataflow.Transient(err)
	}
	return err
}

// databaseOf returns a key for the database of a transaction. It includes the user,
// because the search path may depend on the user, and whether the pool is [Plain].
func databaseOf(tx pgx.Tx) string {
	c := tx.Conn().Config()
	return fmt.Sprintf("%q %d %q %q %q %t", c.Host, c.Port, c.Database, c.User, c.RuntimeParams["search_path"], isPlain(tx.Conn()))
}

// statement returns the statement for a database, building it at the first call.
func (s *tableSink) statement(ctx context.Context, tx pgx.Tx, database string) (*statement, error) {
	s.mu.Lock()
	st := s.statements[database]
	s.mu.Unlock()
	if st != nil {
		return st, nil
	}
	to, err := lookUp(ctx, tx, s.name, s.key)
	if err != nil {
		return nil, err
	}
	st, err = newStatement(s.name, s.fields, to, s.way)
	if err != nil {
		return nil, err
	}
	if err := st.checkNewer(ctx, tx); err != nil {
		return nil, err
	}
	if s.refused.Load() >= mostRefused {
		st.copier = nil
	}
	s.mu.Lock()
	s.kind = to.kind
	s.statements[database] = st
	s.mu.Unlock()
	return st, nil
}

// refusedByNow is that of a statement, which it forgets if the table was altered.
func (s *tableSink) refusedByNow(ctx context.Context, tx pgx.Tx, st *statement, refused error) error {
	err := st.refusedByNow(ctx, tx, refused)
	if isStale(err) {
		s.forget(databaseOf(tx))
	}
	return err
}

func (s *tableSink) forget(database string) {
	s.mu.Lock()
	delete(s.statements, database)
	s.mu.Unlock()
}

// explain adds to Postgres's error what is missing from its text.
func (s *tableSink) explain(err error) error {
	err = staleIfAltered(err)
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	switch pg.Code {
	case sqlstate.FeatureNotSupported:
		if s.upsert && pg.Routine == "RewriteQuery" {
			return dataflow.Permanent(fmt.Errorf("the table has rules for insert or update, with which Postgres cannot upsert: replace the rules by triggers, or write with pgtable.Func: %w", err))
		}
		return sqlstate.Explain(err)
	case sqlstate.InvalidColumnReference:
		columns := rowmap.QuoteAll(s.key, ", ")
		s.mu.Lock()
		kind := s.kind
		s.mu.Unlock()
		switch kind {
		case "v":
			return dataflow.Permanent(fmt.Errorf("it is a view without a table that has a unique index of exactly the key columns (%s): upsert into a table, or write with pgtable.Func: %w", columns, err))
		case "f":
			return dataflow.Permanent(fmt.Errorf("it is a foreign table, into which Postgres cannot upsert: use pgtable.UpsertTo with its own database, or pgtable.Func: %w", err))
		case "m":
			return dataflow.Permanent(fmt.Errorf("it is a materialized view, whose rows only \"refresh materialized view\" changes: write to a table: %w", err))
		case "p":
			return fmt.Errorf("the table has no unique index of exactly the key columns (%s), among which the columns that partition the table must be: %s: %w", columns, createIndex(true, kind, s.name.Sanitize(), columns), err)
		}
		return fmt.Errorf("the table has no unique index of exactly the key columns (%s): %s: %w", columns, createIndex(true, kind, s.name.Sanitize(), columns), err)
	case sqlstate.NotInState:
		if s.upsert && pg.Routine == "ExecCheckIndexConstraints" {
			return fmt.Errorf("the unique constraint of the key (%s) is deferrable, by which Postgres cannot upsert: make it not deferrable, or put a unique index of the same columns in its place: %w", rowmap.QuoteAll(s.key, ", "), err)
		}
		return sqlstate.Explain(err)
	case sqlstate.InvalidTextValue:
		if pg.Routine == "cash_in" {
			return fmt.Errorf("this session, by its lc_monetary, reads no amount of money from a text: if the text was made in a session of another lc_monetary, alter the columns to numeric: %w", err)
		}
		return sqlstate.Explain(err)
	case sqlstate.GeneratedAlways:
		return dataflow.Permanent(fmt.Errorf("a field of the record has a column that Postgres fills in: leave the field out (`db:\"-\"`), or for an identity column use pgtable.Write with Table.OverridingSystemValue: %w", err))
	default:
		return sqlstate.Explain(err)
	}
}
