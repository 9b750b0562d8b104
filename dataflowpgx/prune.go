package dataflowpgx

import (
	"context"

	"github.com/activedataflow/dataflow"
)

func (q *queries) RunPrune(ctx context.Context, p *dataflow.PruneParams) (int64, error) {
	letters := p.DeadLetterAge.Microseconds()
	if p.DeadLetterAge < 0 {
		letters = -1
	}
	n, err := q.prune(ctx, p, sqlRunPruneCount, sqlRunPrune, string(p.State), p.Age.Microseconds(), letters)
	if err == nil && n > 0 && !p.DryRun {
		_, err = q.db.Exec(ctx, q.store.text(sqlScopePrune))
	}
	return n, err
}

func (q *queries) TickPrune(ctx context.Context, p *dataflow.PruneParams) (int64, error) {
	return q.prune(ctx, p, sqlTickPruneCount, sqlTickPrune, p.Age.Microseconds())
}

func (q *queries) DeadLetterPrune(ctx context.Context, p *dataflow.PruneParams) (int64, error) {
	return q.prune(ctx, p, sqlDeadLetterPruneCount, sqlDeadLetterPrune, p.Age.Microseconds())
}

// prune counts rows in a dry run, and else removes up to p.Limit of them. The limit
// is the last parameter of remove.
func (q *queries) prune(ctx context.Context, p *dataflow.PruneParams, count, remove string, args ...any) (n int64, err error) {
	if p.DryRun {
		err = q.db.QueryRow(ctx, q.store.text(count), args...).Scan(&n)
		return n, err
	}
	tag, err := q.db.Exec(ctx, q.store.text(remove), append(args, p.Limit)...)
	return tag.RowsAffected(), err
}

// dueFor returns how long something must have been due, in microseconds. It is nil if
// it need not be due.
func dueFor(due, overdue bool) *int64 {
	age := int64(0)
	switch {
	case overdue:
		age = dataflow.OverdueAfter.Microseconds()
	case !due:
		return nil
	}
	return &age
}
