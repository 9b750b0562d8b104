package pgtable

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// upsertSink is a sink that writes only rows that change something, and tells what
// became of each.
type upsertSink[T any] struct{ *sink[T] }

// WriteResultTx writes a batch and tells what became of its rows. Rows with the same
// key share their fate.
func (s upsertSink[T]) WriteResultTx(ctx context.Context, rows []T, results []dataflow.RowResult) error {
	return s.writeTx(ctx, rows, results, false)
}

// WritePartTx is WriteResultTx for a part of a batch.
func (s upsertSink[T]) WritePartTx(ctx context.Context, rows []T, results []dataflow.RowResult) error {
	return s.writeTx(ctx, rows, results, true)
}

// batchRows are where a statement has the rows of a batch from.
type batchRows struct {
	query   string // selects them with their numbers n, from 1
	inline  bool   // it is cheap enough to be asked twice
	ordered bool   // by their keys, none of which is there twice
	count   string // how many they are, if they are ordered
}

// withResults is an upsert that leaves rows alone that are as they shall be, and tells
// what became of the others; see [fate].
//
// Of a plain table, a row's xmax tells whether it replaced one. As a rule all rows of
// a batch share their fate, which two numbers tell; only otherwise are they matched
// with what was written, by their keys.
func (st *statement) withResults(table pgx.Identifier, t *target, key []string, from batchRows) string {
	names := strings.Split(st.names(), ", ")
	var order, returning, match, there, is, was []string
	for i, c := range st.columns {
		if c.key {
			order = append(order, names[i]+c.collate())
			returning = append(returning, "t."+rowmap.Quote(c.name)+" as k"+strconv.Itoa(i+1))
			there = append(there, "v."+names[i]+c.collate()+" = o."+rowmap.Quote(c.name)+c.collate())
			match = append(match, "v."+names[i]+c.collate()+" = w.k"+strconv.Itoa(i+1)+c.collate())
			continue
		}
		was, is = append(was, c.exact("t")), append(is, c.exact("excluded"))
	}
	conflict := rowmap.OnConflict(st.fields.Names(), key)
	if len(is) > 0 {
		conflict += "\nwhere (" + strings.Join(was, ", ") + ") is distinct from (" + strings.Join(is, ", ") + ")"
	}
	with := "with v as materialized (\n"
	if from.inline {
		with = "with v as not materialized (\n"
	}
	with += from.query + "\n), "
	rows, count := "v", from.count
	if !from.ordered {
		on := strings.Join(order, ", ")
		with += "d as materialized (select distinct on (" + on + ") " + st.names() + " from v order by " + on + ", n desc), "
		rows, count = "d", "(select count(*) from d)"
	}
	with += "w as (\ninsert into " + table.Sanitize() + " as t (" + st.columnNames() + ") select " + st.names() + " from " + rows + " " + conflict +
		"\nreturning " + strings.Join(returning, ", ")
	joined := " from v full join w on " + strings.Join(match, " and ")
	if !t.xmax {
		return with + ", true as updated\n) select null::bigint, null::bigint, v.n, w.updated" + joined +
			"\nwhere v.n is null or w.updated is null or exists (select from " + table.Sanitize() + " o where " + strings.Join(there, " and ") + ")"
	}
	return with + ", t.xmax <> 0 as updated\n), s as (select count(*) as written, count(*) filter (where updated) as updated from w)\n" +
		"select written, updated, null::bigint, null::boolean from s\n" +
		"union all select null, null, v.n, w.updated" + joined +
		"\nwhere (select written > 0 and (written < " + count + " or updated > 0 and updated < written) from s)"
}

// exact is a column's value for the question whether another one is the same: as it
// is where equal values are the same, and as text where they need not be (1.0 and
// 1.00, or what a collation takes for equal), or cannot be compared (json). Of equal
// numerics, those that are shown alike have as many digits.
func (c *column) exact(of string) string {
	value := of + "." + rowmap.Quote(c.name)
	switch {
	case slices.Contains([]uint32{
		pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.BoolOID, pgtype.DateOID, pgtype.TimestampOID, pgtype.TimestamptzOID,
		pgtype.UUIDOID, pgtype.ByteaOID,
	}, c.oid):
		return value
	case c.oid == pgtype.NumericOID:
		return value + ", scale(" + value + ")"
	case c.collated && (c.oid == pgtype.TextOID || c.oid == pgtype.VarcharOID):
		return value + ` collate "C"`
	default:
		return value + `::text collate "C"`
	}
}

// queryResults runs the statement with arrays and notes what became of the rows.
func (st *statement) queryResults(ctx context.Context, tx pgx.Tx, args []any, results []dataflow.RowResult) error {
	rows, err := tx.Query(ctx, st.results, args...)
	if err != nil {
		return err
	}
	var f fate
	known := true
	_, err = pgx.ForEachRow(rows, []any{&f.written, &f.updated, &f.row, &f.wasThere}, func() error { return f.note(results, &known) })
	if !known {
		clear(results)
	}
	return err
}

// fate is a row of what a statement of [statement.withResults] returns: how many rows
// were written and how many of these replaced one, or what became of one row of the
// batch. The latter come behind the former, if they do not follow from it.
type fate struct {
	written, updated *int64
	row              *int64 // nil: a key that no row of the batch has, because the table changes keys
	wasThere         *bool  // a row of the key; nil: and was not written
}

// noteText notes a row of such a result in the text format.
func noteText(values [][]byte, results []dataflow.RowResult, known *bool) error {
	var f fate
	for i, to := range []**int64{&f.written, &f.updated, &f.row} {
		if values[i] == nil {
			continue
		}
		n, err := strconv.ParseInt(string(values[i]), 10, 64)
		if err != nil {
			return err
		}
		*to = &n
	}
	if values[3] != nil {
		f.wasThere = new(string(values[3]) == "t")
	}
	return f.note(results, known)
}

// note notes it. known becomes false where nothing can be said.
func (f *fate) note(results []dataflow.RowResult, known *bool) error {
	switch {
	case f.written != nil && *f.written == 0:
		fill(results, dataflow.RowRedundant)
	case f.written != nil && *f.updated == *f.written:
		fill(results, dataflow.RowUpdated)
	case f.written != nil:
	case f.row == nil:
		*known = false
	case *f.row < 1 || *f.row > int64(len(results)):
		return fmt.Errorf("there is no row %d in a batch of %d", *f.row, len(results))
	case f.wasThere == nil:
		results[*f.row-1] = dataflow.RowRedundant
	case *f.wasThere:
		results[*f.row-1] = dataflow.RowUpdated
	default:
		results[*f.row-1] = dataflow.RowWritten
	}
	return nil
}

func fill(results []dataflow.RowResult, with dataflow.RowResult) {
	for i := range results {
		results[i] = with
	}
}
