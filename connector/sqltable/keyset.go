package sqltable

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"reflect"
	"slices"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// Query is what [Keyset] reads.
type Query struct {
	// SQL is a select statement without "order by" and "limit". It is wrapped:
	//
	//	select … from (SQL) q where (k1, k2) > (?1, ?2) order by k1, k2 limit n
	//
	// and in MySQL with where (k1 > ? or (k1 = ? and k2 > ?)).
	//
	// An index on the key columns, in the order of Key, lets each page be read
	// without sorting.
	SQL string

	// Args are the parameters of SQL, written ? or, in SQLite, ?1 to ?n. The
	// library adds its own after them.
	Args []any

	// Key names the result columns that order the rows. Together they must be
	// unique, and none may be NULL. A row that is added or changed must get a key
	// greater than all earlier ones. Every row is a resume point.
	Key []string

	// PageSize is the greatest number of rows that are read at once and held in
	// memory. 0 means 8000. A read begins with a page of up to 125 rows. The next
	// pages have twice as many while a page holds less than a quarter of PageBytes.
	PageSize int

	// PageBytes is the greatest number of bytes of texts and blobs that a page holds
	// beyond its first row. A page ends before the row that would exceed it. 0 means
	// 4 MiB.
	PageBytes int

	// ZeroDateNull makes a MySQL date whose day or month is zero, such as 0000-00-00 or
	// 2023-07-00, a NULL: nil in a pointer, not valid in a sql.Null. Without it, and in a
	// field that cannot be NULL, the row is a [dataflow.RecordError].
	ZeroDateNull bool

	// Nulls says what becomes of rows with NULL in a key column, which have no place in the
	// order. The zero value, [NullsRefuse], ends the read with an error.
	Nulls Nulls

	// Lookback makes each of the flow's runs begin this much before its cursor, for rows whose
	// times are put in the past and rows that are committed late. The stored cursor never goes
	// back. 0 means none.
	//
	// The key must begin with a time: in MySQL a timestamp, a datetime or a date, in SQLite a
	// text such as 2024-01-31 10:00:00. A date is read again from its first row. Rows that are
	// read again count in [dataflow.Counters].ReadAgain too. A first run and a backfill do not
	// look back. A target that only appends is refused.
	Lookback time.Duration
}

// Nulls says what becomes of rows with NULL in a key column. See [Query].
type Nulls uint8

const (
	// NullsRefuse ends the read with an error at such a row.
	NullsRefuse Nulls = Nulls(rowmap.NullsRefuse)
	// NullsSkip leaves such rows out. The run's log and the flow's notes say how many they are.
	NullsSkip Nulls = Nulls(rowmap.NullsSkip)
	// NullsFirst yields such rows once, before all others, in a read from the beginning, as of a
	// flow's first run. They may be 10,000 at most, and wait until there is a row with a key.
	// Such rows that are added later are read only by a backfill from the beginning; the notes
	// say how many rows without a key there are.
	NullsFirst Nulls = Nulls(rowmap.NullsFirst)
)

// Keyset reads the rows of a query in the order of its key, page by page, and can
// resume after any row. It holds no transaction and no open result between pages,
// so a pool of one connection is enough. Each column of the query must have a field
// in T, unless it is in the key, and each field must have a column.
//
// A row that cannot be read into T is a [dataflow.RecordError], and the read
// continues. Two rows with the same key, or NULL in a key column, end the read with
// an error, because rows would be lost; see [Query.Nulls]. Keys that are equal by a collation,
// such as 'a' and 'A' with nocase, are the same; so are 1 and 1.0.
//
// A backfill's Until is respected: it reads the rows up to and including Until.
//
// The database defines the order. In SQLite, numbers come before text and text
// before blobs; text is ordered by the column's collation. The source is safe for
// concurrent use. The caller closes db after the client has stopped.
//
// # Rows that are committed late
//
// A row is missed if it becomes visible after a row with a greater key was read.
// SQLite has one writer at a time, so the numbers that it assigns are in the order
// of the commits. But without "autoincrement" it assigns the number of a deleted last row
// again (sqlite.org/autoinc.html), and the row that gets it is not read. And a program may take a time before its turn to write. If there
// are such programs, exclude from the query the rows that are newer than the
// longest wait for the database. MySQL has many writers: exclude the rows that are
// newer than the longest transaction.
//
// The source says so where it applies, and if each page sorts many rows: see [dataflow.Noter].
func Keyset[T any](db *sql.DB, q Query) dataflow.Source[T, Cursor] {
	s := &keyset[T]{db: &database{DB: db}, args: slices.Clone(q.Args), zeroNull: q.ZeroDateNull, lookback: q.Lookback, notes: &queryNotes{}}
	s.query = rowmap.Keyset{SQL: q.SQL, Args: len(q.Args), Key: slices.Clone(q.Key), PageSize: q.PageSize, PageBytes: q.PageBytes, Nulls: rowmap.Nulls(q.Nulls), Mark: "?"}
	s.fields, s.fieldsErr = rowmap.Of(reflect.TypeFor[T](), isValue)
	return s
}

