package dataflowsqlite

import (
	"context"
	"errors"
	"time"

	"github.com/activedataflow/dataflow"
)

func (q *queries) RunsOld(ctx context.Context, p *dataflow.PruneParams) ([]dataflow.OldRun, error) {
	after, afterID := "", int64(0)
	if p.After != nil {
		after, afterID = formatTime(p.After.EndedAt), p.After.ID
	}
	return collect(ctx, q, func(row scanner) (o dataflow.OldRun, err error) {
		return o, row.Scan(&o.ID, &o.FlowID, timeText{&o.EndedAt})
	}, sqlRunsOld, string(p.State), secondsText(p.Age), after, afterID, p.Limit)
}

func (q *queries) RunPrune(ctx context.Context, p *dataflow.PruneParams) (n int64, err error) {
	args := []any{string(p.State), secondsText(p.Age), ageOrNone(p.DeadLetterAge), ageOrNone(p.OpenDeadLetterAge)}
	if p.DryRun {
		err = q.db.QueryRowContext(ctx, q.store.text(sqlRunPruneCount), args...).Scan(&n)
		return n, err
	}
	of := make([]int64, len(p.Runs))
	for i, run := range p.Runs {
		of[i] = run.ID
	}
	ids, err := jsonArray(of)
	if err != nil {
		return 0, err
	}
	gone, err := collect(ctx, q, func(row scanner) (id int64, err error) { return id, row.Scan(&id) }, sqlRunPrunable, append(args, ids)...)
	if err != nil {
		return 0, err
	}
	if ids, err = jsonArray(gone); err != nil {
		return 0, err
	}
	for _, statement := range []string{sqlRunTotal, sqlRunRemove} {
		if _, err := q.db.ExecContext(ctx, q.store.text(statement), ids); err != nil {
			return 0, err
		}
	}
	return int64(len(gone)), nil
}

func (q *queries) ScopePrune(ctx context.Context) error {
	_, err := q.db.ExecContext(ctx, q.store.text(sqlScopePrune))
	return err
}

func (q *queries) TotalList(ctx context.Context, p *dataflow.TotalListParams) ([]*dataflow.DailyTotal, error) {
	return collect(ctx, q, func(row scanner) (*dataflow.DailyTotal, error) {
		var t dataflow.DailyTotal
		c := &t.Counters
		var busy int64
		err := row.Scan(&t.FlowID, &t.FlowName, &t.Day, &t.State, &t.Runs, &c.Read, &c.Written, &c.Redundant, &c.Filtered, &c.Dropped, &c.DeadLettered, &c.Updated, &c.ReadAgain, &busy)
		t.Busy = time.Duration(busy) * time.Microsecond
		return &t, err
	}, sqlTotalList, p.FlowID, p.From, p.To)
}

func (q *queries) UpkeepTake(ctx context.Context, task, worker string, lease time.Duration) (bool, error) {
	err := q.one(ctx, sqlUpkeepTake, task, worker, secondsText(lease))
	if errors.Is(err, dataflow.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (q *queries) UpkeepDone(ctx context.Context, task, worker string, pause time.Duration) error {
	_, err := q.db.ExecContext(ctx, q.store.text(sqlUpkeepDone), task, worker, secondsText(pause))
	return err
}

func (q *queries) TickPrune(ctx context.Context, p *dataflow.PruneParams) (int64, error) {
	return q.prune(ctx, p, sqlTickPruneCount, sqlTickPrune, secondsText(p.Age))
}

func (q *queries) DeadLetterPrune(ctx context.Context, p *dataflow.PruneParams) (int64, error) {
	return q.prune(ctx, p, sqlDeadLetterPruneCount, sqlDeadLetterPrune, ageOrNone(p.DeadLetterAge), ageOrNone(p.OpenDeadLetterAge))
}

// ageOrNone is an age in seconds, or nil, with which every comparison is null.
func ageOrNone(age time.Duration) any {
	if age < 0 {
		return nil
	}
	return secondsText(age)
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
