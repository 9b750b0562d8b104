package pgtable

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// notNullQuery counts the given table columns that may be null.
const notNullQuery = `
select count(*)
from unnest($1::bigint[], $2::bigint[]) as k (relation, number)
left join pg_catalog.pg_attribute a on a.attrelid = k.relation::oid and a.attnum = k.number
where a.attnotnull is not true`

// reader reads the pages of one read.
type reader[T any] struct {
	*keyset[T]
	keys     []keyColumn // nil until looked up
	columns  []string    // T's columns, quoted
	ties     bool        // true if different texts may be equal values of the key
	common   bool        // true if all key columns are of common types
	nullable bool        // true if a key column after the first may be null
	guarded  *guarded    // nil until the guard was asked
	stall    error       // the error to return after the last page
	scratch  T           // the record into which each row is scanned
	size     int         // the number of rows in the last page
	limit    int         // the number of rows to read next; 0 means the query's page size
}

// page reads the page after a cursor, or the first page.
func (r *reader[T]) page(ctx context.Context, from Cursor) (*rowmap.Page[T], error) {
	page, err := r.nextPage(ctx, from)
	for range r.pool.Config().MaxConns {
		if !isStalePlan(err) {
			break
		}
		r.guarded = nil // the types of the columns may have changed
		page, err = r.nextPage(ctx, from)
	}
	return page, r.explainCursor(ctx, from, err)
}

