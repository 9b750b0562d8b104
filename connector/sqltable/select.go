package sqltable

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// Select reads the rows of any select statement, in one pass and in the order in
// which they come: one with joins, groups, "order by" or "limit", or a "with" query.
// It is for a result that has no key to go on behind. Where it has one, [Keyset]
// resumes, and holds nothing open.
//
// The rows are streamed: the memory that is taken does not grow with their number. One
// connection of db is taken until the last row is read, which is as long as the flow
// takes to write them. A pool of one connection, as is usual with SQLite, would then
// have none for whatever else needs one, such as the flow's own checkpoint, and is
// refused. Open the file once more, with at least two connections, and more where more
// flows read through it at once. The database must be in WAL mode if it is written to
// meanwhile; without it, a writer waits for the reader and fails.
//
// The source has no cursor. Each run, and each further attempt of one, executes the
// statement again and reads all its rows, so that a target that only appends is
// refused. Use [Upsert], or a [dataflow.To] whose sink knows rows by something of
// their own. All rows are of the moment at which the statement began. A row is named by
// its place in the result, "row 1" being the first, which is another row at each read
// unless the statement has an "order by".
//
// Each column of the result must have a field in T, and each field a column. A row that
// cannot be read into T is a [dataflow.RecordError], and the read goes on.
func Select[T any](db *sql.DB, query string, args ...any) dataflow.Source[T, dataflow.NoCursor] {
	s := &selectSource[T]{db: &database{DB: db}, query: query, args: slices.Clone(args)}
	s.fields, s.fieldsErr = rowmap.Of(reflect.TypeFor[T](), isValue)
	return s
}

type selectSource[T any] struct {
	db        *database
	query     string
	args      []any
	fields    *rowmap.Plan
	fieldsErr error
}

func (s *selectSource[T]) Validate() error {
	var errs []error
	switch {
	case s.db.DB == nil:
		errs = append(errs, &dataflow.ConfigError{Field: "db", Reason: "it is nil"})
	case s.db.Stats().MaxOpenConnections == 1:
		errs = append(errs, &dataflow.ConfigError{Field: "db", Reason: "it has one connection, which sqltable.Select would take until its last row is read, and leave none to write with: " +
			"open the file once more with sql.Open, for reading alone, and do not limit that to one connection; or use sqltable.Keyset"})
	}
	if strings.TrimSpace(s.query) == "" {
		errs = append(errs, &dataflow.ConfigError{Field: "query", Reason: "it is empty: give a select statement"})
	}
	if s.fieldsErr != nil {
		errs = append(errs, &dataflow.ConfigError{Field: "T", Reason: s.fieldsErr.Error()})
	}
	return errors.Join(errs...)
}

func (s *selectSource[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "sqltable.select", Detail: map[string]any{"sql": s.query}}
}

// Read executes the statement and yields its rows.
func (s *selectSource[T]) Read(ctx context.Context, _ dataflow.Request[dataflow.NoCursor]) iter.Seq2[dataflow.Item[T, dataflow.NoCursor], error] {
	return func(yield func(dataflow.Item[T, dataflow.NoCursor], error) bool) {
		err := s.Validate()
		if err != nil {
			err = dataflow.Permanent(err)
		} else {
			err = passing(ctx, s.read(ctx, yield))
		}
		if err != nil {
			yield(dataflow.Item[T, dataflow.NoCursor]{}, fmt.Errorf("query %q: %w", rowmap.Clip(s.query), err))
		}
	}
}

// read returns the error that ends the read, nil also if no more was wanted.
func (s *selectSource[T]) read(ctx context.Context, yield func(dataflow.Item[T, dataflow.NoCursor], error) bool) error {
	mysql, err := s.db.isMySQL(ctx)
	if err != nil {
		return err
	}
	var clock error
	if mysql {
		clock = checkClock(ctx, s.db) // before, so as not to need two connections at once
	}
	rows, err := s.db.QueryContext(ctx, s.query, s.args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	var record T
	dest, err := s.targets(rows, &record, mysql, clock)
	if err != nil {
		return err
	}
	for n := 1; rows.Next(); n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		var zero T
		record = zero // so that no record shares memory with the one before it
		item := dataflow.Item[T, dataflow.NoCursor]{Key: "row " + strconv.Itoa(n)}
		var bad error
		if err := rows.Scan(dest...); err != nil {
			bad = &dataflow.RecordError{Stage: dataflow.StageRead, Key: item.Key, Err: err}
		} else {
			item.Value = record
		}
		if !yield(item, bad) {
			return nil
		}
	}
	return rows.Err()
}

// targets are what the columns of a result are scanned into. It refuses a result whose
// columns are not T's. clock is what is wrong with the timestamps of a MySQL, if there
// are any.
func (s *selectSource[T]) targets(rows *sql.Rows, record *T, mysql bool, clock error) ([]any, error) {
	columns, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	names := namesOf(columns)
	if err := s.fields.Match(names, nil); err != nil {
		return nil, dataflow.Permanent(err)
	}
	fields := scanTargets(s.fields.Pointers(record), mysql)
	if column := timestamp(columns, s.fields.Names(), fields); column != "" && clock != nil {
		return nil, fmt.Errorf("column %q is a timestamp: %w", column, clock)
	}
	dest := make([]any, len(names))
	for i, name := range names {
		dest[i] = fields[s.fields.Index(name)]
	}
	return dest, nil
}
