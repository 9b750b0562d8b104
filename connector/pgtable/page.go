package pgtable

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow/internal/rowmap"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// notNullQuery counts the given table columns that may be null. From Postgres 18 on, a constraint that is
// "not null … not valid" forbids NULL in new rows only.
const notNullQuery = `
select count(*)
from unnest($1::bigint[], $2::bigint[]) as k (relation, number)
left join pg_catalog.pg_attribute a on a.attrelid = k.relation::oid and a.attnum = k.number
where a.attnotnull is not true
	or exists (select from pg_catalog.pg_constraint c where c.conrelid = a.attrelid and c.contype = 'n' and a.attnum = any(c.conkey) and not c.convalidated)`

// reader reads the pages of one read.
type reader struct {
	*keyset
	keys     []keyColumn      // nil until looked up
	columns  []string         // T's columns, quoted
	ties     bool             // true if different texts may be equal values of the key
	common   bool             // true if all key columns are of common types
	nullable bool             // true if a key column after the first may be null
	guarded  *guarded         // nil until the guard was asked
	stall    error            // the error to return after the last page
	given    Cursor           // the cursor that the read began with, as it was stored
	at       Cursor           // the same place in the types of now
	limit    rowmap.PageLimit // how much the next page may hold
	scratch  reflect.Value    // the record into which each row is scanned
	// collect puts the rows of a page into a slice of their type.
	collect func(p *pageScan)
}

// collectInto lets a reader read records of type T, and returns where it puts those of its last
// page. It is all of the reader that knows T.
func collectInto[T any](r *reader) *[]T {
	rows, scratch := new([]T), new(T)
	r.scratch = reflect.ValueOf(scratch).Elem()
	r.collect = func(p *pageScan) {
		*rows = make([]T, 0, len(*rows))
		for p.next() {
			*rows = append(*rows, *scratch)
		}
	}
	return rows
}

// fetchPage is page with the errors that pass marked.
func (r *reader) fetchPage(ctx context.Context, from Cursor) (*rowmap.Page, error) {
	page, err := r.page(ctx, from)
	if r.complete && sqlstate.Has(err, divisionByZero) {
		err = fmt.Errorf("%w: unless the query divides, %s", err, fromElsewhere)
	}
	return page, transient(ctx, r.pool, err)
}

// page reads the page after a cursor, or the first page.
func (r *reader) page(ctx context.Context, from Cursor) (*rowmap.Page, error) {
	page, err := r.pageOrStale(ctx, from)
	for tooMuch(err) && r.limit.Rows > leastPage && !r.limit.Single && ctx.Err() == nil {
		r.limit.Shrink(max(r.limit.Rows/4, leastPage))
		page, err = r.pageOrStale(ctx, from)
	}
	return page, r.explainCursor(ctx, from, err)
}

// leastPage is the size down to which pages shrink while they take the server too long.
const leastPage = 10

// pageOrStale reads a page, again if a statement was stale.
func (r *reader) pageOrStale(ctx context.Context, from Cursor) (page *rowmap.Page, err error) {
	err = retryStale(r.pool, func() error {
		page, err = r.nextPage(ctx, from)
		if sqlstate.Is(err, sqlstate.Again) {
			r.guarded = nil // the types of the columns may have changed
		}
		return err
	})
	return page, err
}

func (r *reader) nextPage(ctx context.Context, from Cursor) (*rowmap.Page, error) {
	if r.stall != nil {
		return nil, r.stall
	}
	if r.guarded == nil {
		if err := r.open(ctx, from); err != nil {
			return nil, err
		}
	}
	from = r.now(from)
	if from != nil && r.nullable {
		if err := r.refuse(ctx, r.query.NullQuery(r.keyList()), withCursor(r.args, from)[:len(r.args)+len(r.keys)-1]); err != nil {
			return nil, err
		}
	}
	page, err := r.fetch(ctx, from)
	if err != nil {
		return nil, err
	}
	if !page.More {
		r.stall = r.stalled(ctx, from)
		page.More = r.stall != nil
	}
	return page, nil
}

