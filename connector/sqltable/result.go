package sqltable

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// upsertSink is a sink that writes only rows that change something, and reports the
// outcome of each.
type upsertSink[T any] struct{ *sink[T] }

// RowKeys names the rows by the values of their key.
func (s upsertSink[T]) RowKeys(rows []T) []string { return rowmap.RowKeys(rows, s.fields, s.key) }

// WriteResultTx writes a batch and reports the outcome of its rows.
func (s upsertSink[T]) WriteResultTx(ctx context.Context, rows []T, results []dataflow.RowResult) error {
	return s.writeTx(ctx, rows, results)
}

// lookup builds statements that look rows up before an upsert. Nobody else can
// write meanwhile: the transaction holds the lock of the only writer.
type lookup struct{ head, columns, tail string }

// newLookup builds a statement that selects the existing rows: each row's number in
// the statement, and whether it stays as it is. Values are compared byte by byte,
// whatever the columns' collations. The comparison converts a value to the column's
// type, as storing it does.
func newLookup(table, columns, key []string, newer *rowmap.Column) lookup {
	var match []string
	same := []string{"true"}
	names := make([]string, len(columns))
	for i, name := range columns {
		names[i] = "c" + strconv.Itoa(i+1)
		was, is := "t."+rowmap.Quote(name), "v."+names[i]
		if slices.Contains(key, name) {
			match = append(match, was+" = "+is)
		} else {
			same = append(same, was+" is "+is+" collate binary")
		}
	}
	stays := strings.Join(same, " and ")
	if newer != nil {
		stays = "(" + stays + ") or not coalesce(" + notOlder(newer, "v."+names[slices.Index(columns, newer.Name)]) + ", false)"
	}
	return lookup{
		head:    "with v (n, " + strings.Join(names, ", ") + ") as (values ",
		columns: strings.Repeat(", ?", len(columns)),
		tail: ") select v.n, " + stays + " from v join " + rowmap.QuoteAll(table, ".") + " t on " +
			strings.Join(match, " and "),
	}
}

func (l *lookup) statement(rows int) string {
	values := make([]string, rows)
	for i := range values {
		values[i] = "(" + strconv.Itoa(i) + l.columns + ")"
	}
	return l.head + strings.Join(values, ", ") + l.tail
}

// results looks up one row for each result.
func (l *lookup) results(ctx context.Context, tx sqlTx, args []any, results []dataflow.RowResult) error {
	rows, err := tx.QueryContext(ctx, l.statement(len(results)), args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var n int
		var same bool
		if err := rows.Scan(&n, &same); err != nil {
			return fmt.Errorf("look up existing rows: %w", err)
		}
		results[n] = dataflow.RowUpdated
		if same {
			results[n] = dataflow.RowRedundant
		}
	}
	return rows.Err()
}

// unlessSame returns the end of an upsert that skips unchanged rows, and those that are newer.
func unlessSame(columns, key []string, newer *rowmap.Column) string {
	var differs []string
	for _, name := range columns {
		if !slices.Contains(key, name) {
			differs = append(differs, "t."+rowmap.Quote(name)+" is not excluded."+rowmap.Quote(name)+" collate binary")
		}
	}
	if differs == nil {
		return ""
	}
	where := " where " + strings.Join(differs, " or ")
	if newer != nil {
		where = " where (" + strings.Join(differs, " or ") + ") and (" + notOlder(newer, "excluded."+rowmap.Quote(newer.Name)) + ")"
	}
	return where
}
