package sqltable

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// upsertSink is a sink that writes only rows that change something, and tells what
// became of each.
type upsertSink[T any] struct{ *sink[T] }

// WriteResultTx writes a batch and tells what became of its rows.
func (s upsertSink[T]) WriteResultTx(ctx context.Context, rows []T, results []dataflow.RowResult) error {
	return s.writeTx(ctx, rows, results)
}

// lookup makes statements that look rows up before they are upserted. Nobody else can
// write meanwhile: the transaction holds the lock of the one writer.
type lookup struct{ head, columns, tail string }

// newLookup selects, of the rows that are there, their number in the statement and
// whether they are the same, whatever the columns' collations take for equal. The
// comparison gives a value the column's type as storing it does.
func newLookup(table, columns, key []string) lookup {
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
	return lookup{
		head:    "with v (n, " + strings.Join(names, ", ") + ") as (values ",
		columns: strings.Repeat(", ?", len(columns)),
		tail: ") select v.n, " + strings.Join(same, " and ") + " from v join " + rowmap.QuoteAll(table, ".") + " t on " +
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

// results looks up as many rows as there are results.
func (l *lookup) results(ctx context.Context, tx *sql.Tx, args []any, results []dataflow.RowResult) error {
	rows, err := tx.QueryContext(ctx, l.statement(len(results)), args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var n int
		var same bool
		if err := rows.Scan(&n, &same); err != nil {
			return fmt.Errorf("look rows up: %w", err)
		}
		results[n] = dataflow.RowUpdated
		if same {
			results[n] = dataflow.RowRedundant
		}
	}
	return rows.Err()
}

// unlessSame is the end of an upsert that leaves rows alone that are as they shall be.
func unlessSame(columns, key []string) string {
	var differs []string
	for _, name := range columns {
		if !slices.Contains(key, name) {
			differs = append(differs, "t."+rowmap.Quote(name)+" is not excluded."+rowmap.Quote(name)+" collate binary")
		}
	}
	if differs == nil {
		return ""
	}
	return " where " + strings.Join(differs, " or ")
}
