package dataflowpgx

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
)

func (q *queries) AfterSet(ctx context.Context, flowID int64, after dataflow.After) error {
	_, err := q.db.Exec(ctx, q.store.text(sqlAfterLock))
	if err != nil {
		return err
	}
	if after.Flow == "" {
		_, err = q.db.Exec(ctx, q.store.text(sqlAfterDelete), flowID)
	} else {
		_, err = q.db.Exec(ctx, q.store.text(sqlAfterSet), flowID, after.Flow, after.OnlyIfRows)
	}
	return err
}

func (q *queries) AfterChain(ctx context.Context, name string) ([]string, error) {
	rows, err := q.db.Query(ctx, q.store.text(sqlAfterChain), name)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func (q *queries) AfterDue(ctx context.Context, flowID int64) ([]*dataflow.DueAfter, error) {
	rows, err := q.db.Query(ctx, q.store.text(sqlAfterDue), flowID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*dataflow.DueAfter, error) {
		var d dataflow.DueAfter
		return &d, row.Scan(&d.FlowID, &d.Upstream, &d.RunID, &d.Rows)
	})
}

func (q *queries) AfterDone(ctx context.Context, d *dataflow.DueAfter) error {
	return q.one(ctx, sqlAfterDone, d.FlowID, d.RunID, d.Rows)
}

func (q *queries) AfterWrote(ctx context.Context, flowID int64, rows int) error {
	_, err := q.db.Exec(ctx, q.store.text(sqlAfterWrote), flowID, rows)
	return err
}

func (q *queries) AfterGet(ctx context.Context, flowID int64) (*dataflow.AfterState, error) {
	var a dataflow.AfterState
	err := q.db.QueryRow(ctx, q.store.text(sqlAfterGet), flowID).Scan(&a.Flow, &a.OnlyIfRows, &a.Registered, &a.LastRun)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, dataflow.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	due, err := q.AfterDue(ctx, flowID)
	if len(due) > 0 {
		a.Due = due[0]
	}
	return &a, err
}
