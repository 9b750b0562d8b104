package dataflowpgx

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
)

func (q *queries) RunInsert(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error) {
	return driverkit.RunInsert(ctx, q, p)
}

// InsertRun implements driverkit.RunInserter.
func (q *queries) InsertRun(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error) {
	var at *time.Time
	if !p.At.IsZero() {
		at = &p.At
	}
	run, err := scanRun(q.db.QueryRow(ctx, q.store.text(sqlRunInsert),
		p.FlowID, string(p.Trigger), nullText(p.UniqueKey), at, p.MaxAttempts, p.Queue, nullID(p.RiverJobID), p.Actor, p.Reason,
		p.Scope, nullJSON(p.Params), nullJSON(p.From), nullJSON(p.Until)))
	if err == nil && p.Backfill && p.Scope == "" {
		err = q.db.QueryRow(ctx, q.store.text(sqlRunOwnScope), run.ID).Scan(&run.Scope)
	}
	return run, err
}

// WaitingRun implements driverkit.RunInserter.
func (q *queries) WaitingRun(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error) {
	return scanRun(q.db.QueryRow(ctx, q.store.text(sqlRunWaiting), p.FlowID, p.UniqueKey))
}

// TickRun implements driverkit.RunInserter.
func (q *queries) TickRun(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error) {
	return scanRun(q.db.QueryRow(ctx, q.store.text(sqlRunByTick), p.FlowID, p.At))
}

func (q *queries) RunSetJob(ctx context.Context, runID, jobID int64, queue string) error {
	return q.one(ctx, sqlRunSetJob, runID, nullID(jobID), queue)
}

func (q *queries) RunWaits(ctx context.Context, p *dataflow.RunWaitsParams) error {
	_, err := q.db.Exec(ctx, q.store.text(sqlRunWaits), p.RunID, p.LeaseNumber, string(p.State), p.For, p.Ago.Microseconds())
	return err
}

func (q *queries) RunByID(ctx context.Context, id int64) (*dataflow.Run, error) {
	return scanRun(q.db.QueryRow(ctx, q.store.text(sqlRunByID), id))
}

func (q *queries) RunByJob(ctx context.Context, jobID int64) (*dataflow.Run, error) {
	return scanRun(q.db.QueryRow(ctx, q.store.text(sqlRunByJob), jobID))
}

func (q *queries) RunList(ctx context.Context, p *dataflow.RunListParams) ([]*dataflow.Run, error) {
	query, args := runListQuery(p)
	return q.runs(ctx, query, args...)
}

func runListQuery(p *dataflow.RunListParams) (query string, args []any) {
	return driverkit.RunList(p, driverkit.RunListDialect{
		Mark: "$", NoOrder: " offset 0", Columns: runColumns, Age: dueFor(p.Due, p.Overdue),
		DueAt: func(age string) string { return "{now} - " + age + "::bigint * interval '1 microsecond'" },
	})
}

func (q *queries) RunLive(ctx context.Context, flowID int64) ([]*dataflow.Run, error) {
	return q.runs(ctx, sqlRunLive, flowID)
}

func (q *queries) RunWaiting(ctx context.Context, flowID int64, keyPrefix string) ([]*dataflow.Run, error) {
	return q.runs(ctx, sqlRunWaitingLike, flowID, keyPrefix)
}

func (q *queries) RunDue(ctx context.Context, flows []dataflow.FlowSlots, limit int) ([]*dataflow.Run, error) {
	ids, slots, backfills := make([]int64, len(flows)), make([]int, len(flows)), make([]int, len(flows))
	for i, f := range flows {
		ids[i], slots[i], backfills[i] = f.FlowID, max(f.Slots, 1), f.Backfills
	}
	return q.runs(ctx, sqlRunDue, ids, slots, backfills, limit)
}

// one runs a statement that must change one row.
func (q *queries) one(ctx context.Context, template string, args ...any) error {
	tag, err := q.db.Exec(ctx, q.store.text(template), args...)
	if err != nil {
		return err
	}
	if tag.RowsAffected() != 1 {
		return dataflow.ErrNotFound
	}
	return nil
}

func (q *queries) runs(ctx context.Context, template string, args ...any) ([]*dataflow.Run, error) {
	rows, err := q.db.Query(ctx, q.store.text(template), args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*dataflow.Run, error) { return scanRun(row) })
}

// scanRun reads runColumns, after columns that are read into first.
func scanRun(row pgx.Row, first ...any) (*dataflow.Run, error) {
	var (
		r              dataflow.Run
		state, trigger string
		from, to       *string
		params, until  *string
		history        string
	)
	c := &r.Counters
	err := row.Scan(append(first, &r.ID, &r.FlowID, &r.FlowName, &state, &trigger, &r.ScheduledFor, &r.RunAfter, &r.CreatedAt,
		&r.StartedAt, &r.EndedAt, &r.Attempt, &r.MaxAttempts, &r.Worker, &r.LeaseNumber, &r.LeaseUntil,
		&r.Queue, &r.RiverJobID,
		&c.Read, &c.Written, &c.Redundant, &c.Filtered, &c.Dropped, &c.DeadLettered,
		&r.Total, &from, &to, &r.Error, &history, &r.Actor, &r.Reason, &r.CodeVersion,
		&r.Rescues, &r.CancelRequestedAt, &r.CancelledBy, &r.CancelReason, &r.Slot, &c.Updated,
		&r.Scope, &params, &until, &r.WaitsFor, &r.WaitsSince)...)
	if err != nil {
		return nil, notFound(err)
	}
	utc(&r.ScheduledFor, &r.RunAfter, &r.CreatedAt, r.StartedAt, r.EndedAt, r.LeaseUntil, r.CancelRequestedAt, r.WaitsSince)
	r.State, r.Trigger = dataflow.RunState(state), dataflow.Trigger(trigger)
	r.FromCursor, r.ToCursor, r.UntilCursor, r.Params = rawJSON(from), rawJSON(to), rawJSON(until), rawJSON(params)
	if err := json.Unmarshal([]byte(history), &r.Errors); err != nil {
		return nil, fmt.Errorf("read errors of run %d: %w", r.ID, err)
	}
	return &r, nil
}

// utc converts times to UTC; pgx reads them in the zone of this process.
func utc(times ...*time.Time) {
	for _, t := range times {
		if t != nil {
			*t = t.UTC()
		}
	}
}

func nullText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func nullID(id int64) *int64 {
	if id == 0 {
		return nil
	}
	return &id
}

func nullJSON(raw json.RawMessage) *string {
	if raw == nil {
		return nil
	}
	return nullText(string(raw))
}

func rawJSON(text *string) json.RawMessage {
	if text == nil {
		return nil
	}
	return json.RawMessage(*text)
}
