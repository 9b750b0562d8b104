package pgtable

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

// pageScan reads the rows of a page one by one into the reader's scratch record.
type pageScan struct {
	*reader
	rows   pgx.Rows
	page   rowmap.Page
	weight rowmap.PageWeight // what the page weighs, as it was received
	keys   keyText
	plans  []columnPlan
	key    int   // the number of columns before those of the key
	err    error // the error that ended the read
}

func (r *reader) scan(rows pgx.Rows) *pageScan {
	return &pageScan{reader: r, rows: rows, key: len(r.fields.Columns) + len(r.typeList()), keys: keyText{columns: r.keys}}
}

// next reads a row. It returns false at the page's end, which is the limit at most.
func (s *pageScan) next() bool {
	if s.err != nil || !s.rows.Next() {
		return false
	}
	raw := s.rows.RawValues()
	if s.err = s.addKey(raw[s.key:]); s.err != nil {
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
