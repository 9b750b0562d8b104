package dataflowsqlite

import (
	"context"
	"errors"

	"github.com/activedataflow/dataflow"
)

func (q *queries) DeadLetterInsert(ctx context.Context, letters []*dataflow.DeadLetterRecord) error {
	for _, l := range letters {
		var retryFor any
		if l.RetryFor > 0 {
			retryFor = secondsText(l.RetryFor)
		}
		if err := q.one(ctx, sqlDeadLetterInsert, l.FlowID, l.RunID, string(l.Stage), l.Key, nullJSON(l.Payload), l.Error, retryFor, l.TriesLeft, l.SinkKey); err != nil {
			return err
		}
	}
	return nil
}

func (q *queries) DeadLetterList(ctx context.Context, p *dataflow.DeadLetterListParams) ([]*dataflow.DeadLetterRecord, error) {
	return collect(ctx, q, scanLetter, sqlDeadLetterList, p.Flow, p.Run, p.Open, p.Before, p.Limit)
}

func (q *queries) DeadLetterHeld(ctx context.Context, flowID, after int64, limit int) ([]*dataflow.DeadLetterRecord, error) {
	return collect(ctx, q, scanLetter, sqlDeadLetterHeld, flowID, after, limit)
}

// scanLetter reads sqlDeadLetterColumns.
func scanLetter(row scanner) (*dataflow.DeadLetterRecord, error) {
	var l dataflow.DeadLetterRecord
	var payload *string
	err := row.Scan(&l.ID, &l.FlowID, &l.FlowName, &l.RunID, &l.Stage, &l.Key, &payload, &l.Error,
		timeText{&l.CreatedAt}, nullTimeText{&l.ReplayedAt}, nullTimeText{&l.RetryUntil}, &l.TriesLeft, &l.Tries, &l.SinkKey)
	l.Payload = rawJSON(payload)
	return &l, err
}

func (q *queries) DeadLetterTried(ctx context.Context, id int64, err string) error {
	_, xerr := q.db.ExecContext(ctx, q.store.text(sqlDeadLetterTried), id, err)
	return xerr
}

func (q *queries) DeadLetterSuperseded(ctx context.Context, p *dataflow.DeadLetterSupersededParams) (n int64, err error) {
	for _, key := range p.SinkKeys {
		res, err := q.db.ExecContext(ctx, q.store.text(sqlDeadLetterSuperseded), p.FlowID, key, p.Before, p.Note)
		if err != nil {
			return n, err
		}
		ended, err := res.RowsAffected()
		if err != nil {
			return n, err
		}
		n += ended
	}
	return n, nil
}

func (q *queries) DeadLetterReplayed(ctx context.Context, id int64, held bool) (bool, error) {
	err := q.one(ctx, sqlDeadLetterReplayed, id, held)
	if errors.Is(err, dataflow.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
