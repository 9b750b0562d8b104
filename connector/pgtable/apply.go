package pgtable

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/batch"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// Apply does to a table what the changes of package pgchange have done to another, in the
// transaction that commits the checkpoint: exactly once. The table needs a primary key or a
// unique index of exactly the key columns, which must identify a row of the source too.
//
// Of several changes of a key in a batch, the last one counts. The batch is written by a
// statement each for deletes, updates and upserts. If Postgres refuses that order, for
// example because a unique value moves from one row to another, the changes are applied one
// by one in the order of the source. So is every batch with a delete, a changed key or absent
// columns, if a foreign key of another table deletes or changes rows when a row of this table
// is deleted.
//
// Absent columns are left as they are. If an update has absent columns and finds no row, the
// attempt fails: the table has lost a row. An insert or an update with all columns adds the
// row if it is missing, and a delete of a missing row does nothing. A truncate truncates the
// table, without "cascade". If other tables reference it, it deletes all rows. As in SQL, a truncate
// or a delete also removes rows of tables that inherit from the table.
//
// All changes go to the one table, whatever their Change.Table is. Apply does not look at
// LSNs: use it for one source at a time. A change that was kept as a dead letter cannot be
// applied later: see [dataflow.Ordered].
//
// A table is refused whose rows row security may hide from the role, because hidden rows would stay
// as they are. Policies for the role with using (true) hide none.
func Apply[T any](table string, key ...string) dataflow.Target[Change[T]] {
	return dataflow.ToTx[Change[T]](newApply[T](table, key))
}

// ApplyTo is [Apply] to a table of a database other than the client's. It is exactly once,
// because that database also keeps the flow's checkpoint; see [CheckpointTable]. The caller
// closes the pool after the client has stopped.
func ApplyTo[T any](pool *pgxpool.Pool, table string, key ...string) dataflow.Target[Change[T]] {
	return dataflow.ToFenced[Change[T]](newFenced(pool, newApply[T](table, key)))
}

// applySink applies changes to a table.
type applySink[T any] struct {
	to *tableSink // writes whole rows

	mu     sync.Mutex
	tables map[string]*applyTable // by database, see databaseOf
}

func newApply[T any](table string, key []string) *applySink[T] {
	to := newTableSink(reflect.TypeFor[T](), table, true, key)
	to.overriding = true // the rows of a replica have the numbers of the source
	return &applySink[T]{to: to, tables: make(map[string]*applyTable)}
}

// Validate checks T, the table's name and the key.
func (s *applySink[T]) Validate() error { return s.to.Validate() }

// AppendOnly is false: what is applied twice is there once.
func (s *applySink[T]) AppendOnly() bool { return false }

// Ordered is true: a change that is applied after newer ones would undo them.
func (s *applySink[T]) Ordered() bool { return true }

// Pipelined is that of an upsert. What is more than an upsert of whole rows awaits the commit of
// the batch before.
func (s *applySink[T]) Pipelined() bool { return s.to.Pipelined() }

// Describe names the table and its key.
func (s *applySink[T]) Describe() dataflow.Description {
	d := s.to.Describe()
	d.Type = "pgtable.apply"
	return d
}

func (s *applySink[T]) place() string { return s.to.place() }

// RowKeys names the changed rows by their new key.
func (s *applySink[T]) RowKeys(changes []Change[T]) []string {
	f := s.folder()
	keys := make([]string, len(changes))
	for i := range changes {
		switch c := &changes[i]; c.Op {
		case ChangeTruncate:
		case ChangeDelete:
			keys[i] = f.keyOf(c.Old)
		case ChangeInsert, ChangeUpdate:
			keys[i] = f.keyOf(&c.New)
		}
	}
	return keys
}

// WriteTx applies a batch.
func (s *applySink[T]) WriteTx(ctx context.Context, changes []Change[T]) error {
	if err := s.Validate(); err != nil {
		return dataflow.Permanent(err)
	}
	tx, ok := dataflowpgx.TxFrom(ctx)
	if !ok {
		return dataflow.Permanent(fmt.Errorf("pgtable needs a client on Postgres to change %s in its transaction: use pgtable.ApplyTo: %w", s.place(), dataflow.ErrTxMismatch))
	}
	return s.writeRows(ctx, tx, changes)
}