// OrderedBy returns the first column of the key.
func (s *keyset[T]) OrderedBy() string {
	if len(s.query.Key) == 0 {
		return ""
	}
	return s.query.Key[0]
}

type keyset[T any] struct {
	db        *database
	args      []any
	query     rowmap.Keyset
	zeroNull  bool
	lookback  time.Duration
	mysql     mysqlKeys // set once the database is known to be MySQL
	fields    *rowmap.Plan
	fieldsErr error
	notes     *queryNotes
}

func (s *keyset[T]) Validate() error {
	var errs []error
	if s.db.DB == nil {
		errs = append(errs, &dataflow.ConfigError{Field: "db", Reason: "it is nil: create it with sql.Open"})
	}
	if s.fieldsErr != nil {
		errs = append(errs, &dataflow.ConfigError{Field: "T", Reason: s.fieldsErr.Error()})
	}
	plan := s.fields
	if s.fieldsErr != nil {
		plan = nil
	}
	return errors.Join(append(errs, s.query.Validate(), s.query.ValidateLookback(s.lookback, plan))...)
}

func (s *keyset[T]) Describe() dataflow.Description {
	detail := map[string]any{"sql": s.query.SQL, "key": s.query.Key}
	if s.query.Nulls != rowmap.NullsRefuse {
		detail["nulls"] = s.query.Nulls.String()
	}
	if s.lookback > 0 {
		detail["lookback"] = s.lookback.String()
	}
	return dataflow.Description{Type: "sqltable.keyset", Detail: detail}
}

// Count returns how many rows are left to read.
func (s *keyset[T]) Count(ctx context.Context, r dataflow.Request[Cursor]) (int64, error) {
	n, err := s.count(ctx, r)
	if err != nil {
		return 0, s.query.Wrap(passing(ctx, err))
	}
	return n, nil
}

func (s *keyset[T]) count(ctx context.Context, r dataflow.Request[Cursor]) (int64, error) {
	r, at := rowmap.WithoutAgain(&s.query, r)
	beginning := !r.Resumed
	if rowmap.LooksBack(s.lookback, r, at) {
		if at == nil {
			var err error
			if at, err = s.lookbackFrom(ctx, r.From); err != nil {
				return 0, err
			}
		}
		r.From, r.Resumed = at, at != nil
	}
	b, err := s.adapted(ctx)
	if err != nil {
		return 0, err
	}
	whole := b
	if b, err = b.upTo(r); err != nil {
		return 0, err
	}
	n, err := b.counted(ctx, r)
	if err != nil || n == 0 || !beginning || s.query.Nulls != rowmap.NullsFirst {
		return n, err
	}
	nulls, err := whole.countNulls(ctx)
	return n + nulls, err
}

// counted is count for a query that is adapted to its database and to the request's
// end.
func (s *keyset[T]) counted(ctx context.Context, r dataflow.Request[Cursor]) (int64, error) {
	from, err := s.query.Start(r.Resumed, r.From)
	if err != nil {
		return 0, err
	}
	args, err := s.with(from)
	if err != nil {
		return 0, err
	}
	query, args := s.query.Positional(s.query.CountQuery(r.Resumed), args)
	var n int64
	return n, s.db.QueryRowContext(ctx, query, args...).Scan(&n)
}

