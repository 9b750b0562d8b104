package pgtable

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/reconcile"
	"github.com/activedataflow/dataflow/internal/keyrange"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// Remover returns a sink that keeps the checkpoint beside the rows that it removes.
func (k *keys) Remover(r keyrange.Removal) dataflow.FencedSink[reconcile.Difference] {
	return newFenced(k.pool, rowWriter[reconcile.Difference](&remover{keys: k, removal: r}))
}

// remover deletes or marks rows whose keys are gone.
type remover struct {
	*keys
	removal keyrange.Removal
}

// AppendOnly is false: a row is removed once.
func (s *remover) AppendOnly() bool { return false }

// Validate checks the pool beside what keys check: the source may have the same, and is asked
// during the transaction.
func (s *remover) Validate() error {
	err := s.keys.Validate()
	if s.pool != nil && s.pool.Config().MaxConns < 2 {
		err = errors.Join(err, &dataflow.ConfigError{Field: "pool", Reason: "it has one connection: the source is asked while a batch is removed, which needs two"})
	}
	return err
}

func (s *remover) place() string { return "table " + s.table.Name }

func (s *remover) Describe() dataflow.Description {
	d := dataflow.Description{Type: "pgtable.delete", Detail: map[string]any{"table": s.table.Name, "key": s.table.Key}}
	if s.removal.Mark != "" {
		d.Type, d.Detail["column"] = "pgtable.mark", s.removal.Mark
	}
	return d
}

// writeRows removes the rows that the source does not have. It locks them before it asks the
// source. So a flow that copies a row that has come back writes it before the lock, and then the
// source has it, or waits for the lock, and then inserts it.
func (s *remover) writeRows(ctx context.Context, tx pgx.Tx, rows []reconcile.Difference) error {
	var gone []keyrange.Key
	for i := range rows {
		if rows[i].Kind == reconcile.Gone {
			gone = append(gone, rows[i].Values)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	p, err := s.removal.Plan(ctx)
	if err != nil {
		return err
	}
	if gone, err = s.lock(ctx, tx, p, gone); err != nil {
		return s.of(err)
	}
	if gone, err = s.removal.StillGone(ctx, gone, func(ctx context.Context) error {
		_, err := tx.Exec(ctx, "select 1")
		return s.of(err)
	}); err != nil || len(gone) == 0 {
		return err
	}
	list, condition, args := s.asked(p, gone)
	query := "delete from " + s.name.Sanitize() + " t using " + list + " where " + condition
	if s.removal.Mark != "" {
		query = "update " + s.name.Sanitize() + " t set " + rowmap.Quote(s.removal.Mark) + " = now() from " + list + " where " + condition
	}
	_, err = tx.Exec(ctx, query, args...)
	return s.of(err)
}

// lock locks the rows of the keys, and returns the keys that have one.
func (s *remover) lock(ctx context.Context, tx pgx.Tx, p *keyrange.Plan, gone []keyrange.Key) ([]keyrange.Key, error) {
	list, condition, args := s.asked(p, gone)
	rows, err := tx.Query(ctx, "select a.dataflow_n from "+list+" join "+s.name.Sanitize()+" t on "+condition+" order by "+s.columns()+" for update of t", args...)
	if err != nil {
		return nil, err
	}
	numbers, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, err
	}
	there := make([]keyrange.Key, len(numbers))
	for i, n := range numbers {
		there[i] = gone[n-1]
	}
	return there, nil
}

func (s *remover) of(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", s.place(), err)
}