func (r *reader[T]) nextPage(ctx context.Context, from Cursor) (*rowmap.Page[T], error) {
	if r.stall != nil {
		return nil, r.stall
	}
	if r.guarded == nil {
		if err := r.open(ctx, from); err != nil {
			return nil, err
		}
	}
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

func (r *reader[T]) fetch(ctx context.Context, from Cursor) (*rowmap.Page[T], error) {
	list := slices.Concat(r.columns, r.keyList())
	query := *r.guarded.query
	query.Ties = r.ties
	if r.limit > 0 {
		query.PageSize = r.limit
	}
	rows, err := r.pool.Query(ctx, query.PageQuery(list, from != nil), inBinary(r.pool, withCursor(r.guarded.args, from))...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	page, weight, err := r.collect(rows, query.Limit())
	if err == nil && r.query.PageSize == 0 && weight < lightPage {
		r.limit = min(2*query.Limit(), greatestPage)
	}
	return page, err
}

// A page without a given size grows while its rows take less than lightPage bytes.
const (
	lightPage    = 1 << 19
	greatestPage = 8 * rowmap.DefaultPageSize
)

// open looks up the query's columns and checks them against T. Then it asks the
// guard how far to read.
func (r *reader[T]) open(ctx context.Context, from Cursor) error {
	names, err := r.describe(ctx, from)
	if err != nil {
		return err
	}
	if err := r.fields.Match(names, r.query.Key); err != nil {
		return dataflow.Permanent(err)
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
	if err := r.refuse(ctx, r.query.FirstNullQuery(r.keyList()), r.args); err != nil {
		return err
	}
	r.guarded, err = r.guardedQuery(ctx, r.keys[0], readStart{from: from})
	return err
}

// describe looks up the key columns, and checks the cursor and the end of the read
// against them. It returns the names of all columns.
func (r *reader[T]) describe(ctx context.Context, from Cursor) ([]string, error) {
	whole := r.unbounded()
	rows, err := r.pool.Query(ctx, whole.query.DescribeQuery(), whole.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	fields := slices.Clone(rows.FieldDescriptions())
	rows.Close()
	if err := rows.Err(); err != nil {
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
			return nil, dataflow.Permanent(fmt.Errorf("key column %q is not among the query's columns (%v): select it", name, names))
		}
		r.keys[i].FieldDescription = fields[at]
	}
	if err := r.lookUpTypes(ctx); err != nil {
		return nil, err
	}
	if err := r.checkCursor(from); err != nil {
		return nil, err
	}
	return names, r.checkCursor(r.until)
}

// unbounded returns the source without the end until.
func (r *reader[T]) unbounded() *keyset[T] {
	if r.whole != nil {
		return r.whole
	}
	return r.keyset
}

// lookUpNullable asks whether a key column after the first may be null.
func (r *reader[T]) lookUpNullable(ctx context.Context) error {
	if len(r.keys) == 1 {
		return nil
	}
	var relations, numbers []int64
	for _, k := range r.keys[1:] {
		relations = append(relations, int64(k.TableOID))
		numbers = append(numbers, int64(k.TableAttributeNumber))
	}
	var n int
	if err := r.pool.QueryRow(ctx, notNullQuery, relations, numbers).Scan(&n); err != nil {
		return fmt.Errorf("look up the key columns: %w", err)
	}
	r.nullable = n > 0
	return nil
}

// refuse returns an error if a row has null in its key.
func (r *reader[T]) refuse(ctx context.Context, query string, args []any) error {
	rows, err := r.pool.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return rows.Err()
	}
	return r.nullError(rows.RawValues())
}

func (r *reader[T]) nullError(raw [][]byte) error {
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

// keyList selects the key columns as text.
func (r *reader[T]) keyList() []string {
	list := make([]string, len(r.keys))
	for i, name := range rowmap.Qualified(r.query.Key) {
		list[i] = r.keys[i].expression(name)
	}
	return list
}

// collect reads a page of at most limit rows into memory. It also returns the
// number of bytes received.
func (r *reader[T]) collect(rows pgx.Rows, limit int) (*rowmap.Page[T], int, error) {
	weight := 0
	page := &rowmap.Page[T]{Rows: make([]T, 0, r.size), Typed: true}
	keys := keyText{columns: r.keys}
	dest := r.fields.Pointers(&r.scratch)
	var plans []columnPlan
	for rows.Next() {
		raw := rows.RawValues()
		key := raw[len(dest):]
		tie := false
		if r.ties {
			last := key[len(key)-1]
			tie = len(last) == 1 && (last[0] == 1 || last[0] == 't')
			key = key[:len(key)-1]
		}
		if hasNull(key) {
			return nil, 0, r.nullError(key)
		}
		if err := keys.add(key); err != nil {
			return nil, 0, err
		}
		if tie {
			return nil, 0, r.tieError(keys)
		}
		if page.More = len(page.Rows) == limit; page.More {
			continue // the row after the page: only its key counts
		}
		if plans == nil {
			plans = r.plan(rows, dest)
		}
		for _, v := range raw {
			weight += len(v)
		}
		if err := r.scan(plans, raw); err != nil {
			if page.Bad == nil {
				page.Bad = make(map[int]error)
			}
			page.Bad[len(page.Rows)] = err
		}
		page.Rows = append(page.Rows, r.scratch)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, err
	}
	r.size = len(page.Rows)
	var err error
	page.Keys, err = keys.strings(true)
	return page, weight, err
}

// hasNull reports whether a value of a key is null.
func hasNull(key [][]byte) bool {
	return slices.ContainsFunc(key, func(v []byte) bool { return v == nil })
}

// columnPlan is how a column is read into its field of the scratch record.
type columnPlan struct {
	decode decoder       // nil if pgx decodes it
	field  reflect.Value // the field of the scratch record
	dest   any           // a pointer to the field
	scan   pgtype.ScanPlan
}

func (r *reader[T]) plan(rows pgx.Rows, dest []any) []columnPlan {
	record := reflect.ValueOf(&r.scratch).Elem()
	plans := make([]columnPlan, len(dest))
	for i, f := range rows.FieldDescriptions()[:len(dest)] {
		c := &r.fields.Columns[i]
		plans[i] = columnPlan{
			decode: newDecoder(f, c.Type), field: c.In(record),
			dest: dest[i], scan: newScanPlan(rows.TypeMap(), f, dest[i]),
		}
	}
	return plans
}

// scan reads a row into the scratch record. Unlike rows.Scan, it does not give up
// all rows at the first bad one.
func (r *reader[T]) scan(plans []columnPlan, raw [][]byte) error {
	var zero T
	r.scratch = zero // no record shares memory with the previous one
	for i := range plans {
		p := &plans[i]
		if p.decode != nil && p.decode(raw[i], p.field) {
			continue
		}
		if err := p.scan.Scan(raw[i], p.dest); err != nil {
			r.scratch = zero
			return fmt.Errorf("column %q: %w", r.fields.Columns[i].Name, err)
		}
	}
	return nil
}