// Read yields the rows after the cursor.
func (s *keyset[T]) Read(ctx context.Context, r dataflow.Request[Cursor]) iter.Seq2[dataflow.Item[T, Cursor], error] {
	if err := s.Validate(); err != nil {
		return failed[T](dataflow.Permanent(err))
	}
	r, at := rowmap.WithoutAgain(&s.query, r)
	keyed, before := &reader[T]{keyset: s, request: r}, &reader[T]{keyset: s}
	of := &rowmap.Reading[Cursor]{Keyset: &s.query, Request: r, Fetch: keyed.fetchPage}
	switch {
	case rowmap.LooksBack(s.lookback, r, at):
		before.request = dataflow.Request[Cursor]{Bounded: true, Until: r.From}
		of.Lookback = &rowmap.Lookback[Cursor]{At: at, Fetch: before.fetchPage, Begin: func(ctx context.Context) (Cursor, error) {
			from, err := s.lookbackFrom(ctx, r.From)
			return from, passing(ctx, err)
		}}
	case s.query.Nulls == rowmap.NullsFirst && !r.Resumed:
		before.limit, before.nulls = rowmap.NullsPage(), true
		of.Nulls = &rowmap.NullRows[Cursor]{Query: s.query.OfNulls(s.fields.Names()), Fetch: before.fetchPage}
	}
	return rowmap.Read(ctx, of, &keyed.rows, &before.rows)
}

// SeekEnd returns the key of the last row.
func (s *keyset[T]) SeekEnd(ctx context.Context, _ dataflow.Request[Cursor]) (Cursor, bool, error) {
	cursor, err := s.seekEnd(ctx)
	if err != nil {
		err = s.query.Wrap(passing(ctx, err))
	}
	return cursor, cursor != nil, err
}

// SeekTime returns the key of the last row whose first key column is before a time. A column
// without a time zone is compared with the time's wall clock. In SQLite, it takes the form of
// the times from the last row.
func (s *keyset[T]) SeekTime(ctx context.Context, _ dataflow.Request[Cursor], before time.Time) (Cursor, bool, error) {
	cursor, err := s.seekTime(ctx, before)
	if err != nil && !errors.As(err, new(*dataflow.ConfigError)) {
		err = s.query.Wrap(passing(ctx, err))
	}
	return cursor, cursor != nil, err
}

// CheckRequest returns an error if a cursor of the request is invalid.
func (s *keyset[T]) CheckRequest(r dataflow.Request[Cursor]) error {
	r, _ = rowmap.WithoutAgain(&s.query, r)
	errs := []error{rowmap.CheckPlaces(&s.query, r)}
	for _, p := range []struct {
		field  string
		cursor Cursor
	}{{"From", r.From}, {"Until", r.Until}} {
		if _, err := p.cursor.values(); err != nil {
			errs = append(errs, &dataflow.ConfigError{Field: p.field, Reason: err.Error()})
		}
	}
	return errors.Join(errs...)
}

// upTo returns the source for a request, which may end at a cursor.
func (s *keyset[T]) upTo(r dataflow.Request[Cursor]) (*keyset[T], error) {
	if !r.Bounded {
		return s, nil
	}
	args, err := s.with(r.Until)
	if err != nil {
		return nil, err
	}
	b := *s
	b.query, b.args = *s.query.UpTo(), args
	return &b, nil
}

// failed returns a read that ends with err before its first row.
func failed[T any](err error) iter.Seq2[dataflow.Item[T, Cursor], error] {
	return func(yield func(dataflow.Item[T, Cursor], error) bool) { yield(dataflow.Item[T, Cursor]{}, err) }
}

// with returns the query's arguments followed by those of a cursor.
func (s *keyset[T]) with(from Cursor) ([]any, error) {
	if s.mysql != nil {
		values, err := s.mysql.values(from)
		return slices.Concat(s.args, values), err
	}
	values, err := from.values()
	if err != nil {
		return nil, dataflow.Permanent(err)
	}
	return slices.Concat(s.args, values), nil
}
