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
	retries, tries, sinkKeys := make([]int64, len(letters)), make([]int, len(letters)), make([]string, len(letters))
	for i, l := range letters {
		flows[i], runs[i], stages[i], keys[i], errs[i] = l.FlowID, l.RunID, string(l.Stage), l.Key, l.Error
		payloads[i] = nullJSON(l.Payload)
		retries[i], tries[i], sinkKeys[i] = l.RetryFor.Microseconds(), l.TriesLeft, l.SinkKey
	}
	return []any{flows, runs, stages, keys, payloads, errs, retries, tries, sinkKeys}
}

func (q *queries) DeadLetterList(ctx context.Context, p *dataflow.DeadLetterListParams) ([]*dataflow.DeadLetterRecord, error) {
	return q.letters(ctx, sqlDeadLetterList, p.Flow, p.Run, p.Open, p.Before, p.Limit)
}

func (q *queries) DeadLetterHeld(ctx context.Context, flowID, after int64, limit int) ([]*dataflow.DeadLetterRecord, error) {
	return q.letters(ctx, sqlDeadLetterHeld, flowID, after, limit)
}

func (q *queries) letters(ctx context.Context, sql string, args ...any) ([]*dataflow.DeadLetterRecord, error) {
	rows, err := q.db.Query(ctx, q.store.text(sql), args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*dataflow.DeadLetterRecord, error) {
		var l dataflow.DeadLetterRecord
		var stage string
		var payload *string
		err := row.Scan(&l.ID, &l.FlowID, &l.FlowName, &l.RunID, &stage, &l.Key, &payload, &l.Error, &l.CreatedAt, &l.ReplayedAt, &l.RetryUntil, &l.TriesLeft, &l.Tries, &l.SinkKey)
		utc(&l.CreatedAt, l.ReplayedAt, l.RetryUntil)
		l.Stage, l.Payload = dataflow.Stage(stage), rawJSON(payload)
		return &l, err
	})
}

func (q *queries) DeadLetterTried(ctx context.Context, id int64, err string) error {
	_, xerr := q.db.Exec(ctx, q.store.text(sqlDeadLetterTried), id, err)
	return xerr
}

func (q *queries) DeadLetterSuperseded(ctx context.Context, p *dataflow.DeadLetterSupersededParams) (int64, error) {
	tag, err := q.db.Exec(ctx, q.store.text(sqlDeadLetterSuperseded), p.FlowID, p.SinkKeys, p.Before, p.Note)
	return tag.RowsAffected(), err
}

func (q *queries) DeadLetterReplayed(ctx context.Context, id int64, held bool) (bool, error) {
	err := q.one(ctx, sqlDeadLetterReplayed, id, held)
	if errors.Is(err, dataflow.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
