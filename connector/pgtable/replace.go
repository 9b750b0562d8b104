package pgtable

import (
	"context"
	"fmt"
	"reflect"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// Replace replaces all rows of a table with the rows of each run. It is for a table
// that is rebuilt each time from a source that reads everything, such as [Select]
// or a small API. It is refused for a source with a cursor, which reads only new
// records, and for kinds of runs that read only a part; see [dataflow.ToReplace].
//
// A statement sees either the rows from before the run or those that the run has
// written, never a mixture, and never an empty table in between. A run that fails,
// is cancelled or killed, or whose worker is taken over, leaves the rows as they
// were. A source that yields nothing leaves an empty table: if that cannot be
// right, return an error from the source or the transform.
//
// # The staging table
//
// The rows are collected in a staging table in the same schema. Its name begins
// with dataflow_stage_ and its comment names the flow. It is unlogged and has the
// columns of T. It has the not null, check and unique constraints of the table that
// involve only these columns, so a row that breaks one is a bad record, handled by
// the flow's policy.
//
// The transaction of the last checkpoint deletes the table's rows, inserts the
// collected ones, and drops the staging table. The staging table of a failed
// attempt stays until the next attempt begins. Each flow has its own staging table,
// by its name. So two applications that replace a table in one database must not
// use flows of the same name for it.
//
// A server that crashes empties unlogged tables. A second small table, whose name
// ends in _begun, shows that this has happened: the attempt then fails, and the
// next one starts again.
//
// # Effects
//
//   - Readers do not wait, and grants, views, indexes, triggers and policies stay.
//     Other writers to the table wait while the rows are moved, and their rows are
//     replaced too.
//   - Old rows take space until they are vacuumed. The table becomes about twice as
//     large, or more if runs follow each other faster than vacuum.
//   - Each row is written to the log when it is deleted and when it is inserted. If
//     little changes from run to run, use [Upsert] instead.
//   - A column without a field in T gets its default in each run.
//   - The rows of tables that inherit from the table are deleted too, as by "delete from".
//     The new rows are in the table itself, unless a trigger puts them elsewhere.
//   - Triggers see the old rows deleted and the new ones inserted.
//   - A foreign key from another table stays valid if its key exists again.
//     Otherwise the run fails, and the rows stay as they were. The check for each
//     row takes time.
//   - A foreign key that acts ("on delete cascade", "set null", "set default") or
//     forbids ("restrict") is an error when the run begins.
//   - The role needs the privileges to select from the table, to insert and to
//     delete, and to create tables in the schema. Under row security the run fails
//     at its beginning, because hidden rows could not be deleted.
//   - Constraints that the staging table lacks refuse a row only at the end, such as a
//     foreign key of the table itself, a missing partition or a trigger. The flow's
//     policy decides about it too. Its dead letter is keyed by the row's primary key. If
//     another table has a foreign key to this one, the run fails instead.
func Replace[T any](table string) dataflow.Target[T] {
	return dataflow.ToReplace[T](&replaceSink[T]{&replacer{into: newTableSink(reflect.TypeFor[T](), table, false, nil)}})
}

// replaceSink replaces the rows of a table.
type replaceSink[T any] struct{ *replacer }

// replacer is a replaceSink without the type of its records.
type replacer struct {
	into *tableSink // describes the table; it writes nothing
}

func (s *replacer) Validate() error { return s.into.Validate() }

func (s *replacer) Describe() dataflow.Description {
	return dataflow.Description{Type: "pgtable.replace", Detail: map[string]any{"table": s.into.table}}
}

// BeginTx creates the staging table, replacing one of an earlier attempt.
func (s *replaceSink[T]) BeginTx(ctx context.Context, flow string) (dataflow.Replacement[T], error) {
	r, err := s.beginTx(ctx, flow)
	if err != nil {
		return nil, err
	}
	return &replacement[T]{r}, nil
}

func (s *replacer) beginTx(ctx context.Context, flow string) (*stagedRows, error) {
	if err := s.Validate(); err != nil {
		return nil, dataflow.Permanent(err)
	}
	tx, ok := dataflowpgx.TxFrom(ctx)
	if !ok {
		return nil, dataflow.Permanent(fmt.Errorf("pgtable.Replace of table %s needs a client on Postgres, in whose transaction it writes: %w", s.into.table, dataflow.ErrTxMismatch))
	}
	r, err := s.begin(ctx, tx, flow)
	if err != nil {
		return nil, s.wrap(err)
	}
	return r, nil
}

func (s *replacer) wrap(err error) error { return fmt.Errorf("table %s: %w", s.into.table, err) }

func (s *replacer) begin(ctx context.Context, tx pgx.Tx, flow string) (*stagedRows, error) {
	to, err := lookUp(ctx, tx, s.into.name, nil)
	if err != nil {
		return nil, err
	}
	st, err := newStatement(s.into.name, s.into.fields, to, s.into.way)
	if err != nil {
		return nil, err // names the missing columns
	}
	p, err := lookUpReplaced(ctx, tx, s.into.name)
	if err != nil {
		return nil, err
	}
	p.columns, p.over = s.into.fields.Names(), st.over
	p.stage = pgx.Identifier{p.schema, stageName(p.table, flow)}
	for _, sql := range []string{p.tryInsert(), p.tryDelete()} {
		if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return nil, fmt.Errorf("its rows cannot be replaced: %w", s.into.explain(err))
		}
	}
	if _, err := tx.Exec(ctx, p.makeStage(to.columns, flow), pgx.QueryExecModeSimpleProtocol); err != nil {
		return nil, fmt.Errorf("create the staging table %s: %w", p.stage.Sanitize(), err)
	}
	rows := &tableSink{table: p.stage.Sanitize(), name: p.stage, fields: s.into.fields, copyFrom: s.into.copyFrom, statements: make(map[string]*statement)}
	return &stagedRows{to: s, rows: rows, plan: p}, nil
}

