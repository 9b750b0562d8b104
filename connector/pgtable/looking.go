package pgtable

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/batch"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// spares reports whether an upsert looks first which rows exist: a column that T lacks
// takes numbers from a sequence, and "on conflict" would spend one on each row, also on
// those that exist. A trigger before an insert must see all rows. The look reads ctid, for
// which a role needs the right to read the whole table.
func (st *statement) spares(t *target) bool {
	return t.plain && t.readable && !t.before && slices.ContainsFunc(t.columns, func(c tableColumn) bool {
		return c.isNumbered && st.fields.Index(c.name) < 0
	})
}

// looked returns the common table expressions by which an upsert finds and updates the
// rows that exist:
//
//   - d holds the last row of each key, and their order p;
//   - x finds the rows of the table that have these keys, and which of them change;
//   - u updates these.
//
// Their names begin with dataflow_, because a table may have any other name, such as d.
//
// What remains is left to insert, whose "on conflict" meets the rows that another
// transaction has inserted since x looked. Of a row that another transaction has changed,
// deleted or given another key since, u may learn only when it has waited for it. Then u
// leaves it out, so it remains too. If told is false, all rows of x are updated.
func (st *statement) looked(table pgx.Identifier, from batchRows, told bool) string {
	names := strings.Split(st.names(), ", ")
	var on, order, match, set, was, is, returning []string
	for i, c := range st.columns {
		own := "t." + rowmap.Quote(c.name)
		if c.key {
			order = append(order, names[i]+c.collate())
			on = append(on, own+c.collate()+" = d."+names[i]+c.collate())
			match = append(match, own+c.collate()+" = x."+names[i]+c.collate())
			returning = append(returning, own+" as k"+strconv.Itoa(i+1))
			continue
		}
		set = append(set, rowmap.Quote(c.name)+" = x."+names[i])
		was, is = append(was, c.exact(own)), append(is, c.exact("d."+names[i]+c.assigned()))
	}
	v := "dataflow_v as "
	if told && from.inline {
		v += "not "
	}
	if told {
		v += "materialized "
	}
	d := "select v.*, n as p from dataflow_v v"
	if !from.ordered {
		d = "select *, row_number() over () as p from (select distinct on (" + strings.Join(order, ", ") + ") * from dataflow_v v order by " + strings.Join(order, ", ") + st.newest() + ", n desc) v"
	}
	changed := "true"
	switch {
	case set == nil:
		changed = "false"
	case told:
		changed = "(" + strings.Join(was, ", ") + ") is distinct from (" + strings.Join(is, ", ") + ")"
	}
	if st.newer != nil {
		changed += " and coalesce(" + st.notOlder("d."+names[slices.Index(st.columns, st.newer)]+st.newer.assigned()) + ", false)"
	}
	with := "with " + v + "(\n" + from.query + "\n), dataflow_d as materialized (" + d + "),\n" +
		"dataflow_x as materialized (select d.*, t.ctid as place, " + changed + " as changed from dataflow_d d join " + st.only + table.Sanitize() + " t on " + strings.Join(on, " and ") + " order by p)"
	if set == nil {
		return with
	}
	return with + ",\ndataflow_u as (update " + st.only + table.Sanitize() + " t set " + strings.Join(set, ", ") + " from dataflow_x x where changed and t.ctid = place and " + strings.Join(match, " and ") +
		"\nreturning " + strings.Join(returning, ", ") + ", true as updated, p)"
}

// lookingFirst returns an upsert that looks first which rows exist. It inserts only the
// others, so it spends numbers of sequences only on them.
func (st *statement) lookingFirst(table pgx.Identifier, key []string, from batchRows) string {
	return st.looked(table, from, false) + "\n" + st.insertOthers(table, key) + " " + st.onConflict(key, nil)
}

// awaitPredecessor waits for the commit of the batch before, if the statement looks first which
// rows exist. Otherwise it could take a row that this commit changes for unchanged. A
// transaction that has taken its only snapshot before that commit cannot be committed: its
// checkpoint changes the same rows.
func (st *statement) awaitPredecessor(ctx context.Context) error {
	if !st.looks {
		return nil
	}
	return batch.AwaitPredecessor(ctx)
}

