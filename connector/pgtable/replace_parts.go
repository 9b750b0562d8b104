package pgtable

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// stagedRow is a row of the staging table that the table refuses.
type stagedRow struct {
	place string // its ctid
	err   error
}

// at returns the row's place in the order of the staging table.
func (r *stagedRow) at() int64 {
	var page, line int64
	_, _ = fmt.Sscanf(r.place, "(%d,%d)", &page, &line)
	return page<<16 + line
}

// EndPartsTx moves the rows in parts, down to those that the table refuses. With a foreign
// key from another table, one statement must delete and insert all rows; then it is EndTx.
func (r *stagedRows) EndPartsTx(ctx context.Context, refuse func(*dataflow.RecordError) error) error {
	tx, ok := dataflowpgx.TxFrom(ctx)
	if !ok {
		return dataflow.Permanent(dataflow.ErrTxMismatch)
	}
	now, err := r.ready(ctx, tx)
	if err != nil {
		return r.to.wrap(r.rows.explain(err))
	}
	if now.referenced {
		return r.EndTx(ctx)
	}
	if err := r.moveParts(ctx, tx, now, refuse); err != nil {
		return r.to.wrap(r.rows.explain(err))
	}
	return nil
}

func (r *stagedRows) moveParts(ctx context.Context, tx pgx.Tx, now *replaced, refuse func(*dataflow.RecordError) error) error {
	statements := now.moveRows()
	remove, insert, drop := statements[0], statements[1], statements[2]
	if _, err := tx.Exec(ctx, remove); err != nil {
		return err
	}
	var pages int64
	err := tx.QueryRow(ctx, "select pg_relation_size("+literal(now.stage.Sanitize())+"::regclass) / current_setting('block_size')::bigint").Scan(&pages)
	if err != nil {
		return err
	}
	m := &mover{tx: tx, insert: insert, stage: now.stage.Sanitize()}
	if err := m.pages(ctx, 0, pages); err != nil {
		return err
	}
	// A row may refer to one that was moved later.
	for before := -1; before != len(m.refused) && len(m.refused) > 0; {
		before = len(m.refused)
		again := make([]string, before)
		for i, row := range m.refused {
			again[i] = row.place
		}
		slices.Reverse(again) // those that refer to each other in a row
		m.refused = nil
		if err := m.rows(ctx, again); err != nil {
			return err
		}
	}
	slices.SortFunc(m.refused, func(a, b stagedRow) int { return cmp.Compare(a.at(), b.at()) })
	if err := m.report(ctx, refuse); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, drop)
	return err
}

// mover moves parts of a staging table.
type mover struct {
	tx      pgx.Tx
	insert  string // moves all rows
	stage   string
	refused []stagedRow
}

// move moves the rows of a condition, or leaves the transaction as it was. It checks what
// the commit would check.
func (m *mover) move(ctx context.Context, where string) error {
	return withSavepoint(ctx, m.tx, func() error {
		_, err := m.tx.Exec(ctx, m.insert+where+"; "+checkAll, pgx.QueryExecModeSimpleProtocol)
		return err
	})
}

// pages moves the rows of some pages.
func (m *mover) pages(ctx context.Context, from, to int64) error {
	if from == to {
		return nil
	}
	where := fmt.Sprintf(" where s.ctid >= '(%d,0)' and s.ctid < '(%d,0)'", from, to)
	err := m.move(ctx, where)
	switch {
	case err == nil || !divisible(err):
		return err
	case to-from > 1:
		if err := m.pages(ctx, from, (from+to)/2); err != nil {
			return err
		}
		return m.pages(ctx, (from+to)/2, to)
	}
	rows, err := m.tx.Query(ctx, "select ctid::text from "+m.stage+" s"+where+" order by ctid")
	if err != nil {
		return err
	}
	places, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	return m.rows(ctx, places)
}

// rows moves some rows, or notes which of them are refused.
func (m *mover) rows(ctx context.Context, places []string) error {
	err := m.move(ctx, " where s.ctid = any(array['"+strings.Join(places, "', '")+"']::tid[])")
	switch {
	case err == nil || !divisible(err):
		return err
	case len(places) == 1:
		m.refused = append(m.refused, stagedRow{places[0], err})
		return nil
	}
	middle := len(places) / 2
	if err := m.rows(ctx, places[:middle]); err != nil {
		return err
	}
	return m.rows(ctx, places[middle:])
}

// stagedKeyQuery lists the columns of a staging table's primary key, or of its first unique
// index.
const stagedKeyQuery = `
select a.attname from (
	select indrelid, indkey from pg_catalog.pg_index where indrelid = $1::text::regclass and indisunique and indexprs is null and indpred is null
	order by indisprimary desc, indexrelid limit 1
) i, unnest(i.indkey::int2[]) with ordinality k (number, n)
join pg_catalog.pg_attribute a on a.attnum = k.number
where a.attrelid = i.indrelid order by k.n`

// report asks about each refused row. The row's key names it; a row without one is named by
// all its values.
func (m *mover) report(ctx context.Context, refuse func(*dataflow.RecordError) error) error {
	if len(m.refused) == 0 {
		return nil
	}
	rows, err := m.tx.Query(ctx, stagedKeyQuery, m.stage)
	if err != nil {
		return err
	}
	key, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, row := range m.refused {
		var raw json.RawMessage
		if err := m.tx.QueryRow(ctx, "select row_to_json(s)::text from "+m.stage+" s where ctid = $1::text::tid", row.place).Scan((*[]byte)(&raw)); err != nil {
			return err
		}
		var values map[string]json.RawMessage
		if err := json.Unmarshal(raw, &values); err != nil {
			return err
		}
		name := rowmap.Clip(string(raw))
		if len(key) > 0 {
			texts := make([]string, len(key))
			for i, column := range key {
				texts[i] = string(values[column])
			}
			name = "(" + strings.Join(key, ", ") + ")=(" + strings.Join(texts, ", ") + ")"
		}
		if err := refuse(&dataflow.RecordError{Key: name, Raw: raw, Err: row.err}); err != nil {
			return err
		}
	}
	return nil
}
