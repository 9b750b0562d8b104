package sqltable

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// Insert adds each record to a table, in the transaction that commits the
// checkpoint. The client's database must be SQLite; for MySQL use [InsertTo]. It is
// refused for a source without a cursor, because every run would add all records
// again.
//
// Columns without a field in T get their default.
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
	return dataflow.ToTx[T](upsertSink[T]{newSink[T](table, true, key)})
}

type sink[T any] struct {
	table     string
	name      []string
	nameErr   error
	upsert    bool
	key       []string
	newer     *rowmap.Column // leaves rows alone that are greater by this column; nil: none
	fields    *rowmap.Plan
	fieldsErr error

	insert inserter

	remove  func(ctx context.Context, tx sqlTx, rows []T) error // removes rows instead; nil if it writes them
	removes string                                              // the type of such a sink
}

// writeBatch writes or removes the rows of a batch.
func (s *sink[T]) writeBatch(ctx context.Context, tx sqlTx, rows []T) error {
	if s.remove != nil {
		return s.remove(ctx, tx, rows)
	}
	return s.write(ctx, tx, reflect.ValueOf(rows), nil)
}

func newSink[T any](table string, upsert bool, key []string) *sink[T] {
	s := &sink[T]{table: table, upsert: upsert, key: slices.Clone(key)}
	s.name, s.nameErr = rowmap.SplitTable(table)
	s.fields, s.fieldsErr = rowmap.Of(reflect.TypeFor[T](), isValue)
	if s.nameErr == nil && s.fieldsErr == nil {
		s.insert = newInserter(s.name, s.fields.Names(), upsert, key, nil)
	}
	return s
}

// AppendOnly is true for Insert.
func (s *sink[T]) AppendOnly() bool { return !s.upsert && s.remove == nil }

func (s *sink[T]) Describe() dataflow.Description {
	if s.remove != nil {
		return dataflow.Description{Type: s.removes, Detail: map[string]any{"table": s.table, "key": s.key}}
	}
	if s.upsert {
		detail := map[string]any{"table": s.table, "key": s.key}
		if s.newer != nil {
			detail["only_if_newer"] = s.newer.Name
		}
		return dataflow.Description{Type: "sqltable.upsert", Detail: detail}
	}
	return dataflow.Description{Type: "sqltable.insert", Detail: map[string]any{"table": s.table}}
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
func (s *sink[T]) WriteTx(ctx context.Context, rows []T) error { return s.writeTx(ctx, rows, nil) }

// writeTx writes a batch. results may be nil.
func (s *sink[T]) writeTx(ctx context.Context, rows []T, results []dataflow.RowResult) error {
	if err := s.Validate(); err != nil {
		return dataflow.Permanent(err)
	}
	tx, ok := dataflowsqlite.TxFrom(ctx)
	if !ok {
		return dataflow.Permanent(fmt.Errorf("sqltable needs a client on SQLite to write to table %s in its transaction (use package pgtable with Postgres): %w", s.table, dataflow.ErrTxMismatch))
	}
	if err := s.write(ctx, tx, reflect.ValueOf(rows), results); err != nil {
		return fmt.Errorf("table %s: %w", s.table, err)
	}
	return nil
}

func (s *sink[T]) write(ctx context.Context, tx sqlTx, rows reflect.Value, results []dataflow.RowResult) error {
	w := s.insert.begin(tx)
	defer w.close()
	args := make([]any, 0, min(rows.Len(), s.insert.chunk)*len(s.fields.Columns))
	for from := 0; from < rows.Len(); {
		to := min(from+s.insert.chunk, rows.Len())
		args = args[:0]
		for i := from; i < to; i++ {
			var err error
			if args, err = s.appendRow(args, rows.Index(i), i); err != nil {
				return err
			}
		}
		if err := s.checkNumbers(ctx, tx, from, args); err != nil {
			return err
		}
		var err error
		if results != nil {
			err = s.insert.lookup.results(ctx, tx, args, results[from:to])
		}
		if err == nil && (results == nil || slices.ContainsFunc(results[from:to], func(r dataflow.RowResult) bool { return r != dataflow.RowRedundant })) {
			err = w.exec(ctx, to-from, args)
		}
		if err != nil {
			return s.explain(ctx, tx, err)
		}
		from = to
	}
	return s.checkDeferred(ctx, tx, rows)
}

func (s *sink[T]) appendRow(args []any, row reflect.Value, i int) ([]any, error) {
	for j := range s.fields.Columns {
		c := &s.fields.Columns[j]
		v, err := driverValue(c.In(row))
		if err == nil && v == nil && s.upsert && slices.Contains(s.key, c.Name) {
			err = errors.New("a key must not be NULL")
		}
		if err != nil {
			return nil, &dataflow.RowError{Row: i, Alone: true, Err: &dataflow.RecordError{Stage: dataflow.StageWrite, Key: fmt.Sprintf("row %d of the batch", i+1), Err: fmt.Errorf("column %q (field %s): %w", c.Name, c.Field, err)}}
		}
		args = append(args, v)
	}
	return args, nil
}

// explain adds to an error what is wrong with the table, if anything is.
func (s *sink[T]) explain(ctx context.Context, tx sqlTx, err error) error {
	if strings.Contains(err.Error(), "ON CONFLICT clause does not match") {
		columns := rowmap.QuoteAll(s.key, ", ")
		return fmt.Errorf("the table has no unique index of exactly the key columns (%s): create unique index on it (%s): %w", columns, columns, err)
	}
	if (sqliteDialect{}).refused(err) {
		return err // the table has refused rows, so nothing is wrong with it
	}
	have, lookErr := tableColumns(ctx, tx, s.name)
	if lookErr != nil {
		return err
	}
	if len(have) == 0 {
		return fmt.Errorf("the table does not exist in this database: %w", err)
	}
	var missing []string
	for _, c := range s.fields.Columns {
		if !slices.ContainsFunc(have, func(name string) bool { return strings.EqualFold(name, c.Name) }) {
			missing = append(missing, fmt.Sprintf("%q (field %s)", c.Name, c.Field))
		}
	}
	if missing != nil {
		return fmt.Errorf("the table has no column %s; its columns are %s: %w", strings.Join(missing, ", "), rowmap.QuoteAll(have, ", "), err)
	}
	return err
}