// WritePartTx applies a part of a batch.
func (s *applySink[T]) WritePartTx(ctx context.Context, changes []Change[T], _ []dataflow.RowResult) error {
	tx, ok := dataflowpgx.TxFrom(ctx)
	if !ok {
		return s.WriteTx(ctx, changes)
	}
	err := withSavepoint(ctx, tx, func() error { return s.WriteTx(ctx, changes) })
	if err != nil {
		delete(tx.Conn().PgConn().CustomData(), checkedMark) // the lock on the table is gone
	}
	return err
}

func (s *applySink[T]) writeRows(ctx context.Context, tx pgx.Tx, changes []Change[T]) error {
	if len(changes) == 0 {
		return nil
	}
	if err := s.apply(ctx, tx, changes); err != nil {
		database := databaseOf(tx)
		s.mu.Lock()
		delete(s.tables, database) // it may have been altered
		s.mu.Unlock()
		s.to.forget(database)
		return fmt.Errorf("%s: %w", s.place(), err)
	}
	return nil
}

func (s *applySink[T]) apply(ctx context.Context, tx pgx.Tx, changes []Change[T]) error {
	var checked []string // the identity that was checked last: as a rule, all changes share one
	for i := range changes {
		c := &changes[i]
		if err := checkChange(c); err != nil {
			return &dataflow.RowError{Row: i, Alone: true, Err: err}
		}
		if c.Op == ChangeTruncate || c.Identity == nil || len(checked) > 0 && &checked[0] == &c.Identity[0] {
			continue
		}
		if err := s.checkIdentity(c.Table, c.Identity); err != nil {
			return dataflow.Permanent(err)
		}
		checked = c.Identity
	}
	at, err := s.table(ctx, tx)
	if err != nil {
		return err
	}
	f := s.folder()
	if rows := f.upserts(changes); rows != nil {
		if done, err := s.try(ctx, tx, func() error { return s.to.write(ctx, tx, reflect.ValueOf(rows), nil, false) }); done || err != nil {
			return err
		}
	}
	// A delete or an update would not see a row of the batch before that is not committed yet.
	if err := batch.AwaitPredecessor(ctx); err != nil {
		return err
	}
	if !at.single && f.fold(changes) {
		if done, err := s.try(ctx, tx, func() error { return s.writeFolded(ctx, tx, at, &f.folded) }); done || err != nil {
			return err
		}
	}
	return s.oneByOne(ctx, tx, at, changes)
}

// try writes changes together. done is false if Postgres refuses them so: then nothing is written.
func (s *applySink[T]) try(ctx context.Context, tx pgx.Tx, write func() error) (done bool, err error) {
	err = withSavepoint(ctx, tx, write)
	if err == nil {
		return true, nil
	}
	delete(tx.Conn().PgConn().CustomData(), checkedMark) // the lock on the table is gone
	if !isStale(err) && (isRowError(err) || refusal(err)) {
		return false, nil
	}
	return false, err
}

func checkChange[T any](c *Change[T]) error {
	switch {
	case c.Op == ChangeDelete && c.Old == nil:
		return errors.New("the change is a delete without Old: its key is needed")
	case c.Op != ChangeInsert && c.Op != ChangeUpdate && c.Op != ChangeDelete && c.Op != ChangeTruncate:
		return fmt.Errorf("the change has the unknown Op %q", c.Op)
	default:
		return nil
	}
}

// checkIdentity returns an error if the source may change the key of a row without saying which
// row that was.
func (s *applySink[T]) checkIdentity(table string, identity []string) error {
	for _, name := range s.to.key {
		if !slices.Contains(identity, name) {
			return fmt.Errorf("the key column %q is not part of the replica identity of %s, which is %s: a delete does not carry it: "+
				"apply by the columns of the replica identity, or let the source's table send the key: alter table %s replica identity full, or using index on exactly the key. "+
				"Changes that are in the log stay without it: load the table again: alter publication … drop table, and add table",
				name, table, rowmap.QuoteAll(identity, ", "), table)
		}
	}
	return nil
}

func isRowError(err error) bool {
	var row *dataflow.RowError
	return errors.As(err, &row)
}

