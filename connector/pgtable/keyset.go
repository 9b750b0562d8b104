package pgtable

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// Query is what [Keyset] reads.
type Query struct {
	// SQL is a select statement without "order by" and "limit". It is wrapped:
	//
	//	select … from (SQL) q where (k1, k2) > ($1, $2) order by k1, k2 limit n
	//
	// An index on the key columns, in the order of Key, lets each page be read
	// without sorting.
	SQL string

	// Args are the parameters $1 to $n of SQL. The library's own follow them.
	Args []any

	// Key names the columns of the result that order the rows. Together they
	// are unique, none is ever NULL, and rows that are added or changed get a
	// key greater than all before. Every row is a resume point.
	Key []string

	// PageSize is the number of rows that are read at once and kept in memory.
	// 0: 1000.
	PageSize int
}

// Keyset reads the rows of a query in the order of its key, page by page, and
// resumes behind any of them. No transaction and no connection is held between
// the pages. Each column of the query must have a field in T, unless it is in
// the key, and each field a column.
//
// A row that cannot be read into T is a [dataflow.RecordError], and the read
// goes on. Two rows of the same key, or NULL in a key column, end the read,
// because rows would be lost.
//
// # Rows that are committed late
//
// A row is missed if it becomes visible after a row with a greater key was
// read. That happens where transactions overlap: one takes a number from a
// sequence, or the time from now(), and commits after another that took a
// greater one. If the table is written to while it is read, leave out of the
// query the rows that are so new that transactions of their age may still be
// open, for instance with
//
//	where updated_at < now() - interval '1 minute'
//
// where no transaction that writes the table lasts longer than that.
func Keyset[T any](pool *pgxpool.Pool, q Query) dataflow.Source[T, Cursor] {
	s := &keyset[T]{pool: pool, args: slices.Clone(q.Args)}
	s.query = rowmap.Keyset{SQL: q.SQL, Args: len(q.Args), Key: slices.Clone(q.Key), PageSize: q.PageSize, Mark: "$"}
	s.fields, s.fieldsErr = rowmap.Of(reflect.TypeFor[T](), isValue)
	return s
}

type keyset[T any] struct {
	pool      *pgxpool.Pool
	args      []any
	query     rowmap.Keyset
	fields    *rowmap.Plan
	fieldsErr error
}

func (s *keyset[T]) Validate() error {
	var errs []error
	if s.pool == nil {
		errs = append(errs, &dataflow.ConfigError{Field: "pool", Reason: "it is nil"})
	}
	if s.fieldsErr != nil {
		errs = append(errs, &dataflow.ConfigError{Field: "T", Reason: s.fieldsErr.Error()})
	}
	for i, arg := range s.args {
		switch arg.(type) {
		case pgx.QueryRewriter, pgx.QueryExecMode, pgx.QueryResultFormats, pgx.QueryResultFormatsByOID:
			errs = append(errs, &dataflow.ConfigError{Field: "Query.Args", Reason: fmt.Sprintf("argument %d is a %T: use plain values for $1, $2 and so on", i+1, arg)})
		}
	}
	return errors.Join(append(errs, s.query.Validate())...)
}

func (s *keyset[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "pgtable.keyset", Detail: map[string]any{"sql": s.query.SQL, "key": s.query.Key}}
}

// Count asks the database how many rows are left.
func (s *keyset[T]) Count(ctx context.Context, r dataflow.Request[Cursor]) (int64, error) {
	from, err := s.query.Start(r.Resumed, r.From)
	if err != nil {
		return 0, s.query.Wrap(err)
	}
	var n int64
	if err := s.pool.QueryRow(ctx, s.query.CountQuery(r.Resumed), s.with(from)...).Scan(&n); err != nil {
		return 0, s.query.Wrap(err)
	}
	return n, nil
}

// Read yields the rows behind the cursor.
func (s *keyset[T]) Read(ctx context.Context, r dataflow.Request[Cursor]) iter.Seq2[dataflow.Item[T, Cursor], error] {
	if err := s.Validate(); err != nil {
		return failed[T](dataflow.Permanent(err))
	}
	reader := &reader[T]{keyset: s}
	return rowmap.Read(ctx, &s.query, r, reader.page)
}

// failed is a read that ends before its first row.
func failed[T any](err error) iter.Seq2[dataflow.Item[T, Cursor], error] {
	return func(yield func(dataflow.Item[T, Cursor], error) bool) { yield(dataflow.Item[T, Cursor]{}, err) }
}

// with returns the arguments of a statement that has the query's parameters and
// those of a cursor. pgx passes a string on as text, which Postgres reads as a
// value of the column that it is compared with.
func (s *keyset[T]) with(from []string) []any {
	args := slices.Clone(s.args)
	for _, v := range from {
		args = append(args, v)
	}
	return args
}
