package dataflowsqlite

import (
	"context"

	"github.com/activedataflow/dataflow"
)

func (q *queries) RunPrune(ctx context.Context, p *dataflow.PruneParams) (int64, error) {
	var letters any
	if p.DeadLetterAge >= 0 {
		letters = secondsText(p.DeadLetterAge)
	}
	n, err := q.prune(ctx, p, sqlRunPruneCount, sqlRunPrune, string(p.State), secondsText(p.Age), letters)
	if err == nil && n > 0 && !p.DryRun {
		_, err = q.db.ExecContext(ctx, q.store.text(sqlScopePrune))
	}
	return n, err
}

func (q *queries) TickPrune(ctx context.Context, p *dataflow.PruneParams) (int64, error) {
	return q.prune(ctx, p, sqlTickPruneCount, sqlTickPrune, secondsText(p.Age))
}

func (q *queries) DeadLetterPrune(ctx context.Context, p *dataflow.PruneParams) (int64, error) {
	return q.prune(ctx, p, sqlDeadLetterPruneCount, sqlDeadLetterPrune, secondsText(p.Age))
}

// prune counts rows in a dry run, and else removes up to p.Limit of them. The limit
// is the last parameter of remove.
func (q *queries) prune(ctx context.Context, p *dataflow.PruneParams, count, remove string, args ...any) (n int64, err error) {
	if p.DryRun {
		err = q.db.QueryRowContext(ctx, q.store.text(count), args...).Scan(&n)
		return n, err
	}
	res, err := q.db.ExecContext(ctx, q.store.text(remove), append(args, p.Limit)...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// dueFor returns how long something must have been due, in seconds. It is nil if it need
// not be due.
func dueFor(due, overdue bool) any {
	switch {
	case overdue:
		return secondsText(dataflow.OverdueAfter)
	case due:
		return secondsText(0)
	default:
		return nil
	}
}