// fewRows is the size of a page up to which the row after it is read without its columns,
// as rows in such pages are heavy.
const fewRows = 16

func (r *reader) fetch(ctx context.Context, from Cursor) (*rowmap.Page, error) {
	if r.limit.Rows == 0 {
		r.limit = r.query.FirstPage()
	}
	query := *r.guarded.query
	query.Ties, query.PageSize = r.ties, r.limit.Rows
	list := r.columns
	if r.limit.Rows <= fewRows {
		list = query.OfPage(list)
	}
	list = slices.Concat(list, r.typeList(), r.keyList())
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := r.pool.Query(within, query.PageQuery(list, from != nil), inBinary(r.pool, withCursor(r.guarded.args, from))...)
	if err != nil {
		return nil, err
	}
	leave(r.pool, rows.Conn())
	defer rows.Close()
	if r.retyped(rows.FieldDescriptions()) {
		cancel()
		return nil, errAltered()
	}
	scan := r.scan(rows)
	r.collect(scan)
	page, err := scan.end()
	if err != nil || page.More && r.limit.Rest(scan.weight) > r.limit.Bytes {
		cancel() // before Close, which would otherwise read all remaining rows
	}
	if err != nil {
		return nil, err
	}
	r.limit.Learn(scan.weight)
	return page, nil
}

// open looks up the query's columns and checks them against T. Then it asks the
// guard how far to read.
func (r *reader) open(ctx context.Context, from Cursor) error {
	names, err := r.describe(ctx, from)
	if err != nil {
		return err
	}
	from = r.now(from)
	if err := r.fields.Match(names, r.query.Key); err != nil {
		return err
	}
	r.columns = rowmap.Qualified(r.fields.Names())
	if err := r.checkKey(ctx); err != nil {
		return err
	}
	if err := r.checkOrder(ctx); err != nil {
		return err
	}
	if err := r.lookUpNullable(ctx); err != nil {
		return err
	}
	if r.query.Nulls == rowmap.NullsRefuse {
		if err := r.refuse(ctx, r.query.FirstNullQuery(r.keyList()), r.args); err != nil {
			return err
		}
	}
	if r.guarded, err = r.guardedQuery(ctx, r.keys[0], readStart{from: from}); err == nil && r.complete && r.guarded.cast != "" {
		if err = r.checkComplete(ctx); err != nil {
			r.guarded = nil
		}
	}
	return err
}

