package sqltable

import (
	"context"
	"database/sql"
	"strings"

	"github.com/activedataflow/dataflow/internal/rowmap"
)

const (
	// maxParameters is SQLite's limit for one statement.
	maxParameters = 32766
	// maxChunk is the most rows of one statement. More rows are not faster.
	maxChunk = 100
)

const columnsQuery = `select name from pragma_table_xinfo(?)`

const columnsInQuery = `select name from pragma_table_xinfo(?, ?)`

// tableColumns looks up a table's columns. It returns none if the table does not
// exist.
func tableColumns(ctx context.Context, tx sqlTx, name []string) ([]string, error) {
	query, args := columnsQuery, []any{name[len(name)-1]}
	if len(name) == 2 {
		query, args = columnsInQuery, append(args, name[0])
	}
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var columns []string
	for rows.Next() {
		var column string
		if err := rows.Scan(&column); err != nil {
			return nil, err
		}
		columns = append(columns, column)
	}
	return columns, rows.Err()
}

// inserter builds statements that insert many rows.
type inserter struct {
	chunk int // the number of rows in a full statement
	head  string
	row   string
	tail  string
	full  string

	lookup lookup // only for an upsert
}

func newInserter(table, columns []string, upsert bool, key []string, newer *rowmap.Column) inserter {
	in := inserter{
		chunk: max(1, min(maxChunk, maxParameters/len(columns))),
		head:  "insert into " + rowmap.QuoteAll(table, ".") + " as t (" + rowmap.QuoteAll(columns, ", ") + ") values ",
		row:   "(" + strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", ") + ")",
	}
	if upsert {
		in.tail = " " + rowmap.OnConflict(columns, key) + unlessSame(columns, key, newer)
		in.lookup = newLookup(table, columns, key, newer)
	}
	in.full = in.statement(in.chunk)
	return in
}

func (in *inserter) statement(rows int) string {
	return in.head + strings.TrimSuffix(strings.Repeat(in.row+", ", rows), ", ") + in.tail
}

// begin starts the writing of a batch.
func (in *inserter) begin(tx sqlTx) *batchInsert { return &batchInsert{inserter: in, tx: tx} }

// batchInsert writes a batch. It prepares the full statement once.
type batchInsert struct {
	*inserter
	tx       sqlTx
	prepared *sql.Stmt
}

func (b *batchInsert) exec(ctx context.Context, rows int, args []any) error {
	if rows < b.chunk {
		_, err := b.tx.ExecContext(ctx, b.statement(rows), args...)
		return err
	}
	if b.prepared == nil {
		var err error
		if b.prepared, err = b.tx.PrepareContext(ctx, b.full); err != nil {
			return err
		}
	}
	_, err := b.prepared.ExecContext(ctx, args...)
	return err
}

func (b *batchInsert) close() {
	if b.prepared != nil {
		_ = b.prepared.Close()
	}
}
