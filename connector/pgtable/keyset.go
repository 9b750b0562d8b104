package pgtable

import (
	"context"
	"errors"
	"iter"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
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

	// Args are the parameters $1 to $n of SQL. The library adds its own after them.
	Args []any

	// Key names the result columns that order the rows. Together they must be
	// unique, and none may be NULL. A row that is added or changed must get a key
	// greater than all earlier ones. Every row is a resume point.
	Key []string

	// PageSize is the greatest number of rows that are read at once and held in
	// memory. 0 means 8000. A read begins with a page of up to 125 rows. The next
	// pages have twice as many while a page holds less than a quarter of PageBytes.
	PageSize int

	// PageBytes is the greatest number of bytes that a page holds beyond its first
	// row, as Postgres sends them. A page ends before the row that would exceed it. 0
	// means 4 MiB.
	PageBytes int

	// LateCommits leaves a row to a later read as long as a row with a smaller key
	// may still be committed, which would otherwise be missed. Nil means
	// [OpenTransactions] if Key begins with a timestamp, with or without time zone,
	// and otherwise [Unguarded]: Postgres does not tell which ids open transactions
	// have taken.
	LateCommits Guard

	// Nulls says what becomes of rows with NULL in a key column, which have no place in the
	// order. The zero value, [NullsRefuse], ends the read with an error.
	Nulls Nulls

	// Lookback makes each of the flow's runs begin this much before its cursor, for rows whose
	// times are put in the past and rows that are committed late. The stored cursor never goes
	// back. 0 means none.
	//
	// The key must begin with a timestamp or a date; a date is read again from its first row.
	// Rows that are read again count in [dataflow.Counters].ReadAgain too. A first run and a
	// backfill do not look back. A target that only appends is refused.
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
// resume after any row. It holds no transaction and no connection between pages.
// Each column of the query must have a field in T, unless it is in the key, and
// each field must have a column.
//
// Rows that row security hides from the pool's role are not read. If they become visible when the
// cursor has passed them, they are never read. The flow's notes say if a role's rows may be hidden.
//
// A row that cannot be read into T is a [dataflow.RecordError], and the read
// continues. Two rows with the same key, or NULL in a key column, end the read with
// an error, because rows would be lost; see [Query.Nulls].
//
// A backfill's Until is respected: it reads the rows up to and including Until.
// Rows that the guard holds back are left to the flow's own runs.
//
// The table may be written to during a read. [Query.LateCommits] says which rows
// are left to a later read, so that no late commit is missed. The source is safe
// for concurrent use. The caller closes the pool after the client has stopped.
func Keyset[T any](pool *pgxpool.Pool, q Query) dataflow.Source[T, Cursor] {
	return &keysetSource[T]{newKeyset(reflect.TypeFor[T](), pool, q)}
}

func newKeyset(record reflect.Type, pool *pgxpool.Pool, q Query) *keyset {
	s := &keyset{pool: pool, server: &server{}, args: slices.Clone(q.Args), guard: q.LateCommits, lookback: q.Lookback, catalogue: &catalogueNotes{}}
	s.query = rowmap.Keyset{SQL: q.SQL, Args: len(q.Args), Key: slices.Clone(q.Key), PageSize: q.PageSize, PageBytes: q.PageBytes, Nulls: rowmap.Nulls(q.Nulls), Mark: "$"}
	s.fields, s.fieldsErr = rowmap.Of(record, isValue)
	return s
}

// keysetSource is a keyset for records of type T.
type keysetSource[T any] struct{ of *keyset }

// Validate returns what is wrong with the query.
func (s *keysetSource[T]) Validate() error { return s.of.Validate() }

// Describe names the query and its key.
func (s *keysetSource[T]) Describe() dataflow.Description { return s.of.Describe() }

// Count returns how many rows a read may still take.
func (s *keysetSource[T]) Count(ctx context.Context, r dataflow.Request[Cursor]) (int64, error) {
	return s.of.Count(ctx, r)
}

// Lag returns the age of the first row after the cursor, by the first column of the key and
// the database's clock. It can tell if that column is a timestamp with time zone, or one
// without of which the guard says that it is in UTC.
func (s *keysetSource[T]) Lag(ctx context.Context, r dataflow.Request[Cursor]) (time.Duration, bool, error) {
	return s.of.Lag(ctx, r)
}

// Notes returns what holds rows back, and what the catalogue says about the query.
func (s *keysetSource[T]) Notes(ctx context.Context, r dataflow.Request[Cursor]) ([]string, error) {
	return s.of.Notes(ctx, r)
}

// CheckRequest returns an error if a cursor of the request is invalid.
func (s *keysetSource[T]) CheckRequest(r dataflow.Request[Cursor]) error {
	return s.of.CheckRequest(r)
}

// Split returns the keys after which the rows can be cut into n parts.
func (s *keysetSource[T]) Split(ctx context.Context, r dataflow.Request[Cursor], n int) ([]Cursor, error) {
	return s.of.Split(ctx, r, n)
}

// OrderedBy returns the first column of the key.
func (s *keysetSource[T]) OrderedBy() string {
	if len(s.of.query.Key) == 0 {
		return ""
	}
	return s.of.query.Key[0]
}

// SeekEnd returns the key of the last row that a read would yield that begins now. The guard holds
// back the rows after it.
func (s *keysetSource[T]) SeekEnd(ctx context.Context, r dataflow.Request[Cursor]) (Cursor, bool, error) {
	return s.of.SeekEnd(ctx, r)
}

// SeekTime returns the key of the last row whose first key column is before a time. A column
// without a time zone is compared with the time's wall clock.
func (s *keysetSource[T]) SeekTime(ctx context.Context, r dataflow.Request[Cursor], before time.Time) (Cursor, bool, error) {
	return s.of.SeekTime(ctx, r, before)
}

type keyset struct {
	pool      *pgxpool.Pool
	server    *server
	args      []any
	guard     Guard // nil means the default
	lookback  time.Duration
	until     Cursor
	whole     *keyset // the source without the end until; nil without such an end
	complete  bool    // no row up to until may be left out
	query     rowmap.Keyset
	fields    *rowmap.Plan
	fieldsErr error
	catalogue *catalogueNotes
}

func (s *keyset) Validate() error {
	var errs []error
	if s.pool == nil {
		errs = append(errs, &dataflow.ConfigError{Field: "pool", Reason: "it is nil: create it with pgxpool.New"})
	}
	if s.fieldsErr != nil {
		errs = append(errs, &dataflow.ConfigError{Field: "T", Reason: s.fieldsErr.Error()})
	}
	errs = append(errs, validateArgs("Query.Args", s.args)...)
	if s.guard != nil {
		errs = append(errs, s.guard.validate(s.query.Key))
	}
	errs = append(errs, s.validateLookback())
	return errors.Join(append(errs, s.query.Validate())...)
}

func (s *keyset) Describe() dataflow.Description {
	detail := map[string]any{"sql": s.query.SQL, "key": s.query.Key}
	if s.query.Nulls != rowmap.NullsRefuse {
		detail["nulls"] = s.query.Nulls.String()
	}
	if s.guard != nil {
		detail["late_commits"] = s.guard.String()
	}
	if s.lookback > 0 {
		detail["lookback"] = s.lookback.String()
	}
	return dataflow.Description{Type: "pgtable.keyset", Detail: detail}
}

// Count returns how many rows a read may still take. The read asks the guard again,
// and may go a little further.
func (s *keyset) Count(ctx context.Context, r dataflow.Request[Cursor]) (int64, error) {
	r, at := rowmap.WithoutAgain(&s.query, r)
	from, err := s.query.Start(r.Resumed, r.From)
	if err != nil {
		return 0, s.query.Wrap(err)
	}
	if rowmap.LooksBack(s.lookback, r, at) {
		if from = at; from == nil {
			if from, err = s.lookbackFrom(ctx, r.From); err != nil {
				return 0, s.query.Wrap(err)
			}
		}
	}
	var n int64
	err = retryStale(s.pool, func() error {
		n, err = s.upTo(r).count(ctx, from)
		if err == nil && n > 0 && !r.Resumed && s.query.Nulls == rowmap.NullsFirst {
			var nulls int64
			nulls, err = s.countNulls(ctx)
			n += nulls
		}
		return err
	})
	if err != nil {
		return 0, transient(ctx, s.pool, s.query.Wrap(err))
	}
	return n, nil
}

// Lag returns the age of the first row after the cursor.
func (s *keyset) Lag(ctx context.Context, req dataflow.Request[Cursor]) (age time.Duration, ok bool, err error) {
	req, _ = rowmap.WithoutAgain(&s.query, req)
	from, err := s.query.Start(req.Resumed, req.From)
	if err != nil {
		return 0, false, s.query.Wrap(err)
	}
	err = retryStale(s.pool, func() error {
		age, ok, err = s.upTo(req).lag(ctx, from)
		return err
	})
	if err != nil {
		return 0, false, transient(ctx, s.pool, s.query.Wrap(err))
	}
	return age, ok, nil
}

// lag looks at the first row after a cursor, which the guard may still hold back.
func (s *keyset) lag(ctx context.Context, from Cursor) (time.Duration, bool, error) {
	r := &reader{keyset: s}
	if _, err := r.describe(ctx, from); err != nil {
		return 0, false, err
	}
	moment := rowmap.Qualified(s.query.Key)[0]
	switch first := r.keys[0]; first.DataTypeOID {
	case pgtype.TimestamptzOID:
	case pgtype.TimestampOID:
		if cast, err := guardFor(s.guard, first).cast(first); err != nil || cast == "" {
			return 0, false, nil // it says not in which zone the times are
		}
		moment += " at time zone 'utc'"
	default:
		return 0, false, nil
	}
	query := r.query
	query.PageSize = 1
	age := "case when isfinite(" + moment + ") then (extract(epoch from clock_timestamp() - " + moment + ") * 1000000)::bigint else 0 end"
	rows, err := s.pool.Query(ctx, query.PageQuery([]string{age}, from != nil), withCursor(s.args, from)...)
	if err != nil {
		return 0, false, err
	}
	defer rows.Close()
	var micros int64
	if rows.Next() {
		if err := rows.Scan(&micros); err != nil {
			return 0, false, err
		}
	}
	rows.Close()
	micros = min(max(micros, 0), math.MaxInt64/int64(time.Microsecond)) // 292 years
	return time.Duration(micros) * time.Microsecond, rows.Err() == nil, rows.Err()
}

func (s *keyset) count(ctx context.Context, from Cursor) (n int64, err error) {
	r := &reader{keyset: s}
	defer func() { err = r.explainCursor(ctx, from, err) }()
	if _, err := r.describe(ctx, from); err != nil {
		return 0, err
	}
	from = r.now(from)
	g, err := r.guardedQuery(ctx, r.keys[0], readStart{from: from, rough: true})
	if err != nil {
		return 0, err
	}
	err = s.pool.QueryRow(ctx, g.query.CountQuery(from != nil), withCursor(g.args, from)...).Scan(&n)
	return n, err
}

// Read yields the rows after the cursor.
func (s *keysetSource[T]) Read(ctx context.Context, r dataflow.Request[Cursor]) iter.Seq2[dataflow.Item[T, Cursor], error] {
	if err := s.of.Validate(); err != nil {
		return failed[T](dataflow.Permanent(err))
	}
	of, keyed, before := s.of.reading(r)
	return rowmap.Read(ctx, of, collectInto[T](keyed), collectInto[T](before))
}

// reading returns what a request reads, and its readers: of the rows after the cursor, and of those
// that come before them, if there are such.
func (s *keyset) reading(r dataflow.Request[Cursor]) (of *rowmap.Reading[Cursor], keyed, before *reader) {
	r, at := rowmap.WithoutAgain(&s.query, r)
	keyed, before = &reader{keyset: s.upTo(r)}, &reader{}
	of = &rowmap.Reading[Cursor]{Keyset: &s.query, Request: r, Fetch: keyed.fetchPage}
	switch {
	case rowmap.LooksBack(s.lookback, r, at):
		before.keyset = s.lookbackTo(r.From)
		of.Lookback = &rowmap.Lookback[Cursor]{At: at, Fetch: before.fetchPage, Begin: func(ctx context.Context) (Cursor, error) { return s.lookbackFrom(ctx, r.From) }}
	case s.query.Nulls == rowmap.NullsFirst && !r.Resumed:
		before.keyset, before.limit = s.ofNulls(), rowmap.NullsPage()
		of.Nulls = &rowmap.NullRows[Cursor]{Query: before.query, Fetch: before.fetchPage}
	}
	return of, keyed, before
}

// ofNulls returns the source of the rows without a key.
func (s *keyset) ofNulls() *keyset {
	of := *s
	of.query, of.guard = s.query.OfNulls(s.fields.Names()), Unguarded{}
	return &of
}

// countNulls returns how many rows have no key.
func (s *keyset) countNulls(ctx context.Context) (n int64, err error) {
	if s.query.Nulls == rowmap.NullsRefuse {
		return 0, nil
	}
	err = s.pool.QueryRow(ctx, s.query.CountNullsQuery(), s.args...).Scan(&n)
	return n, err
}

// CheckRequest returns an error if a cursor of the request is invalid.
func (s *keyset) CheckRequest(r dataflow.Request[Cursor]) error {
	r, _ = rowmap.WithoutAgain(&s.query, r)
	return rowmap.CheckPlaces(&s.query, r)
}

// upTo returns the source for a request, which may end at a cursor.
func (s *keyset) upTo(r dataflow.Request[Cursor]) *keyset {
	if !r.Bounded {
		return s
	}
	b := *s
	b.query, b.args, b.until, b.whole, b.complete = *s.query.UpTo(), withCursor(s.args, r.Until), r.Until, s, r.Whole
	return &b
}

// failed returns a read that ends with err before its first row.
func failed[T any](err error) iter.Seq2[dataflow.Item[T, Cursor], error] {
	return func(yield func(dataflow.Item[T, Cursor], error) bool) { yield(dataflow.Item[T, Cursor]{}, err) }
}
