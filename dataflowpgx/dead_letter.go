package dataflowpgx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
)

func (q *queries) DeadLetterInsert(ctx context.Context, letters []*dataflow.DeadLetterRecord) error {
	if len(letters) == 0 {
		return nil
	}
	var b pgx.Batch
	queued := q.queueLetters(&b, letters)
	results := q.db.SendBatch(ctx, &b)
	return errors.Join(queued.answers(results), results.Close())
}

// queuedLetters are statements that store dead letters.
type queuedLetters struct {
	n      int
	server *server
	narrow bool // their texts have been made storable
}

// queueLetters queues the statements that store dead letters. A statement may not store a record twice.
func (q *queries) queueLetters(b *pgx.Batch, letters []*dataflow.DeadLetterRecord) queuedLetters {
	queued := queuedLetters{server: q.store.pool.server, narrow: q.store.pool.narrow.Load()}
	for part := range driverkit.DistinctLetters(letters) {
		args := letterArgs(part, queued.narrow)
		if slices.ContainsFunc(part, func(l *dataflow.DeadLetterRecord) bool { return l.Identity != "" }) {
			flows, runs, payloads, identities := args[0], args[1], args[4], args[9]
			b.Queue(q.store.text(sqlDeadLetterOutdated), flows, runs, identities, payloads, dataflow.ReasonLaterVersion)
			queued.n++
		}
		b.Queue(q.store.text(sqlDeadLetterInsert), args...)
		queued.n++
	}
	return queued
}

// answers waits for the answers to the statements.
func (l queuedLetters) answers(results pgx.BatchResults) error {
	for range l.n {
		if _, err := results.Exec(); err != nil {
			return fmt.Errorf("keep dead letters: %w", l.lacks(err))
		}
	}
	return nil
}

// lacks looks whether the database has refused a text of the statements, or of those queued with them.
func (l queuedLetters) lacks(err error) error { return l.server.lacks(l.narrow, err) }

// letterArgs returns the arguments of sqlDeadLetterInsert.
func letterArgs(letters []*dataflow.DeadLetterRecord, narrow bool) []any {
	flows, runs := make([]int64, len(letters)), make([]int64, len(letters))
	stages, keys, errs := make([]string, len(letters)), make([]string, len(letters)), make([]string, len(letters))
	payloads := make([]*string, len(letters))
	retries, tries, sinkKeys, identities := make([]int64, len(letters)), make([]int, len(letters)), make([]string, len(letters)), make([]string, len(letters))
	for i, l := range letters {
		flows[i], runs[i], stages[i], keys[i], errs[i] = l.FlowID, l.RunID, string(l.Stage), storable(narrow, l.Key), storable(narrow, l.Error)
		payloads[i] = storableJSON(narrow, l.Payload)
		retries[i], tries[i], sinkKeys[i], identities[i] = l.RetryFor.Microseconds(), l.TriesLeft, l.SinkKey, l.Identity
	}
	return []any{flows, runs, stages, keys, payloads, errs, retries, tries, sinkKeys, identities}
}

func (q *queries) DeadLetterList(ctx context.Context, p *dataflow.DeadLetterListParams) ([]*dataflow.DeadLetterRecord, error) {
	query, args := driverkit.DeadLetterList(p, sqlDeadLetterColumns, "$")
	return q.letters(ctx, query, args...)
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
		var payload, original *string
		err := row.Scan(&l.ID, &l.FlowID, &l.FlowName, &l.RunID, &stage, &l.Key, &payload, &l.Error, &l.CreatedAt, &l.RetryUntil, &l.TriesLeft, &l.Tries, &l.SinkKey,
			&l.State, &l.ClosedAt, &l.ClosedBy, &l.Reason, &l.Identity, &l.Times, &l.LastAt, &original, &l.EditedAt, &l.EditedBy)
		utc(&l.CreatedAt, &l.LastAt, l.RetryUntil, l.ClosedAt, l.EditedAt)
		l.Stage, l.Payload, l.Original = dataflow.Stage(stage), rawJSON(payload), rawJSON(original)
		return &l, err
	})
}

func (q *queries) DeadLetterTried(ctx context.Context, id int64, err string, passes bool) error {
	narrow := q.store.pool.narrow.Load()
	_, xerr := q.db.Exec(ctx, q.store.text(sqlDeadLetterTried), id, storable(narrow, err), passes)
	return q.store.pool.lacks(narrow, xerr)
}

func (q *queries) DeadLetterSuperseded(ctx context.Context, p *dataflow.DeadLetterSupersededParams) (int64, error) {
	tag, err := q.db.Exec(ctx, q.store.text(sqlDeadLetterSuperseded), p.FlowID, p.SinkKeys, p.Before, p.Note)
	return tag.RowsAffected(), err
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
			tag, failed := q.db.Exec(ctx, q.store.text(sql), p.FlowID, string(p.State), p.By, p.Reason, which)
			n, err = n+tag.RowsAffected(), failed
		}
	}
	if len(p.IDs) > 0 {
		do(sqlDeadLetterCloseIDs, p.IDs)
	}
	if len(p.Identities) > 0 {
		do(sqlDeadLetterCloseRecords, p.Identities)
	}
	if p.NotOfRun != 0 {
		do(sqlDeadLetterCloseOthers, p.NotOfRun)
	}
	return n, err
}

func (q *queries) DeadLetterRecords(ctx context.Context, flowID int64, after string, limit int) ([]dataflow.DeadLetterIdentity, error) {
	rows, err := q.db.Query(ctx, q.store.text(sqlDeadLetterRecords), flowID, after, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[dataflow.DeadLetterIdentity])
}
