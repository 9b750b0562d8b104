package dataflowsqlite

import (
	"context"
	"errors"

	"github.com/activedataflow/dataflow"
)

func (q *queries) CursorGet(ctx context.Context, flowID int64) (*dataflow.FlowCursor, error) {
	return scanCursor(q.db.QueryRowContext(ctx, q.store.text(sqlCursorGet), flowID))
}

// CursorLock takes no lock of its own: a transaction holds the write lock from its
// beginning.
func (q *queries) CursorLock(ctx context.Context, flowID int64) (*dataflow.FlowCursor, error) {
	if _, err := q.db.ExecContext(ctx, q.store.text(sqlCursorMake), flowID); err != nil {
		return nil, err
	}
	return q.CursorGet(ctx, flowID)
}

func (q *queries) CursorSet(ctx context.Context, p *dataflow.CursorSetParams) error {
	from, to := nullJSON(p.From), nullJSON(p.To)
	err := q.one(ctx, sqlCursorSet, p.FlowID, p.Seq, to)
	if errors.Is(err, dataflow.ErrNotFound) {
		return dataflow.ErrCursorMoved
	}
	if err != nil {
		return err
	}
	return q.one(ctx, sqlCursorChangeInsert, p.FlowID, from, to, p.Seq+1, p.Actor, p.Reason)
}

func (q *queries) CursorHistory(ctx context.Context, p *dataflow.CursorHistoryParams) ([]*dataflow.CursorChange, error) {
	return collect(ctx, q, func(row scanner) (*dataflow.CursorChange, error) {
		var c dataflow.CursorChange
		var from, to *string
		err := row.Scan(&c.ID, &c.FlowID, &c.FlowName, &from, &to, &c.Seq, &c.Actor, &c.Reason, timeText{&c.At})
		c.From, c.To = rawJSON(from), rawJSON(to)
		return &c, err
	}, sqlCursorHistory, p.FlowID, p.Before, p.Limit)
}

func scanCursor(row scanner) (*dataflow.FlowCursor, error) {
	var c dataflow.FlowCursor
	var cursor *string
	if err := row.Scan(&c.FlowID, &c.FlowName, &c.Seq, &cursor, nullTimeText{&c.At}, &c.RunID); err != nil {
		return nil, notFound(err)
	}
	c.Cursor = rawJSON(cursor)
	return &c, nil
}