// oneByOne applies changes in their order. The error names the change.
func (s *applySink[T]) oneByOne(ctx context.Context, tx pgx.Tx, at *applyTable, changes []Change[T]) error {
	for i := range changes {
		if err := s.applyOne(ctx, tx, at, &changes[i]); err != nil {
			var row *dataflow.RowError
			if errors.As(err, &row) {
				err = row.Err
			} else if isStale(err) || !refusal(err) {
				return err
			}
			return &dataflow.RowError{Row: i, Err: fmt.Errorf("%s of the row %s: %w", changes[i].Op, s.RowKeys(changes[i : i+1])[0], err)}
		}
	}
	return nil
}

func (s *applySink[T]) applyOne(ctx context.Context, tx pgx.Tx, at *applyTable, c *Change[T]) error {
	f := s.folder()
	if c.Op == ChangeUpdate && c.Old != nil && f.keyOf(c.Old) != f.keyOf(&c.New) {
		return s.move(ctx, tx, at, c)
	}
	f.fold([]Change[T]{*c})
	return s.writeFolded(ctx, tx, at, &f.folded)
}

// move applies a change of a key to the row that has the old one.
func (s *applySink[T]) move(ctx context.Context, tx pgx.Tx, at *applyTable, c *Change[T]) error {
	if len(c.Absent) == 0 { // the row may be missing, so that it must be added
		f := s.folder()
		f.fold([]Change[T]{*c})
		return s.writeFolded(ctx, tx, at, &f.folded)
	}
	set, err := s.statementOf(ctx, tx, at, "move", c.Absent)
	if err != nil {
		return err
	}
	old, err := s.statementOf(ctx, tx, at, "key", nil)
	if err != nil {
		return err
	}
	m := tx.Conn().TypeMap()
	args, err := set.encode(m, reflect.ValueOf([]T{c.New}))
	if err != nil {
		return set.refusedByNow(ctx, tx, err)
	}
	keys, err := old.encode(m, reflect.ValueOf([]T{*c.Old}))
	if err != nil {
		return old.refusedByNow(ctx, tx, err)
	}
	tag, err := tx.Exec(ctx, set.run, append(args, keys...)...)
	if err == nil && tag.RowsAffected() == 0 && !c.Loading {
		err = &dataflow.RowError{Err: s.missing(c.Absent)}
	}
	return staleIfAltered(err)
}

func (s *applySink[T]) missing(absent []string) error {
	return fmt.Errorf("the table has no such row, and the update lacks %s, which it left unchanged: the table has lost the row, or was changed by somebody else: load it anew", rowmap.QuoteAll(absent, ", "))
}

// writeFolded writes what changes leave.
func (s *applySink[T]) writeFolded(ctx context.Context, tx pgx.Tx, at *applyTable, f *folded[T]) error {
	if f.truncate {
		table := s.to.name.Sanitize()
		statement := "truncate table " + table
		if at.referenced {
			statement = "delete from " + table + " where " + unlessHidden(table)
		}
		if _, err := tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("truncate, as the source was: %w", staleIfAltered(err))
		}
	}
	for _, g := range f.groups() {
		if err := s.writeGroup(ctx, tx, at, g); err != nil {
			return err
		}
	}
	return nil
}

func (s *applySink[T]) writeGroup(ctx context.Context, tx pgx.Tx, at *applyTable, g *applyGroup[T]) error {
	rows := reflect.ValueOf(g.rows)
	kind := map[applyKind]string{applyUpsert: "upsert", applyPatch: "patch", applyDelete: "delete"}[g.kind]
	if g.kind == applyUpsert && len(g.absent) == 0 {
		return s.to.write(ctx, tx, rows, nil, false)
	}
	st, err := s.statementOf(ctx, tx, at, kind, g.absent)
	if err != nil {
		return err
	}
	args, err := st.encode(tx.Conn().TypeMap(), rows)
	if err != nil {
		return st.refusedByNow(ctx, tx, err)
	}
	if g.kind != applyPatch {
		_, err = tx.Exec(ctx, st.run, args...)
		return s.to.explain(err)
	}
	result, err := tx.Query(ctx, st.run, args...)
	if err != nil {
		return s.to.explain(err)
	}
	lost, err := pgx.CollectRows(result, pgx.RowTo[int64])
	if err != nil {
		return s.to.explain(err)
	}
	for _, n := range lost {
		if !g.of[n-1].may {
			return &dataflow.RowError{Row: g.of[n-1].change, Err: s.missing(g.absent)}
		}
	}
	return nil
}
