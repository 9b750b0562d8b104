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
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// upsertSink is a sink that writes only rows that change something, and reports the
// outcome of each.
type upsertSink[T any] struct {
	tablePowers
	to *tableSink
}

// reporting returns a sink that reports its results.
func reporting[T any](s *sink[T]) *upsertSink[T] {
	return &upsertSink[T]{tablePowers: s.to, to: s.to}
}

// WriteTx writes a batch.
func (s *upsertSink[T]) WriteTx(ctx context.Context, rows []T) error {
	return s.to.writeTx(ctx, reflect.ValueOf(rows), nil, false)
}

// RowKeys names the rows by the values of their key.
func (s *upsertSink[T]) RowKeys(rows []T) []string {
	return rowmap.RowKeys(rows, s.to.fields, s.to.key)
}

// WriteResultTx writes a batch and reports the outcome of its rows. Rows with the
// same key have the same outcome.
func (s *upsertSink[T]) WriteResultTx(ctx context.Context, rows []T, results []dataflow.RowResult) error {
	return s.to.writeTx(ctx, reflect.ValueOf(rows), results, false)
}

// WritePartTx is WriteResultTx for a part of a batch.
func (s *upsertSink[T]) WritePartTx(ctx context.Context, rows []T, results []dataflow.RowResult) error {
	return s.to.writeTx(ctx, reflect.ValueOf(rows), results, true)
}

// batchRows describes the query from which a statement takes the rows of a batch.
type batchRows struct {
	query   string // selects the rows with their numbers n, from 1
	inline  bool   // true if the query is cheap enough to run twice
	ordered bool   // true if the keys are distinct and in order
	count   string // the number of rows, if ordered
}

// withResults returns an upsert that skips unchanged rows and returns the outcome
// of the others; see [fate].
//
// In an ordinary table, a row's xmax shows whether it replaced one. Usually all
// rows of a batch have the same outcome, and two counts are enough. Only otherwise
// are the rows matched by key with those that were written.
func (st *statement) withResults(table pgx.Identifier, t *target, key []string, from batchRows) string {
	names := strings.Split(st.names(), ", ")
	var order, returning, keys, match, there, is, was []string
	for i, c := range st.columns {
		if c.key {
			order = append(order, names[i]+c.collate())
			keys = append(keys, "k"+strconv.Itoa(i+1))
			returning = append(returning, "t."+rowmap.Quote(c.name)+" as k"+strconv.Itoa(i+1))
			there = append(there, "v."+names[i]+c.collate()+" = o."+rowmap.Quote(c.name)+c.collate())
			match = append(match, "v."+names[i]+c.collate()+" = w.k"+strconv.Itoa(i+1)+c.collate())
			continue
		}
		was, is = append(was, c.exact("t."+rowmap.Quote(c.name))), append(is, c.exact("excluded."+rowmap.Quote(c.name)))
	}
	var differs []string
	if len(is) > 0 {
		differs = []string{"(" + strings.Join(was, ", ") + ") is distinct from (" + strings.Join(is, ", ") + ")"}
	}
	conflict := st.onConflict(key, differs)
	with := "with dataflow_v as materialized (\n"
	if from.inline {
		with = "with dataflow_v as not materialized (\n"
	}
	with += from.query + "\n), "
	rows, count := "dataflow_v v", from.count
	if !from.ordered {
		on := strings.Join(order, ", ")
		with += "dataflow_d as materialized (select distinct on (" + on + ") " + st.names() + " from dataflow_v v order by " + on + st.newest() + ", n desc), "
		rows, count = "dataflow_d d", "(select count(*) from dataflow_d)"
	}
	ends := "\n)"
	if st.looks {
		with, count = st.looked(table, from, true)+",\ndataflow_i as (\n"+st.insertOthers(table, key)+" "+conflict, "(select count(*) from dataflow_d)"
		ends = "\n), dataflow_w as (select * from dataflow_i)"
		if len(is) > 0 {
			ends = "\n), dataflow_w as (select * from dataflow_i union all select " + strings.Join(keys, ", ") + ", updated from dataflow_u)"
		}
	} else {
		with += "dataflow_w as (\ninsert into " + table.Sanitize() + " as t (" + st.columnNames() + ") " + st.over + "select " + st.names() + " from " + rows + " " + conflict
	}
	with += "\nreturning " + strings.Join(returning, ", ")
	joined := " from dataflow_v v full join dataflow_w w on " + strings.Join(match, " and ")
	if !t.xmax || t.triggers {
		// A trigger may keep a row from being written. Its record counts as written,
		// unless the row was there.
		skipped := "w.updated is null or "
		if t.triggers {
			skipped = ""
		}
		return with + ", true as updated" + ends + " select null::bigint, null::bigint, v.n, w.updated" + joined +
			"\nwhere v.n is null or " + skipped + "exists (select from " + table.Sanitize() + " o where " + strings.Join(there, " and ") + ")"
	}
	return with + ", t.xmax <> 0 as updated" + ends + ", dataflow_s as (select count(*) as written, count(*) filter (where updated) as updated from dataflow_w)\n" +
		"select written, updated, null::bigint, null::boolean from dataflow_s\n" +
		"union all select null, null, v.n, w.updated" + joined +
		"\nwhere (select written > 0 and (written < " + count + " or updated > 0 and updated < written) from dataflow_s)"
}

// exact returns the expressions by which a column's old and new value are compared.
// For some types, equal values may differ (1.0 and 1.00, or texts that are equal by
// their collation) or cannot be compared (json). These are compared as text. A
// numeric is compared by its value and its number of digits after the point. The text of
// floating-point numbers depends on extra_float_digits, so they are compared in their binary form.
func (c *column) exact(value string) string {
	switch {
	case slices.Contains([]uint32{
		pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.BoolOID, pgtype.DateOID, pgtype.TimestampOID, pgtype.TimestamptzOID,
		pgtype.UUIDOID, pgtype.ByteaOID,
	}, c.oid):
		return value
	case c.oid == pgtype.NumericOID:
		return value + ", scale(" + value + ")"
	case c.send != "":
		return c.send + "(" + value + ")"
	case c.collated && (c.oid == pgtype.TextOID || c.oid == pgtype.VarcharOID):
		return value + ` collate "C"`
	default:
		return value + `::text collate "C"`
	}
}

// queryResults runs the statement with arrays and stores the outcome of each row.
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

// fate is one result row of a statement of [statement.withResults]. It holds either
// two counts, of the rows written and of those that replaced one, or the outcome of
// one row. The counts come first. Single rows follow only if the counts do not give
// each outcome.
type fate struct {
	written, updated *int64
	row              *int64 // nil if no row of the batch has the written key, because the table changes keys
	wasThere         *bool  // true if a row with the key existed; nil if it was not written
}

// noteText reads a result row in the text format and stores the outcome.
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

// note stores the outcome in results. It sets known to false if the outcome is
// unclear.
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
