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
	return s.writeTx(ctx, rows, results)
}

// withResults is an upsert that leaves rows alone that are as they shall be, and
// returns the numbers of the batch's rows that were not added, with true for those
// whose key was written. A number of null is a key that was written and that no row
// of the batch has, because the table changes keys; nothing can be said then.
//
// Whether a row was there is asked of the table as it was when the statement began;
// one that another transaction adds in that moment counts as added by this one. Its
// xmax would tell better, but partitioned tables do not return it.
func (st *statement) withResults(insert string, table pgx.Identifier, key []string) string {
	names := strings.Split(st.names(), ", ")
	var values, order, returning, match, there, is, was []string
	for i, v := range st.values() {
		c := st.columns[i]
		values = append(values, v+" as "+names[i])
		if c.key {
			order = append(order, names[i]+c.collate())
			returning = append(returning, "t."+rowmap.Quote(c.name)+" as k"+strconv.Itoa(i+1))
			there = append(there, "v."+names[i]+c.collate()+" = o."+rowmap.Quote(c.name)+c.collate())
			match = append(match, "v."+names[i]+c.collate()+" = w.k"+strconv.Itoa(i+1)+c.collate())
			continue
		}
		was, is = append(was, c.exact("t")), append(is, c.exact("excluded"))
	}
	columns := make([]string, len(st.columns))
	for i, c := range st.columns {
		columns[i] = c.name
	}
	conflict := rowmap.OnConflict(columns, key)
	if len(is) > 0 {
		conflict += "\nwhere (" + strings.Join(was, ", ") + ") is distinct from (" + strings.Join(is, ", ") + ")"
	}
	insert = strings.Replace(insert, "insert into "+table.Sanitize(), "insert into "+table.Sanitize()+" as t", 1)
	return "with v as materialized (\nselect " + strings.Join(values, ", ") + ", n from unnest(" + st.arrays() + ") with ordinality as u (" + st.names() + ", n)\n" +
		"), w as (\n" + insert + "select distinct on (" + strings.Join(order, ", ") + ") " + st.names() + " from v order by " + strings.Join(order, ", ") + ", n desc\n" +
		conflict + "\nreturning " + strings.Join(returning, ", ") + ", true as written\n" +
		") select v.n, w.written from v full join w on " + strings.Join(match, " and ") + "\n" +
		"where v.n is null or w.written is null or exists (select from " + table.Sanitize() + " o where " + strings.Join(there, " and ") + ")"
}

// exact is a column's value for the question whether another one is the same: as it
// is where equal values are the same, and as text where they need not be (1.0 and
// 1.00, or what a collation takes for equal), or cannot be compared (json).
func (c *column) exact(of string) string {
	value := of + "." + rowmap.Quote(c.name)
	switch {
	case slices.Contains([]uint32{
		pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.BoolOID, pgtype.DateOID, pgtype.TimestampOID, pgtype.TimestamptzOID,
		pgtype.UUIDOID, pgtype.ByteaOID,
	}, c.oid):
		return value
	case c.isText && (c.oid == pgtype.TextOID || c.oid == pgtype.VarcharOID):
		return value + ` collate "C"`
	default:
		return value + `::text collate "C"`
	}
}

// queryResults runs the statement and notes what became of the rows.
func (st *statement) queryResults(ctx context.Context, tx pgx.Tx, args []any, results []dataflow.RowResult) error {
	rows, err := tx.Query(ctx, st.results, args...)
	if err != nil {
		return err
	}
	var n *int64
	var wrote *bool
	unknown := false
	_, err = pgx.ForEachRow(rows, []any{&n, &wrote}, func() error {
		switch {
		case n == nil:
			unknown = true
		case *n < 1 || *n > int64(len(results)):
			return fmt.Errorf("there is no row %d in a batch of %d", *n, len(results))
		case wrote == nil:
			results[*n-1] = dataflow.RowRedundant
		default:
			results[*n-1] = dataflow.RowUpdated
		}
		return nil
	})
	if unknown {
		clear(results)
	}
	return err
}
