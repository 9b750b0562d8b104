package pgtable

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// Select reads the rows of any select statement in one pass, in the order in which
// they arrive: with joins, groups, "order by", "limit" or "with". Use it for a
// result without a key to resume from. If there is a key, [Keyset] resumes and
// holds nothing open.
//
// The rows are streamed: the memory used does not grow with their number. Until the
// last row is read and written, the statement stays active and uses one connection.
// Meanwhile the server cannot vacuum the rows that the statement sees, and its
// statement_timeout counts.
//
// The source has no cursor. Each run, and each further attempt of a run, executes
// the statement again and reads all rows. So writing a row twice must do no harm. A
// target that only appends is refused. So is one in another database that keeps a
// cursor, such as [UpsertTo]. Use one of these:
//
//   - [Upsert];
//   - [Replace], which also removes rows that the result no longer has;
//   - a [dataflow.To] whose sink identifies rows by their content.
//
// All rows are as of the start of the statement. A row is named by its place in the
// result; the first is "row 1". Without "order by", another read may give that name
// to another row.
//
// Each column of the result must have a field in T, and each field must have a
// column. A row that cannot be read into T is a [dataflow.RecordError], and the
// read continues. The source is safe for concurrent use. The caller closes the pool
// after the client has stopped.
func Select[T any](pool *pgxpool.Pool, sql string, args ...any) dataflow.Source[T, dataflow.NoCursor] {
	return &selectSource[T]{newSelection(reflect.TypeFor[T](), pool, sql, args)}
}

func newSelection(record reflect.Type, pool *pgxpool.Pool, sql string, args []any) *selection {
	s := &selection{pool: pool, server: &server{}, sql: sql, args: slices.Clone(args)}
	s.fields, s.fieldsErr = rowmap.Of(record, isValue)
	return s
}

// selectSource is a selection for records of type T.
type selectSource[T any] struct{ of *selection }

// Validate returns what is wrong with the statement.
func (s *selectSource[T]) Validate() error { return s.of.Validate() }

// Describe names the statement.
func (s *selectSource[T]) Describe() dataflow.Description { return s.of.Describe() }

type selection struct {
	pool      *pgxpool.Pool
	server    *server
	sql       string
	args      []any
	fields    *rowmap.Plan
	fieldsErr error
}

func (s *selection) Validate() error {
	var errs []error
	if s.pool == nil {
		errs = append(errs, &dataflow.ConfigError{Field: "pool", Reason: "it is nil: create it with pgxpool.New"})
	}
	if strings.TrimSpace(s.sql) == "" {
		errs = append(errs, &dataflow.ConfigError{Field: "sql", Reason: "it is empty: give a select statement"})
	}
	if s.fieldsErr != nil {
		errs = append(errs, &dataflow.ConfigError{Field: "T", Reason: s.fieldsErr.Error()})
	}
	return errors.Join(append(errs, validateArgs("args", s.args)...)...)
}

// validateArgs returns an error for each argument that pgx would not treat as a
// parameter.
func validateArgs(field string, args []any) []error {
	var errs []error
	for i, arg := range args {
		switch arg.(type) {
		case pgx.QueryRewriter, pgx.QueryExecMode, pgx.QueryResultFormats, pgx.QueryResultFormatsByOID:
			errs = append(errs, &dataflow.ConfigError{Field: field, Reason: fmt.Sprintf("argument %d is a %T: use plain values for $1, $2 and so on", i+1, arg)})
		}
	}
	return errs
}

func (s *selection) Describe() dataflow.Description {
	return dataflow.Description{Type: "pgtable.select", Detail: map[string]any{"sql": s.sql}}
}