// describe looks up the key columns, and checks the cursor and the end of the read
// against them. It returns the names of all columns.
func (r *reader) describe(ctx context.Context, from Cursor) ([]string, error) {
	if err := r.server.check(ctx, r.pool); err != nil {
		return nil, err
	}
	fields, err := r.fieldsOf(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	r.keys = make([]keyColumn, len(r.query.Key))
	for i, name := range r.query.Key {
		at := slices.Index(names, name)
		if at < 0 {
			return nil, fmt.Errorf("key column %q is not among the query's columns (%v): select it", name, names)
		}
		r.keys[i].FieldDescription = fields[at]
	}
	if err := r.lookUpTypes(ctx); err != nil {
		return nil, err
	}
	at, err := r.checkCursor(ctx, from)
	if err != nil {
		return nil, err
	}
	r.given, r.at = from, at
	until, err := r.checkCursor(ctx, r.until)
	if err == nil && !slices.Equal(until, r.until) {
		r.restrict(r.unbounded(), until)
	}
	return names, err
}

// now returns a cursor in the types that the key columns have now. Cursors of the read's own
// pages have these types.
func (r *reader) now(from Cursor) Cursor {
	if r.at != nil && slices.Equal(from, r.given) {
		return r.at
	}
	return from
}

// fieldsOf looks up the columns of the query. It refuses those that are read as text that
// depends on the session.
func (r *reader) fieldsOf(ctx context.Context) ([]pgconn.FieldDescription, error) {
	conn, err := r.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	if err := checkEncoding(conn.Conn()); err != nil {
		return nil, err
	}
	whole := r.unbounded()
	rows, err := conn.Query(ctx, whole.query.DescribeQuery(), whole.args...)
	if err != nil {
		return nil, err
	}
	leave(r.pool, rows.Conn())
	fields := slices.Clone(rows.FieldDescriptions())
	rows.Close()
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return fields, checkTexts(ctx, conn.Conn(), r.valuesOf(fields))
}

// valuesOf returns the columns that are read into a field.
func (r *reader) valuesOf(columns []pgconn.FieldDescription) []pgconn.FieldDescription {
	return slices.DeleteFunc(slices.Clone(columns), func(c pgconn.FieldDescription) bool { return r.fields == nil || r.fields.Index(c.Name) < 0 })
}

// unbounded returns the source without the end until.
func (r *reader) unbounded() *keyset {
	if r.whole != nil {
		return r.whole
	}
	return r.keyset
}

// lookUpNullable asks whether a key column after the first may be null.
func (r *reader) lookUpNullable(ctx context.Context) error {
	if len(r.keys) == 1 || r.query.Nulls != rowmap.NullsRefuse {
		return nil
	}
	var relations, numbers []int64
	for _, k := range r.keys[1:] {
		relations = append(relations, int64(k.TableOID))
		numbers = append(numbers, int64(k.TableAttributeNumber))
	}
	var n int
	if err := r.pool.QueryRow(ctx, notNullQuery, relations, numbers).Scan(&n); err != nil {
		return inTheWay(fmt.Errorf("look up the key columns: %w", err))
	}
	r.nullable = n > 0
	return nil
}

// refuse returns an error if a row has null in its key.
func (r *reader) refuse(ctx context.Context, query string, args []any) error {
	null, err := r.findNull(ctx, query, args)
	return cmp.Or(null, err)
}

// findNull returns the error of a row that a query finds, nil if it finds none.
func (r *reader) findNull(ctx context.Context, query string, args []any) (null, err error) {
	rows, err := r.pool.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err()
	}
	return r.nullError(rows.RawValues()), nil
}

func (r *reader) nullError(raw [][]byte) error {
	key := make([]*string, len(raw))
	for i, v := range raw {
		if v == nil {
			continue
		}
		b, err := r.keys[i].appendText(nil, v)
		if err != nil {
			return err
		}
		text := string(b)
		key[i] = &text
	}
	return r.query.NullError(key)
}

// typeList selects NULL in the types of the key columns without a field. A key is read as text, which would not
// show that its column has become of another type, in which the cursor is at another place.
func (r *reader) typeList() []string {
	var list []string
	for i, name := range rowmap.Qualified(r.query.Key) {
		if r.fields.Index(r.query.Key[i]) < 0 {
			list = append(list, "case when false then "+name+" end")
		}
	}
	return list
}

// retyped reports whether the key columns of a page are of other types than those that were looked up. Postgres refuses
// a prepared statement then, but not one of the other modes of pgx. columns are none if the statement failed.
func (r *reader) retyped(columns []pgconn.FieldDescription) bool {
	next := len(r.fields.Columns)
	for i, name := range r.query.Key {
		at := r.fields.Index(name)
		if at < 0 {
			at = next
			next++
		}
		if at < len(columns) && columns[at].DataTypeOID != r.keys[i].DataTypeOID {
			return true
		}
	}
	return false
}

// keyList selects the key columns as text.
func (r *reader) keyList() []string {
	list := make([]string, len(r.keys))
	for i, name := range rowmap.Qualified(r.query.Key) {
		list[i] = r.keys[i].expression(name)
	}
	return list
}
