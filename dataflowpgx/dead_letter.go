package dataflowpgx

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
)

func (q *queries) DeadLetterInsert(ctx context.Context, letters []*dataflow.DeadLetterRecord) error {
	_, err := q.db.Exec(ctx, q.store.text(sqlDeadLetterInsert), letterArgs(letters)...)
	return err
}

// letterArgs returns the arguments of sqlDeadLetterInsert.
func letterArgs(letters []*dataflow.DeadLetterRecord) []any {
	flows, runs := make([]int64, len(letters)), make([]int64, len(letters))
	stages, keys, errs := make([]string, len(letters)), make([]string, len(letters)), make([]string, len(letters))
	payloads := make([]*string, len(letters))
	for i, l := range letters {
		flows[i], runs[i], stages[i], keys[i], errs[i] = l.FlowID, l.RunID, string(l.Stage), l.Key, l.Error
		payloads[i] = nullJSON(l.Payload)
	}
	return []any{flows, runs, stages, keys, payloads, errs}
}

func (q *queries) DeadLetterList(ctx context.Context, p *dataflow.DeadLetterListParams) ([]*dataflow.DeadLetterRecord, error) {
	rows, err := q.db.Query(ctx, q.store.text(sqlDeadLetterList), p.Flow, p.Run, p.Open, p.Before, p.Limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*dataflow.DeadLetterRecord, error) {
		var l dataflow.DeadLetterRecord
		var stage string
		var payload *string
		err := row.Scan(&l.ID, &l.FlowID, &l.FlowName, &l.RunID, &stage, &l.Key, &payload, &l.Error, &l.CreatedAt, &l.ReplayedAt)
		utc(&l.CreatedAt, l.ReplayedAt)
		l.Stage, l.Payload = dataflow.Stage(stage), rawJSON(payload)
		return &l, err
	})
}

func (q *queries) DeadLetterReplayed(ctx context.Context, id int64) (bool, error) {
	err := q.one(ctx, sqlDeadLetterReplayed, id)
	if errors.Is(err, dataflow.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