// Read executes the statement and yields its rows.
func (s *selectSource[T]) Read(ctx context.Context, _ dataflow.Request[dataflow.NoCursor]) iter.Seq2[dataflow.Item[T, dataflow.NoCursor], error] {
	return func(yield func(dataflow.Item[T, dataflow.NoCursor], error) bool) {
		record := new(T)
		err := s.of.readAll(ctx, reflect.ValueOf(record).Elem(), func(key string, bad error) bool {
			item := dataflow.Item[T, dataflow.NoCursor]{Key: key, Value: *record}
			var zero T
			*record = zero // it would stay in memory while the next row is read
			return yield(item, bad)
		})
		if err != nil {
			yield(dataflow.Item[T, dataflow.NoCursor]{}, err)
		}
	}
}

// readAll reads each row into record, and calls yield with its key and what is wrong with it.
func (s *selection) readAll(ctx context.Context, record reflect.Value, yield func(key string, bad error) bool) error {
	if err := s.Validate(); err != nil {
		return s.wrap(dataflow.Permanent(err))
	}
	began := false
	tell := func(key string, bad error) bool {
		began = true
		return yield(key, bad)
	}
	var err error
	err = retryStale(s.pool, func() error {
		if began { // another try would yield rows again
			return err
		}
		err = s.read(ctx, record, tell)
		return err
	})
	if err != nil {
		return s.wrap(transient(ctx, s.pool, err))
	}
	return nil
}

func (s *selection) wrap(err error) error {
	return fmt.Errorf("query %q: %w", rowmap.Clip(s.sql), err)
}

// read returns the error that ends the read. It also returns nil if the caller
// wants no more rows.
func (s *selection) read(ctx context.Context, record reflect.Value, yield func(key string, bad error) bool) error {
	if err := s.server.check(ctx, s.pool); err != nil {
		return err
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if err := checkEncoding(conn.Conn()); err != nil {
		return err
	}
	described, err := conn.Conn().Prepare(ctx, "", s.sql)
	if err != nil {
		return err
	}
	if err := checkTexts(ctx, conn.Conn(), described.Fields); err != nil {
		return err
	}
	within, cancel := context.WithCancel(ctx)
	rows, err := conn.Query(within, s.sql, inBinary(s.pool, s.args)...)
	if err != nil {
		cancel()
		return err
	}
	leave(s.pool, rows.Conn())
	defer func() {
		cancel() // before Close, which would otherwise read all remaining rows
		rows.Close()
	}()
	r := selectReader{fields: s.fields, record: record}
	for n := 1; rows.Next(); n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.open(rows); err != nil {
			return err
		}
		key := "row " + strconv.Itoa(n)
		var bad error
		if err := r.scan(rows.RawValues()); err != nil {
			record.SetZero()
			bad = &dataflow.RecordError{Stage: dataflow.StageRead, Key: key, Err: err}
		}
		if !yield(key, bad) {
			return nil
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return r.open(rows) // an empty result may have the wrong columns too
}

// selectReader turns the rows of one result into records.
type selectReader struct {
	fields *rowmap.Plan
	plans  []columnPlan // nil until the columns were checked
	names  []string
	record reflect.Value
}

// open returns an error if the result's columns are not T's.
func (r *selectReader) open(rows pgx.Rows) error {
	if r.plans != nil {
		return nil
	}
	columns := rows.FieldDescriptions()
	for _, c := range columns {
		r.names = append(r.names, c.Name)
	}
	if err := r.fields.Match(r.names, nil); err != nil {
		return err
	}
	r.plans = make([]columnPlan, len(columns))
	for i, c := range columns {
		r.plans[i] = newColumnPlan(rows.TypeMap(), c, &r.fields.Columns[r.fields.Index(c.Name)], r.record)
	}
	return nil
}

// scan reads a row.
func (r *selectReader) scan(raw [][]byte) error {
	r.record.SetZero() // no record shares memory with the previous one
	for i := range r.plans {
		if err := r.plans[i].read(raw[i]); err != nil {
			return fmt.Errorf("column %q: %w", r.names[i], err)
		}
	}
	return nil
}
