package dataflowsqlite

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
)

func (q *queries) DeadLetterInsert(ctx context.Context, letters []*dataflow.DeadLetterRecord) error {
	for _, l := range letters {
		var retryFor any
		if l.RetryFor > 0 {
			retryFor = secondsText(l.RetryFor)
		}
		if l.Identity != "" {
			if _, err := q.db.ExecContext(ctx, q.store.text(sqlDeadLetterOutdated), l.FlowID, l.RunID, l.Identity, nullJSON(l.Payload), dataflow.ReasonLaterVersion); err != nil {
				return err
			}
		}
		if err := q.one(ctx, sqlDeadLetterInsert, l.FlowID, l.RunID, string(l.Stage), l.Key, nullJSON(l.Payload), l.Error, retryFor, l.TriesLeft, l.SinkKey, l.Identity); err != nil {
			return err
		}
	}
	return nil
}

func (q *queries) DeadLetterList(ctx context.Context, p *dataflow.DeadLetterListParams) ([]*dataflow.DeadLetterRecord, error) {
	query, args := driverkit.DeadLetterList(p, sqlDeadLetterColumns, "?")
	return collect(ctx, q, scanLetter, query, args...)
}

func (q *queries) DeadLetterHeld(ctx context.Context, flowID, after int64, limit int) ([]*dataflow.DeadLetterRecord, error) {
	return collect(ctx, q, scanLetter, sqlDeadLetterHeld, flowID, after, limit)
}

// scanLetter reads sqlDeadLetterColumns.
func scanLetter(row scanner) (*dataflow.DeadLetterRecord, error) {
	var l dataflow.DeadLetterRecord
	var payload, original *string
	err := row.Scan(&l.ID, &l.FlowID, &l.FlowName, &l.RunID, &l.Stage, &l.Key, &payload, &l.Error,
		timeText{&l.CreatedAt}, nullTimeText{&l.RetryUntil}, &l.TriesLeft, &l.Tries, &l.SinkKey,
		&l.State, nullTimeText{&l.ClosedAt}, &l.ClosedBy, &l.Reason, &l.Identity, &l.Times, timeText{&l.LastAt}, &original, nullTimeText{&l.EditedAt}, &l.EditedBy)
	l.Payload, l.Original = rawJSON(payload), rawJSON(original)
	return &l, err
}

func (q *queries) DeadLetterTried(ctx context.Context, id int64, err string, passes bool) error {
	_, xerr := q.db.ExecContext(ctx, q.store.text(sqlDeadLetterTried), id, err, passes)
	return xerr
}

func (q *queries) DeadLetterSuperseded(ctx context.Context, p *dataflow.DeadLetterSupersededParams) (n int64, err error) {
	for _, key := range p.SinkKeys {
		ended, err := q.count(ctx, sqlDeadLetterSuperseded, p.FlowID, key, p.Before, p.Note)
		if err != nil {
			return n, err
		}
		n += ended
	}
	return n, nil
}

func (q *queries) DeadLetterReplayed(ctx context.Context, id int64, by, reason string, held bool) (bool, error) {
	err := q.one(ctx, sqlDeadLetterReplayed, id, held, by, reason)
	if errors.Is(err, dataflow.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (q *queries) DeadLetterEdit(ctx context.Context, id int64, payload json.RawMessage, by string) error {
	return q.one(ctx, sqlDeadLetterEdit, id, nullJSON(payload), by)
}

func (q *queries) DeadLetterClose(ctx context.Context, p *dataflow.DeadLetterCloseParams) (n int64, err error) {
	do := func(sql string, which any) {
		if err == nil {
			var more int64
			more, err = q.count(ctx, sql, p.FlowID, string(p.State), p.By, p.Reason, which)
			n += more
		}
	}
	for _, id := range p.IDs {
		do(sqlDeadLetterCloseID, id)
	}
	for _, identity := range p.Identities {
		do(sqlDeadLetterCloseRecord, identity)
	}
	if p.NotOfRun != 0 {
		do(sqlDeadLetterCloseOthers, p.NotOfRun)
	}
	return n, err
}

// count runs a statement and returns how many rows it changed.
func (q *queries) count(ctx context.Context, template string, args ...any) (int64, error) {
	res, err := q.db.ExecContext(ctx, q.store.text(template), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (q *queries) DeadLetterRecords(ctx context.Context, flowID int64, after string, limit int) ([]dataflow.DeadLetterIdentity, error) {
	scan := func(row scanner) (l dataflow.DeadLetterIdentity, err error) { return l, row.Scan(&l.Identity, &l.Key) }
	return collect(ctx, q, scan, sqlDeadLetterRecords, flowID, after, limit)
}