// insertOthers inserts the rows of d that neither are in the table unchanged nor were
// updated.
func (st *statement) insertOthers(table pgx.Identifier, key []string) string {
	others := "not exists (select from dataflow_x x where x.p = d.p and not changed)"
	if len(key) < len(st.columns) {
		others += " and not exists (select from dataflow_u u where u.p = d.p)"
	}
	return "insert into " + table.Sanitize() + " as t (" + st.columnNames() + ") " + st.over + "select " + st.names() + " from dataflow_d d where " + others + " order by p"
}

// into begins an insert statement.
func (st *statement) into(table pgx.Identifier) string {
	alias := ""
	if st.newer != nil {
		alias = " as t"
	}
	return strings.TrimSpace("insert into " + table.Sanitize() + alias + " (" + st.columnNames() + ") " + st.over)
}

// assigned returns the cast by which Postgres rounds a value for the column. Other types
// with a length refuse what does not fit.
func (c *column) assigned() string {
	switch c.oid {
	case pgtype.NumericOID, pgtype.TimestampOID, pgtype.TimestamptzOID, pgtype.TimeOID, pgtype.TimetzOID, pgtype.IntervalOID:
		return "::" + c.full
	default:
		return ""
	}
}

// mostSamples is the number of keys of a batch that are looked for before a COPY directly
// into a table with sequences.
const mostSamples = 16

// keysExist is in the error by which a sample ends the statements of a batch.
const keysExist = "dataflow: keys of the batch exist"

// sample returns a statement that fails if some keys of a batch exist. COPY would fail at
// the first of them, but not before it has spent numbers of a sequence on many rows. A key
// that cannot be looked for is left to COPY.
func (cp *copier) sample(m *pgtype.Map, rows reflect.Value) string {
	var on, names, values []string
	for i, c := range cp.columns {
		if c.key {
			name := "c" + strconv.Itoa(i+1)
			names = append(names, name)
			on = append(on, "t."+rowmap.Quote(c.name)+c.collate()+" = s."+name+c.collate())
		}
	}
	var buf []byte
	n := min(rows.Len(), mostSamples)
	for i := range n {
		row := rows.Index(i * (rows.Len() - 1) / max(n-1, 1))
		var key []string
		for _, c := range cp.columns {
			if !c.key {
				continue
			}
			text, err := pgxText(m, c.oid, c.field.In(row).Interface(), &buf)
			if err != nil || text == nil {
				return ""
			}
			key = append(key, literal(string(text))+"::"+c.typ)
		}
		values = append(values, "("+strings.Join(key, ", ")+")")
	}
	return "select (case when exists (select from " + cp.table + " t join (values " + strings.Join(values, ", ") + ") s (" + strings.Join(names, ", ") +
		") on " + strings.Join(on, " and ") + ") then '" + keysExist + "' else '0' end)::int; "
}

// checkIdentity refuses what Postgres would refuse of an identity column that is
// "generated always", and says what to do.
func (st *statement) checkIdentity(how way) error {
	if how.overriding {
		st.over = "overriding system value "
	}
	for _, c := range st.columns {
		switch {
		case !c.isIdentity:
			continue
		case !how.overriding:
			return dataflow.Permanent(fmt.Errorf("column %q (field %s) is generated always as identity, so Postgres refuses a value for it: "+
				"use pgtable.Write with Table.OverridingSystemValue to write the record's value, or leave the field out (`db:\"-\"`) to let Postgres number the rows", c.name, c.field.Field))
		case how.upsert && !c.key:
			return dataflow.Permanent(fmt.Errorf("column %q (field %s) is generated always as identity, and Postgres never changes it in a row that exists: "+
				"make it part of the key, leave the field out (`db:\"-\"`), or alter the column to \"generated by default\"", c.name, c.field.Field))
		default:
		}
	}
	return nil
}
