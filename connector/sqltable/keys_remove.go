package sqltable

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/reconcile"
	"github.com/activedataflow/dataflow/internal/keyrange"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// Remover returns a sink that keeps the checkpoint beside the rows that it removes.
func (k *keys) Remover(r keyrange.Removal) dataflow.FencedSink[reconcile.Difference] {
	s := &sink[reconcile.Difference]{table: k.table.Name, name: k.name, nameErr: k.nameErr, key: k.table.Key, fields: &rowmap.Plan{}}
	s.remove, s.removes = (&remover{keys: k, removal: r}).remove, "sqltable.delete"
	if r.Mark != "" {
		s.removes = "sqltable.mark"
	}
	to := newOtherSink(k.db.DB, s)
	to.kind = k.db
	return to
}

// remover deletes or marks rows whose keys are gone.
type remover struct {
	*keys
	removal keyrange.Removal
}

// ownTx is a transaction in which a side of the same database may read. A pool of one connection
// has no other.
type ownTx struct {
	db *sql.DB
	tx sqlTx
}

type ownTxKey struct{}

// queryer returns what reads from the side's database.
func (k *keys) queryer(ctx context.Context) queryer {
	if in, ok := ctx.Value(ownTxKey{}).(ownTx); ok && in.db == k.db.DB {
		return in.tx
	}
	return k.db.DB
}

// remove removes the rows that the source does not have. It locks them before it asks the source. So
// a flow that copies a row that has come back writes it before the lock, and then the source has
// it, or waits for the lock, and then inserts it. In SQLite, the checkpoint's update is the lock.
func (r *remover) remove(ctx context.Context, tx sqlTx, rows []reconcile.Difference) error {
	var gone []keyrange.Key
	for i := range rows {
		if rows[i].Kind == reconcile.Gone {
			gone = append(gone, rows[i].Values)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	d, err := r.dialect(context.WithValue(ctx, ownTxKey{}, ownTx{r.db.DB, tx}))
	if err != nil {
		return err
	}
	asking, ping := ctx, (func(context.Context) error)(nil)
	if d.besides() {
		ping = func(ctx context.Context) error {
			_, err := tx.ExecContext(ctx, "do 0")
			return err
		}
		if r.db.Stats().MaxOpenConnections == 1 {
			return dataflow.Permanent(errors.New("the pool has one connection: the source is asked while a batch is removed, which needs two"))
		}
	} else {
		asking = context.WithValue(ctx, ownTxKey{}, ownTx{r.db.DB, tx})
	}
	p, err := r.removal.Plan(asking)
	if err != nil {
		return err
	}
	s := &sqlKeys{keys: r.keys, keyDialect: d, plan: p}
	if gone, err = r.lock(ctx, tx, s, gone); err != nil {
		return err
	}
	if gone, err = r.removal.StillGone(asking, gone, ping); err != nil {
		return err
	}
	for part := range slices.Chunk(gone, mostAsked) {
		if err := r.removeKeys(ctx, tx, s, part); err != nil {
			return r.nameRows(ctx, tx, s, rows, gone, err)
		}
	}
	return nil
}

// lock locks the rows of the keys, and returns the keys that have one, as the target spells them.
func (r *remover) lock(ctx context.Context, tx sqlTx, s *sqlKeys, gone []keyrange.Key) ([]keyrange.Key, error) {
	var there []keyrange.Key
	for part := range slices.Chunk(gone, mostAsked) {
		where, args, err := s.anyOf(part)
		if err != nil {
			return nil, err
		}
		err = s.each(ctx, tx, "select "+s.textList()+" from "+s.table()+" t where "+where+s.forUpdate(), args, func(key keyrange.Key) error {
			there = append(there, slices.Clone(key))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return there, nil
}

// removeKeys removes rows.
func (r *remover) removeKeys(ctx context.Context, tx sqlTx, s *sqlKeys, part []keyrange.Key) error {
	where, args, err := s.anyOf(part)
	if err != nil {
		return err
	}
	query := s.deleteFrom(s.table()) + " where " + where
	if r.removal.Mark != "" {
		query = "update " + s.table() + s.as() + " set " + s.quote(r.removal.Mark) + " = " + s.now() + " where " + where
	}
	_, err = tx.ExecContext(ctx, query, args...)
	return err
}

// nameRows names the rows that the database refuses to remove, for the flow's policy. The transaction
// is rolled back afterwards.
func (r *remover) nameRows(ctx context.Context, tx sqlTx, s *sqlKeys, rows []reconcile.Difference, gone []keyrange.Key, cause error) error {
	if !s.refused(cause) {
		return cause
	}
	var refused []error
	for i := range rows {
		if rows[i].Kind != reconcile.Gone || !slices.ContainsFunc(gone, func(k keyrange.Key) bool { return slices.Equal(k, rows[i].Values) }) {
			continue
		}
		err := r.removeKeys(ctx, tx, s, []keyrange.Key{rows[i].Values})
		switch {
		case err == nil:
		case s.refused(err):
			refused = append(refused, &dataflow.RowError{Row: i, Alone: true, Err: fmt.Errorf("table %s: key %s: %w", r.table.Name, rows[i].Key, err)})
		default:
			return err
		}
	}
	if refused == nil {
		return cause
	}
	return errors.Join(refused...)
}

// anyOf is the condition that a row has one of the keys.
func (s *sqlKeys) anyOf(given []keyrange.Key) (string, []any, error) {
	conditions, args := make([]string, len(given)), []any(nil)
	for i, key := range given {
		condition, more, err := s.equals(key)
		if err != nil {
			return "", nil, err
		}
		conditions[i], args = "("+condition+")", append(args, more...)
	}
	return strings.Join(append(s.conditions(), "("+strings.Join(conditions, " or ")+")"), " and "), args, nil
}
