package dataflowsqlite

import (
	"context"

	"github.com/activedataflow/dataflow"
)

func (q *queries) AfterSet(ctx context.Context, flowID int64, after dataflow.After) (err error) {
	if after.Flow == "" {
		_, err = q.db.ExecContext(ctx, q.store.text(sqlAfterDelete), flowID)
	} else {
		_, err = q.db.ExecContext(ctx, q.store.text(sqlAfterSet), flowID, after.Flow, after.OnlyIfRows)
	}
	return err
}

func (q *queries) AfterChain(ctx context.Context, name string) ([]string, error) {
	return collect(ctx, q, func(row scanner) (name string, err error) { return name, row.Scan(&name) }, sqlAfterChain, name)
}

func (q *queries) AfterDue(ctx context.Context, flowID int64) ([]*dataflow.DueAfter, error) {
	return collect(ctx, q, func(row scanner) (*dataflow.DueAfter, error) {
		var d dataflow.DueAfter
		return &d, row.Scan(&d.FlowID, &d.Upstream, &d.RunID, &d.Rows)
	}, sqlAfterDue, flowID)
}

func (q *queries) AfterDone(ctx context.Context, d *dataflow.DueAfter) error {
	return q.one(ctx, sqlAfterDone, d.FlowID, d.RunID, d.Rows)
}

func (q *queries) AfterWrote(ctx context.Context, flowID int64, rows int) error {
	_, err := q.db.ExecContext(ctx, q.store.text(sqlAfterWrote), flowID, rows)
	return err
}

func (q *queries) AfterGet(ctx context.Context, flowID int64) (*dataflow.AfterState, error) {
	var a dataflow.AfterState
	err := q.db.QueryRowContext(ctx, q.store.text(sqlAfterGet), flowID).Scan(&a.Flow, &a.OnlyIfRows, &a.Registered, &a.LastRun)
	if err != nil {
		return nil, notFound(err)
	}
	due, err := q.AfterDue(ctx, flowID)
	if len(due) > 0 {
		a.Due = due[0]
	}
	return &a, err
}
