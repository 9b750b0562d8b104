package dataflowsqlite

import (
	"context"
	"errors"

	"github.com/activedataflow/dataflow"
)

func (q *queries) DeadLetterInsert(ctx context.Context, letters []*dataflow.DeadLetterRecord) error {
	for _, l := range letters {
		if err := q.one(ctx, sqlDeadLetterInsert, l.FlowID, l.RunID, string(l.Stage), l.Key, nullJSON(l.Payload), l.Error); err != nil {
			return err
		}
	}
	return nil
}

func (q *queries) DeadLetterList(ctx context.Context, p *dataflow.DeadLetterListParams) ([]*dataflow.DeadLetterRecord, error) {
	return collect(ctx, q, func(row scanner) (*dataflow.DeadLetterRecord, error) {
		var l dataflow.DeadLetterRecord
		var payload *string
		err := row.Scan(&l.ID, &l.FlowID, &l.FlowName, &l.RunID, &l.Stage, &l.Key, &payload, &l.Error, timeText{&l.CreatedAt}, nullTimeText{&l.ReplayedAt})
		l.Payload = rawJSON(payload)
		return &l, err
	}, sqlDeadLetterList, p.Flow, p.Run, p.Open, p.Before, p.Limit)
}

func (q *queries) DeadLetterReplayed(ctx context.Context, id int64) (bool, error) {
	err := q.one(ctx, sqlDeadLetterReplayed, id)
	if errors.Is(err, dataflow.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
