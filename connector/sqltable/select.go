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

// Select reads the rows of any select statement in one pass, in the order in which
// they arrive: with joins, groups, "order by", "limit" or "with". Use it for a
// result without a key to resume from. If there is a key, [Keyset] resumes and
// holds nothing open.
//
// The rows are streamed: the memory used does not grow with their number. Until the
// last row is read and written, Select uses one connection of db. A pool of one
// connection, as is usual with SQLite, would have none left for other needs, such
// as the flow's checkpoint. So such a pool is refused: open the file a second time
// with at least two connections, and more if more flows read through it at once. If
// the database is written to meanwhile, it must be in WAL mode; otherwise a writer
// waits for the reader and fails.
//
// The source has no cursor. Each run, and each further attempt of a run, executes
// the statement again and reads all rows. So a target that only appends is refused.
// Use [Upsert], or a [dataflow.To] whose sink identifies rows by their content. All
// rows are as of the start of the statement. A row is named by its place in the
// result; the first is "row 1". Without "order by", another read may give that name
// to another row.
//
// MySQL's driver turns a date such as 2023-07-00 into another one, 2023-06-30, and Select cannot
// tell. Read such columns with cast(… as char), or with [Keyset]. A 0000-00-00 is a
// [dataflow.RecordError] in both. For the time of the read, the session's net_write_timeout
// is at least an hour.
//
// Each column of the result must have a field in T, and each field must have a
// column. A row that cannot be read into T is a [dataflow.RecordError], and the
// read continues. The source is safe for concurrent use. The caller closes db after
// the client has stopped.
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
		errs = append(errs, &dataflow.ConfigError{Field: "db", Reason: "it is nil: create it with sql.Open"})
	case s.db.Stats().MaxOpenConnections == 1:
		errs = append(errs, &dataflow.ConfigError{Field: "db", Reason: "it has one connection, which sqltable.Select would use until its last row is read, leaving none for writing: " +
			"open the file a second time with sql.Open, only for reading, without a limit of one connection; or use sqltable.Keyset"})
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

// read returns the error that ends the read. It also returns nil if the caller
// wants no more rows.
func (s *selectSource[T]) read(ctx context.Context, yield func(dataflow.Item[T, dataflow.NoCursor], error) bool) error {
	mysql, err := s.db.isMySQL(ctx)
	if err != nil {
		return err
	}
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, session, done, err := s.db.stream(within, mysql, s.query, s.args)
	if err != nil {
		return err
	}
	defer done()
	defer func() {
		if mysql {
			cancel() // before Close, for which MySQL's driver would read all remaining rows
		}
		_ = rows.Close()
	}()
	var record T
	dest, made, err := s.targets(rows, &record, mysql, session)
	if err != nil {
		return err
	}
	for n := 1; rows.Next(); n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		var zero T
		record = zero // no record shares memory with the previous one
		item := dataflow.Item[T, dataflow.NoCursor]{Key: "row " + strconv.Itoa(n)}
		var bad error
		err = made.check(rows)
		if err == nil {
			err = rows.Scan(dest...)
		}
		if err != nil {
			if cause := ctx.Err(); cause != nil { // database/sql has closed the rows: this one may be good
				return cause
			}
			bad = &dataflow.RecordError{Stage: dataflow.StageRead, Key: item.Key, Err: err}
		} else {
			item.Value = record
		}
		if !yield(item, bad) {
			return nil
		}
	}
	return streamLost(mysql, rows.Err())
}

// targets returns the scan targets for a result. It returns an error if the
// result's columns are not T's, or one of the session if T has a column that it concerns. For SQLite,
// it also returns what finds values that the driver has made.
func (s *selectSource[T]) targets(rows *sql.Rows, record *T, mysql bool, session sessionErrors) ([]any, *madeValues, error) {
	columns, err := rows.ColumnTypes()
	if err != nil {
		return nil, nil, err
	}
	names := namesOf(columns)
	if err := s.fields.Match(names, nil); err != nil {
		return nil, nil, err
	}
	fields := scanTargets(s.fields.Pointers(record), mysql)
	if column := timestamp(columns, s.fields.Names(), fields); column != "" && session.clock != nil {
		return nil, nil, fmt.Errorf("column %q is a timestamp: %w", column, session.clock)
	}
	if column := textColumn(columns, s.fields.Names()); column != "" && session.charset != nil {
		return nil, nil, fmt.Errorf("column %q is a text: %w", column, session.charset)
	}
	if mysql {
		typedTargets(columns, s.fields.Names(), fields, s.fields.Pointers(record))
	}
	dest, plain := make([]any, len(names)), make([]any, len(names))
	for i, name := range names {
		dest[i], plain[i] = fields[s.fields.Index(name)], s.fields.Pointers(record)[s.fields.Index(name)]
	}
	if mysql {
		return dest, nil, nil
	}
	return dest, newMadeValues(columns, plain), nil
}
