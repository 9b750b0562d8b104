package pgchange

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
)

// relation is a table as the log describes it at some place.
type relation[T any] struct {
	of       *table // nil: it is not read
	columns  []string
	types    []uint32
	decoder  *pgtable.RowDecoder[T]
	identity []string // nil: all columns
	isKey    []bool   // the column is part of the identity
	keyAt    []int    // the places of the key's columns, by which chunks are read
	missing  []string // the columns of T that it lacks
}

// relation reads the description of a table.
func (r *reader[T]) relation(ctx context.Context, m *pglogrepl.RelationMessage) (*relation[T], error) {
	name := m.Namespace + "." + m.RelationName
	if m.Namespace == "" {
		name = "pg_catalog." + m.RelationName
	}
	rel := &relation[T]{}
	at := slices.IndexFunc(r.tables, func(t *table) bool { return t.oid == m.RelationID })
	if at < 0 {
		return rel, r.checkNew(ctx, m.RelationID, name)
	}
	rel.of = r.tables[at]
	if name != rel.of.name {
		r.s.tell(ctx, fmt.Sprintf("table %s is named %s now: its changes go on until the read begins again", rel.of.name, name))
		name = rel.of.name
	}
	fields := make([]pgconn.FieldDescription, len(m.Columns))
	for i, c := range m.Columns {
		oid, err := r.typeOf(ctx, c.DataType)
		if err != nil {
			return nil, err
		}
		fields[i] = pgconn.FieldDescription{Name: c.Name, DataTypeOID: oid, TypeModifier: c.TypeModifier, Format: pgtype.TextFormatCode}
		rel.columns, rel.types = append(rel.columns, c.Name), append(rel.types, c.DataType)
		rel.isKey = append(rel.isKey, c.Flags&1 != 0)
		if c.Flags&1 != 0 {
			rel.identity = append(rel.identity, c.Name)
		}
	}
	if m.ReplicaIdentity == 'f' {
		rel.identity = nil
	}
	for _, key := range rel.of.key {
		if at := slices.Index(rel.columns, key); at >= 0 {
			rel.keyAt = append(rel.keyAt, at)
		}
	}
	var err error
	if rel.decoder, err = pgtable.NewRowDecoder[T](r.types, fields); err != nil {
		return nil, err
	}
	if err := r.checkMoney(ctx, name, rel); err != nil {
		return nil, err
	}
	rel.missing = rel.decoder.Missing()
	if len(rel.missing) > 0 {
		r.s.tell(ctx, fmt.Sprintf("table %s has no column %s in the log any more: its changes go on without it: take the field out of the record", name, strings.Join(rel.missing, ", ")))
	}
	r.tellAltered(ctx, name, rel)
	return rel, nil
}

// checkNew returns an error if a table is to be read that was not there when the read began.
func (r *reader[T]) checkNew(ctx context.Context, oid uint32, name string) error {
	if len(r.s.options.Tables) > 0 && !slices.ContainsFunc(r.tables, func(t *table) bool { return t.name == name }) {
		return nil
	}
	now, err := r.s.lookUp(ctx, r.control)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(now.tables, func(t *table) bool { return t.oid == oid }) {
		return dataflow.Transient(fmt.Errorf("table %s was made, or added to publication %q, after the read began, which begins again with it", name, r.s.options.Publication))
	}
	return nil // it is gone again
}

// tellAltered says what is new about a table that was altered while it was read.
func (r *reader[T]) tellAltered(ctx context.Context, name string, now *relation[T]) {
	before := r.described[name]
	r.described[name] = now
	if before == nil {
		return
	}
	for i, column := range now.columns {
		switch at := slices.Index(before.columns, column); {
		case at < 0 && !now.decoder.Has(i):
			r.s.tell(ctx, fmt.Sprintf("table %s has a new column %q, for which the record has no field: it is not read", name, column))
		case at >= 0 && before.types[at] != now.types[i] && now.decoder.Has(i):
			r.s.tell(ctx, fmt.Sprintf("table %s: column %q has another type now", name, column))
		}
	}
}

// baseQuery finds the base type of a domain, and the elements of an array.
const baseQuery = `
with recursive step (oid, typbasetype, typtype) as (
	select oid, typbasetype, typtype from pg_catalog.pg_type where oid = $1
	union all
	select t.oid, t.typbasetype, t.typtype from step join pg_catalog.pg_type t on t.oid = step.typbasetype where step.typtype = 'd'
)
select oid from step where typtype <> 'd'`

// typeOf returns the type by which a column is decoded: the base type of a domain, and text for
// a type that pgx does not know, such as an enum.
func (r *reader[T]) typeOf(ctx context.Context, oid uint32) (uint32, error) {
	if _, known := r.types.TypeForOID(oid); known {
		return oid, nil
	}
	if base, ok := r.bases[oid]; ok {
		return base, nil
	}
	base := uint32(0)
	err := r.control.QueryRow(ctx, baseQuery, oid).Scan(&base)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("look up type %d: %w", oid, err)
	}
	if _, known := r.types.TypeForOID(base); !known {
		base = pgtype.TextOID
	}
	r.bases[oid] = base
	return base, nil
}

// tuple holds the values of a row: nil for NULL.
type tuple struct {
	values [][]byte
	absent []bool // nil: none is
}

func readTuple(t *pglogrepl.TupleData) tuple {
	var row tuple
	if t == nil {
		return row
	}
	row.values = make([][]byte, len(t.Columns))
	for i, c := range t.Columns {
		switch c.DataType {
		case pglogrepl.TupleDataTypeText, pglogrepl.TupleDataTypeBinary:
			row.values[i] = c.Data
		case pglogrepl.TupleDataTypeToast:
			if row.absent == nil {
				row.absent = make([]bool, len(t.Columns))
			}
			row.absent[i] = true
		}
	}
	return row
}

// tells reports whether updates and deletes say which row they were of, by its key.
func (rel *relation[T]) tells(key []string) bool {
	for _, name := range key {
		if rel.identity != nil && !slices.Contains(rel.identity, name) {
			return false
		}
	}
	return true
}

// key returns the key of a row as a text, "" if the relation has none.
func (rel *relation[T]) key(row tuple) string {
	var buffer [64]byte
	b := buffer[:0]
	for _, at := range rel.keyAt {
		b = append(strconv.AppendInt(b, int64(len(row.values[at])), 10), ':')
		b = append(b, row.values[at]...)
	}
	return string(b)
}

// fill takes absent values from another version of the row. onlyKey says that it has only the
// identity: an update carries a large key (TOAST) that it leaves alone there, and nowhere else.
func (rel *relation[T]) fill(row *tuple, from tuple, onlyKey bool) {
	for i, absent := range row.absent {
		if absent && (!onlyKey || rel.isKey[i]) && from.values != nil && (from.absent == nil || !from.absent[i]) {
			row.values[i], row.absent[i] = from.values[i], false
		}
	}
}

// absent returns the columns of T that a row lacks.
func (rel *relation[T]) absent(row tuple) []string {
	absent := slices.Clip(rel.missing)
	for i, is := range row.absent {
		if is && rel.decoder.Has(i) {
			absent = append(absent, rel.columns[i])
		}
	}
	return absent
}

// decode decodes a row. onlyKey leaves out all but the identity.
func (rel *relation[T]) decode(to *T, row tuple, onlyKey bool) error {
	return rel.decoder.Decode(to, row.values, func(i int) bool {
		return onlyKey && !rel.isKey[i] || row.absent != nil && row.absent[i]
	})
}
