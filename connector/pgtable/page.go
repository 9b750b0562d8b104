package pgtable

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// notNullQuery counts the given table columns that may be null.
const notNullQuery = `
select count(*)
from unnest($1::bigint[], $2::bigint[]) as k (relation, number)
left join pg_catalog.pg_attribute a on a.attrelid = k.relation::oid and a.attnum = k.number
where a.attnotnull is not true`

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
	limit    rowmap.PageLimit // how much the next page may hold
	scratch  reflect.Value    // the record into which each row is scanned
	// collect puts the rows of a page into a slice of their type.
	collect func(p *pageScan)
}

// newReader returns a reader for records of type T, and where it puts the rows of its last
// page. It is all of the reader that knows T.
func newReader[T any](s *keyset) (*[]T, *reader) {
	rows, scratch := new([]T), new(T)
	r := &reader{keyset: s, scratch: reflect.ValueOf(scratch).Elem()}
	r.collect = func(p *pageScan) {
		*rows = make([]T, 0, len(*rows))
		for p.next() {
			*rows = append(*rows, *scratch)
		}
	}
	return rows, r
}

// page reads the page after a cursor, or the first page.
func (r *reader) page(ctx context.Context, from Cursor) (*rowmap.Page, error) {
	page, err := r.pageOrStale(ctx, from)
	for tooMuch(err) && r.limit.Rows > leastPage && ctx.Err() == nil {
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
	list = slices.Concat(list, r.keyList())
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := r.pool.Query(within, query.PageQuery(list, from != nil), inBinary(r.pool, withCursor(r.guarded.args, from))...)
	if err != nil {
		return nil, err
	}
	leave(r.pool, rows.Conn())
	defer rows.Close()
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
func (r *reader) describe(ctx context.Context, from Cursor) ([]string, error) {
	if err := r.server.check(ctx, r.pool); err != nil {
		return nil, err
	}
	whole := r.unbounded()
	rows, err := r.pool.Query(ctx, whole.query.DescribeQuery(), whole.args...)
	if err != nil {
		return nil, err
	}
	leave(r.pool, rows.Conn())
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
	if err := r.checkCursor(ctx, from); err != nil {
		return nil, err
	}
	return names, r.checkCursor(ctx, r.until)
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
func (r *reader) refuse(ctx context.Context, query string, args []any) error {
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

// keyList selects the key columns as text.
func (r *reader) keyList() []string {
	list := make([]string, len(r.keys))
	for i, name := range rowmap.Qualified(r.query.Key) {
		list[i] = r.keys[i].expression(name)
	}
	return list
}

// pageScan reads the rows of a page one by one into the reader's scratch record.
type pageScan struct {
	*reader
	rows   pgx.Rows
	page   rowmap.Page
	weight rowmap.PageWeight // what the page weighs, as it was received
	keys   keyText
	plans  []columnPlan
	err    error // the error that ended the read
}

func (r *reader) scan(rows pgx.Rows) *pageScan {
	return &pageScan{reader: r, rows: rows, keys: keyText{columns: r.keys}}
}

// next reads a row. It returns false at the page's end, which is the limit at most.
func (s *pageScan) next() bool {
	if s.err != nil || !s.rows.Next() {
		return false
	}
	raw := s.rows.RawValues()
	if s.err = s.addKey(raw[len(s.fields.Columns):]); s.err != nil {
		return false
	}
	bytes := 0
	for _, v := range raw {
		bytes += len(v)
	}
	if s.page.More = !s.weight.Add(s.limit, bytes); s.page.More {
		return false // the row after the page: only its key counts
	}
	if s.plans == nil {
		s.plans = s.plan(s.rows)
	}
	if err := s.decode(raw); err != nil {
		if s.page.Bad == nil {
			s.page.Bad = make(map[int]error)
		}
		s.page.Bad[s.weight.Rows-1] = err
	}
	return true
}

// addKey adds the key of a row.
func (s *pageScan) addKey(key [][]byte) error {
	tie := false
	if s.ties {
		last := key[len(key)-1]
		tie = len(last) == 1 && (last[0] == 1 || last[0] == 't')
		key = key[:len(key)-1]
	}
	if hasNull(key) {
		return s.nullError(key)
	}
	if err := s.keys.add(key); err != nil {
		return err
	}
	if tie {
		return s.tieError(s.keys)
	}
	return nil
}

// end returns the page after its last row.
func (s *pageScan) end() (*rowmap.Page, error) {
	s.scratch.SetZero() // it would keep the last row in memory while the next page is read
	if s.err == nil {
		s.err = s.rows.Err()
	}
	if s.err != nil {
		return nil, s.err
	}
	s.page.Rows, s.page.Typed = s.weight.Rows, true
	s.page.Keys, s.err = s.keys.strings(true)
	return &s.page, s.err
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
	m      *pgtype.Map
	column pgconn.FieldDescription
	name   string
}

func (s *pageScan) plan(rows pgx.Rows) []columnPlan {
	plans := make([]columnPlan, len(s.fields.Columns))
	for i, f := range rows.FieldDescriptions()[:len(plans)] {
		plans[i] = newColumnPlan(rows.TypeMap(), f, &s.fields.Columns[i], s.scratch)
	}
	return plans
}

// newColumnPlan returns the plan of a column of a result into its field of a record.
func newColumnPlan(m *pgtype.Map, f pgconn.FieldDescription, c *rowmap.Column, record reflect.Value) columnPlan {
	field := c.In(record)
	dest := field.Addr().Interface()
	return columnPlan{decode: newDecoder(f, c.Type), field: field, dest: dest, scan: newScanPlan(m, f, dest), m: m, column: f, name: c.Name}
}

// decode reads a row into the scratch record. Unlike rows.Scan, it does not give up
// all rows at the first bad one.
func (s *pageScan) decode(raw [][]byte) error {
	s.scratch.SetZero() // no record shares memory with the previous one
	for i := range s.plans {
		if err := s.plans[i].read(raw[i]); err != nil {
			s.scratch.SetZero()
			return fmt.Errorf("column %q: %w", s.fields.Columns[i].Name, err)
		}
	}
	return nil
}

// read reads a value into the field.
func (p *columnPlan) read(raw []byte) error {
	if p.decode != nil && p.decode(raw, p.field) {
		return nil
	}
	if err := p.scan.Scan(raw, p.dest); err != nil {
		return p.readError(raw, err)
	}
	return nil
}
