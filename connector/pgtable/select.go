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

// Select reads the rows of any select statement, in one pass and in the order in
// which they come: one with joins, groups, "order by" or "limit", or a "with" query.
// It is for a result that has no key to go on behind. Where it has one, [Keyset]
// resumes, and holds nothing open.
//
// The rows are streamed: the memory that is taken does not grow with their number. One
// connection is taken, and the statement is under way, until the last row is read,
// which is as long as the flow takes to write them. Meanwhile the server keeps the
// rows that the statement sees from being vacuumed, and its statement_timeout counts.
//
// The source has no cursor. Each run, and each further attempt of one, executes the
// statement again and reads all its rows: nothing may be read twice that must not be
// written twice, so that a target that only appends is refused, and so is one in
// another database, such as [UpsertTo]'s, which would keep a cursor. Use [Upsert];
// [Replace], which also takes away the rows that the result has no more; or a
// [dataflow.To] whose sink knows rows by something of their own. All rows are of
// the moment at which the statement began. A row is named by its place in the result,
// "row 1" being the first, which is another row at each read unless the statement has
// an "order by".
//
// Each column of the result must have a field in T, and each field a column. A row that
// cannot be read into T is a [dataflow.RecordError], and the read goes on.
func Select[T any](pool *pgxpool.Pool, sql string, args ...any) dataflow.Source[T, dataflow.NoCursor] {
	s := &selectSource[T]{pool: pool, sql: sql, args: slices.Clone(args)}
	s.fields, s.fieldsErr = rowmap.Of(reflect.TypeFor[T](), isValue)
	return s
}

type selectSource[T any] struct {
	pool      *pgxpool.Pool
	sql       string
	args      []any
	fields    *rowmap.Plan
	fieldsErr error
}

func (s *selectSource[T]) Validate() error {
	var errs []error
	if s.pool == nil {
		errs = append(errs, &dataflow.ConfigError{Field: "pool", Reason: "it is nil: use pgxpool.New"})
	}
	if strings.TrimSpace(s.sql) == "" {
		errs = append(errs, &dataflow.ConfigError{Field: "sql", Reason: "it is empty: give a select statement"})
	}
	if s.fieldsErr != nil {
		errs = append(errs, &dataflow.ConfigError{Field: "T", Reason: s.fieldsErr.Error()})
	}
	return errors.Join(append(errs, validateArgs("args", s.args)...)...)
}

// validateArgs refuses what pgx does not take for a parameter.
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

func (s *selectSource[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "pgtable.select", Detail: map[string]any{"sql": s.sql}}
}

// Read executes the statement and yields its rows.
func (s *selectSource[T]) Read(ctx context.Context, _ dataflow.Request[dataflow.NoCursor]) iter.Seq2[dataflow.Item[T, dataflow.NoCursor], error] {
	return func(yield func(dataflow.Item[T, dataflow.NoCursor], error) bool) {
		err := s.Validate()
		if err != nil {
			err = dataflow.Permanent(err)
		} else {
			err = s.read(ctx, yield)
		}
		if err != nil {
			yield(dataflow.Item[T, dataflow.NoCursor]{}, fmt.Errorf("query %q: %w", rowmap.Clip(s.sql), transient(ctx, s.pool, err)))
		}
	}
}

// read returns the error that ends the read, nil also if no more was wanted.
func (s *selectSource[T]) read(ctx context.Context, yield func(dataflow.Item[T, dataflow.NoCursor], error) bool) error {
	within, cancel := context.WithCancel(ctx)
	rows, err := s.pool.Query(within, s.sql, s.args...)
	if err != nil {
		cancel()
		return err
	}
	defer func() {
		cancel() // first, or Close would read all rows that are left
		rows.Close()
	}()
	r := selectReader[T]{fields: s.fields}
	for n := 1; rows.Next(); n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.open(rows); err != nil {
			return err
		}
		item := dataflow.Item[T, dataflow.NoCursor]{Key: "row " + strconv.Itoa(n)}
		var bad error
		if err := r.scan(rows.RawValues()); err != nil {
			bad = &dataflow.RecordError{Stage: dataflow.StageRead, Key: item.Key, Err: err}
		} else {
			item.Value = r.record
		}
		if !yield(item, bad) {
			return nil
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return r.open(rows) // an empty result may have the wrong columns too
}

// selectReader makes records of the rows of one result.
type selectReader[T any] struct {
	fields *rowmap.Plan
	plans  []columnPlan // nil: the columns have not been looked at
	names  []string
	record T
}

// open refuses a result whose columns are not T's.
func (r *selectReader[T]) open(rows pgx.Rows) error {
	if r.plans != nil {
		return nil
	}
	columns := rows.FieldDescriptions()
	for _, c := range columns {
		r.names = append(r.names, c.Name)
	}
	if err := r.fields.Match(r.names, nil); err != nil {
		return dataflow.Permanent(err)
	}
	dest, record := r.fields.Pointers(&r.record), reflect.ValueOf(&r.record).Elem()
	r.plans = make([]columnPlan, len(columns))
	for i, c := range columns {
		at := r.fields.Index(c.Name)
		f := &r.fields.Columns[at]
		r.plans[i] = columnPlan{
			decode: newDecoder(c, f.Type), field: f.In(record),
			dest: dest[at], scan: rows.TypeMap().PlanScan(c.DataTypeOID, c.Format, dest[at]),
		}
	}
	return nil
}

// scan reads a row.
func (r *selectReader[T]) scan(raw [][]byte) error {
	var zero T
	r.record = zero // so that no record shares memory with the one before it
	for i := range r.plans {
		p := &r.plans[i]
		if p.decode != nil && p.decode(raw[i], p.field) {
			continue
		}
		if err := p.scan.Scan(raw[i], p.dest); err != nil {
			return fmt.Errorf("column %q: %w", r.names[i], err)
		}
	}
	return nil
}
