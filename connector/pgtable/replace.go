package pgtable

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// Replace has each run replace all rows of a table by what it has written: for a table
// that is made anew each time, from a source that reads everything each time ([Select],
// say, or a small API). It is refused for a source with a cursor, which reads only what
// is new, and for the ways to run a flow that would replace the table by a part; see
// [dataflow.ToReplace].
//
// A statement sees the rows that were there before the run, or those that it has written,
// and never a mixture, nor an empty table in between. A run that fails, is cancelled or
// killed, or whose worker is taken over, leaves the rows as they were. A source that
// yields nothing leaves an empty table: if that cannot be right, have the source or the
// transform return an error.
//
// The rows are gathered in a table beside it, in the same schema, whose name begins with
// dataflow_stage_ and whose comment tells the flow. It is unlogged, has the columns of T,
// and those not null, check and unique constraints of the table that concern only them;
// so a row that breaks one is a bad record, for the flow's policy. In the transaction of
// the last checkpoint, the table's rows are deleted, the others inserted, and the table
// beside it dropped. Of an attempt that has failed it stays until the next one begins.
// Each flow has one of its own, by its name: two applications that replace tables in one
// database must not have flows of the same name for the same table.
//
// A server that crashes empties unlogged tables. A small one, whose name ends in _begun,
// tells: the attempt fails then, and the next one begins again.
//
// What that comes to:
//
//   - Readers do not wait, and no grant, view, index, trigger or policy is lost. Whoever
//     else writes to the table waits while the rows are moved, and what he has written
//     is replaced too.
//   - Old rows take their space until they are vacuumed, so that the table becomes
//     about twice as large, or more if runs follow each other faster than that; and each
//     row is written to the log when it is deleted and when it is inserted. A table of
//     which little changes from run to run is better written with [Upsert].
//   - A column that T has no field for gets its default, anew in each run.
//   - Triggers see the old rows deleted and the new ones inserted.
//   - A foreign key from another table stays valid if its key is there again; otherwise
//     the run fails, and the rows are as they were. It is looked for at each row, which
//     takes its time. One that acts ("on delete cascade", "set null", "set default") or
//     forbids ("restrict") is refused when the run begins.
//   - The role needs the rights to select from the table, to insert and to delete, and to
//     create tables in the schema. Under row security, which would hide rows from being
//     deleted, the run fails at its beginning.
//   - What is not in the constraints of the table beside it fails only at the end: a
//     foreign key of the table itself, say.
func Replace[T any](table string) dataflow.Target[T] {
	return dataflow.ToReplace[T](&replaceSink[T]{into: newSink[T](table, false, nil)})
}

// replaceSink replaces the rows of a table.
type replaceSink[T any] struct {
	into *sink[T] // tells what the table is; nothing is written by it
}

func (s *replaceSink[T]) Validate() error { return s.into.Validate() }

func (s *replaceSink[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "pgtable.replace", Detail: map[string]any{"table": s.into.table}}
}

// BeginTx makes the table beside it anew.
func (s *replaceSink[T]) BeginTx(ctx context.Context, flow string) (dataflow.Replacement[T], error) {
	if err := s.Validate(); err != nil {
		return nil, dataflow.Permanent(err)
	}
	tx, ok := dataflowpgx.TxFrom(ctx)
	if !ok {
		return nil, dataflow.Permanent(fmt.Errorf("pgtable replaces table %s in the transaction of a Postgres client, and there is none: %w", s.into.table, dataflow.ErrTxMismatch))
	}
	r, err := s.begin(ctx, tx, flow)
	if err != nil {
		return nil, s.wrap(err)
	}
	return r, nil
}

func (s *replaceSink[T]) wrap(err error) error { return fmt.Errorf("table %s: %w", s.into.table, err) }

func (s *replaceSink[T]) begin(ctx context.Context, tx pgx.Tx, flow string) (*replacement[T], error) {
	to, err := lookUp(ctx, tx, s.into.name)
	if err != nil {
		return nil, err
	}
	if _, err := newStatement(s.into.name, s.into.fields, to, false, nil); err != nil {
		return nil, err // which names the columns that are missing
	}
	p, err := lookUpReplaced(ctx, tx, s.into.name)
	if err != nil {
		return nil, err
	}
	p.columns = s.into.fields.Names()
	p.stage = pgx.Identifier{p.schema, stageName(p.table, flow)}
	for _, sql := range []string{p.tryInsert(), p.tryDelete()} {
		if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return nil, fmt.Errorf("it cannot be replaced: %w", s.into.explain(err))
		}
	}
	if _, err := tx.Exec(ctx, p.makeStage(to.columns, flow), pgx.QueryExecModeSimpleProtocol); err != nil {
		return nil, fmt.Errorf("make table %s, in which the rows are gathered: %w", p.stage.Sanitize(), err)
	}
	rows := &sink[T]{table: p.stage.Sanitize(), name: p.stage, fields: s.into.fields, copyFrom: s.into.copyFrom, statements: make(map[string]*statement)}
	return &replacement[T]{to: s, rows: rows, plan: p}, nil
}

// replacement gathers the rows of one attempt.
type replacement[T any] struct {
	to   *replaceSink[T]
	rows *sink[T] // writes to the table beside
	plan *replaced
}

// WriteTx adds a batch to the table beside.
func (r *replacement[T]) WriteTx(ctx context.Context, rows []T) error {
	tx, ok := dataflowpgx.TxFrom(ctx)
	if !ok || len(rows) == 0 {
		return nil
	}
	if err := r.rows.write(ctx, tx, rows, nil, false); err != nil {
		return r.to.wrap(fmt.Errorf("gather rows in %s: %w", r.rows.table, err))
	}
	return nil
}

// EndTx moves the rows.
func (r *replacement[T]) EndTx(ctx context.Context) error {
	tx, ok := dataflowpgx.TxFrom(ctx)
	if !ok {
		return dataflow.Permanent(dataflow.ErrTxMismatch)
	}
	if err := r.move(ctx, tx); err != nil {
		return r.to.wrap(r.rows.explain(err))
	}
	return nil
}

func (r *replacement[T]) move(ctx context.Context, tx pgx.Tx) error {
	// Before anything else, so that whatever is asked then sees what other writers have
	// committed, and none of them can add to it.
	if _, err := tx.Exec(ctx, "lock table "+r.plan.name()+" in share row exclusive mode"); err != nil {
		return err
	}
	now, err := lookUpReplaced(ctx, tx, pgx.Identifier{r.plan.schema, r.plan.table})
	if err != nil {
		return err
	}
	now.columns, now.stage = r.plan.columns, r.plan.stage
	var whole bool
	if err := tx.QueryRow(ctx, now.isWhole()).Scan(&whole); err != nil {
		return err
	}
	if !whole {
		return fmt.Errorf("the server has crashed, or another has taken its place, since the run began, and has emptied table %s, in which the rows were gathered: what is left is not all", r.rows.table)
	}
	for _, sql := range now.moveRows() {
		if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeExec); err != nil {
			return err
		}
	}
	return nil
}
