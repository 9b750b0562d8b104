package dataflowpgx

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
)

func (q *queries) RunsOld(ctx context.Context, p *dataflow.PruneParams) ([]dataflow.OldRun, error) {
	var at *time.Time
	var id int64
	if p.After != nil {
		at, id = &p.After.EndedAt, p.After.ID
	}
	rows, err := q.db.Query(ctx, q.store.text(sqlRunsOld), string(p.State), p.Age.Microseconds(), at, id, p.Limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (o dataflow.OldRun, err error) {
		return o, row.Scan(&o.ID, &o.FlowID, &o.EndedAt)
	})
}

func (q *queries) RunPrune(ctx context.Context, p *dataflow.PruneParams) (n int64, err error) {
	args := []any{string(p.State), p.Age.Microseconds(), ageOrNone(p.DeadLetterAge), ageOrNone(p.OpenDeadLetterAge)}
	if p.DryRun {
		err = q.db.QueryRow(ctx, q.store.text(sqlRunPruneCount), args...).Scan(&n)
		return n, err
	}
	ids, flows := make([]int64, len(p.Runs)), make([]int64, len(p.Runs))
	for i, run := range p.Runs {
		ids[i], flows[i] = run.ID, run.FlowID
	}
	slices.Sort(flows)
	err = q.db.QueryRow(ctx, q.store.text(sqlRunPrune), append(args, ids, slices.Compact(flows))...).Scan(&n)
	return n, err
}

func (q *queries) ScopePrune(ctx context.Context) error {
	_, err := q.db.Exec(ctx, q.store.text(sqlScopePrune))
	return err
}

func (q *queries) TotalList(ctx context.Context, p *dataflow.TotalListParams) ([]*dataflow.DailyTotal, error) {
	rows, err := q.db.Query(ctx, q.store.text(sqlTotalList), p.FlowID, p.From, p.To)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*dataflow.DailyTotal, error) {
		var t dataflow.DailyTotal
		c := &t.Counters
		var state string
		var busy int64
		err := row.Scan(&t.FlowID, &t.FlowName, &t.Day, &state, &t.Runs, &c.Read, &c.Written, &c.Redundant, &c.Filtered, &c.Dropped, &c.DeadLettered, &c.Updated, &c.ReadAgain, &busy)
		t.State, t.Busy = dataflow.RunState(state), time.Duration(busy)*time.Microsecond
		return &t, err
	})
}

func (q *queries) UpkeepTake(ctx context.Context, task, worker string, lease time.Duration) (bool, error) {
	tag, err := q.db.Exec(ctx, q.store.text(sqlUpkeepTake), task, worker, lease.Microseconds())
	return tag.RowsAffected() == 1, err
}

func (q *queries) UpkeepDone(ctx context.Context, task, worker string, pause time.Duration) error {
	_, err := q.db.Exec(ctx, q.store.text(sqlUpkeepDone), task, worker, pause.Microseconds())
	return err
}

func (q *queries) TickPrune(ctx context.Context, p *dataflow.PruneParams) (int64, error) {
	return q.prune(ctx, p, sqlTickPruneCount, sqlTickPrune, p.Age.Microseconds())
}

func (q *queries) DeadLetterPrune(ctx context.Context, p *dataflow.PruneParams) (int64, error) {
	return q.prune(ctx, p, sqlDeadLetterPruneCount, sqlDeadLetterPrune, ageOrNone(p.DeadLetterAge), ageOrNone(p.OpenDeadLetterAge))
}

// ageOrNone is an age in microseconds, or -1.
func ageOrNone(age time.Duration) int64 {
	if age < 0 {
		return -1
	}
	return age.Microseconds()
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