// replacement collects the rows of one attempt.
type replacement[T any] struct{ *stagedRows }

// stagedRows is a replacement without the type of its records.
type stagedRows struct {
	to   *replacer
	rows *tableSink // writes to the staging table
	plan *replaced
}

// WriteTx adds a batch to the staging table.
func (r *replacement[T]) WriteTx(ctx context.Context, rows []T) error {
	return r.write(ctx, reflect.ValueOf(rows))
}

func (r *stagedRows) write(ctx context.Context, rows reflect.Value) error {
	tx, ok := dataflowpgx.TxFrom(ctx)
	if !ok || rows.Len() == 0 {
		return nil
	}
	if err := r.rows.write(ctx, tx, rows, nil, false); err != nil {
		return r.to.wrap(fmt.Errorf("write to the staging table %s: %w", r.rows.table, err))
	}
	return nil
}

// EndTx moves the rows from the staging table to the table.
func (r *stagedRows) EndTx(ctx context.Context) error {
	tx, ok := dataflowpgx.TxFrom(ctx)
	if !ok {
		return dataflow.Permanent(dataflow.ErrTxMismatch)
	}
	if err := r.move(ctx, tx); err != nil {
		return r.to.wrap(r.rows.explain(err))
	}
	return nil
}

func (r *stagedRows) move(ctx context.Context, tx pgx.Tx) error {
	now, err := r.ready(ctx, tx)
	if err != nil {
		return err
	}
	for _, sql := range append(now.moveRows(), checkAll) {
		if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
	}
	return nil
}

// ready locks the table and looks it up again.
func (r *stagedRows) ready(ctx context.Context, tx pgx.Tx) (*replaced, error) {
	// Lock first: later queries then see everything that other writers have committed,
	// and no writer can add to it.
	if _, err := tx.Exec(ctx, "lock table "+r.plan.name()+" in share row exclusive mode"); err != nil {
		return nil, err
	}
	now, err := lookUpReplaced(ctx, tx, pgx.Identifier{r.plan.schema, r.plan.table})
	if err != nil {
		return nil, err
	}
	now.columns, now.over, now.stage = r.plan.columns, r.plan.over, r.plan.stage
	var whole bool
	if err := tx.QueryRow(ctx, now.isWhole()).Scan(&whole); err != nil {
		return nil, err
	}
	if !whole {
		return nil, fmt.Errorf("the server has crashed or was replaced since the run began, which emptied the staging table %s: run the flow again", r.rows.table)
	}
	return now, now.checkTypes(ctx, tx)
}
