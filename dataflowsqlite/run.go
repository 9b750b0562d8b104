package dataflowsqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
)

func (q *queries) RunInsert(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error) {
	return driverkit.RunInsert(ctx, q, p)
}

func (q *queries) RunInsertMany(ctx context.Context, ps []*dataflow.RunInsertParams) ([]*dataflow.Run, error) {
	return driverkit.RunInsertEach(ctx, q, ps)
}

// InsertRun implements driverkit.RunInserter.
func (q *queries) InsertRun(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error) {
	var at, key, job any
	if !p.At.IsZero() {
		at = formatTime(p.At)
	}
	if p.UniqueKey != "" {
		key = p.UniqueKey
	}
	if p.RiverJobID != 0 {
		job = p.RiverJobID
	}
	var id int64
	err := q.db.QueryRowContext(ctx, q.store.text(sqlRunInsert),
		p.FlowID, string(p.Trigger), key, at, p.MaxAttempts, p.Queue, job, p.Actor, p.Reason,
		p.Scope, nullJSON(p.Params), nullJSON(p.From), nullJSON(p.Until), nullJSON(p.Runtime), p.TraceParent, p.ReserveJob).Scan(&id)
	if err == nil && p.Backfill && p.Scope == "" {
		err = q.one(ctx, sqlRunOwnScope, id)
	}
	if err != nil {
		return nil, notFound(err)
	}
	return q.RunByID(ctx, id)
}

// WaitingRun implements driverkit.RunInserter.
func (q *queries) WaitingRun(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error) {
	return scanRun(q.db.QueryRowContext(ctx, q.store.text(sqlRunWaiting), p.FlowID, p.UniqueKey, nullJSON(p.Runtime)))
}

// TickRun implements driverkit.RunInserter.
func (q *queries) TickRun(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error) {
	return scanRun(q.db.QueryRowContext(ctx, q.store.text(sqlRunByTick), p.FlowID, formatTime(p.At)))
}

func (q *queries) RunSetJob(ctx context.Context, runID, jobID int64, queue string) error {
	return q.one(ctx, sqlRunSetJob, runID, sql.NullInt64{Int64: jobID, Valid: jobID != 0}, queue)
}

func (q *queries) RunWaits(ctx context.Context, p *dataflow.RunWaitsParams) error {
	_, err := q.db.ExecContext(ctx, q.store.text(sqlRunWaits), p.RunID, p.LeaseNumber, string(p.State), p.For, secondsText(p.Ago), p.Advanced)
	return err
}

func (q *queries) RunByID(ctx context.Context, id int64) (*dataflow.Run, error) {
	return scanRun(q.db.QueryRowContext(ctx, q.store.text(sqlRunByID), id))
}

func (q *queries) RunByJob(ctx context.Context, jobID int64) (*dataflow.Run, error) {
	return scanRun(q.db.QueryRowContext(ctx, q.store.text(sqlRunByJob), jobID))
}

func (q *queries) RunList(ctx context.Context, p *dataflow.RunListParams) ([]*dataflow.Run, error) {
	query, args := runListQuery(p)
	return collect(ctx, q, scanRun, query, args...)
}

func runListQuery(p *dataflow.RunListParams) (query string, args []any) {
	dialect := runListDialect
	dialect.Age = dueFor(p.Due, p.Overdue)
	return driverkit.RunList(p, dialect)
}

var runListDialect = driverkit.RunListDialect{ //nolint:gochecknoglobals // a constant
	Mark: "?", NoOrder: " limit -1 offset 0", IndexedBy: true, Columns: runColumns,
	DueAt: func(age string) string {
		return "strftime('%Y-%m-%d %H:%M:%f', {now}, '-' || " + age + " || ' seconds')"
	},
	Table: func(texts string) string { return "json_each(" + texts + ") s" }, Item: "s.value",
	Texts: func(texts []string) any {
		list, _ := json.Marshal(texts) // texts are always JSON
		return string(list)
	},
}

// RunsLast asks for one flow after the other, because there is no server to wait for. SQLite reads the
// statement once.
func (q *queries) RunsLast(ctx context.Context, flowIDs []int64, limit int) ([]*dataflow.RunSummary, error) {
	if len(flowIDs) == 0 {
		return nil, nil
	}
	var id int64
	dialect := runListDialect
	dialect.FlowID, dialect.Columns, dialect.Alone = &id, summaryColumns, true
	query, args := driverkit.RunList(&dataflow.RunListParams{Limit: limit}, dialect)
	stmt, err := q.db.PrepareContext(ctx, q.store.text(query))
	if err != nil {
		return nil, err
	}
	defer stmt.Close() //nolint:errcheck // it has answered
	var all []*dataflow.RunSummary
	for _, id = range flowIDs {
		rows, err := stmt.QueryContext(ctx, args...)
		if err != nil {
			return nil, err
		}
		runs, err := collected(rows, scanSummary)
		if err != nil {
			return nil, err
		}
		all = append(all, runs...)
	}
	return all, nil
}

func (q *queries) RunLive(ctx context.Context, flowID int64) ([]*dataflow.Run, error) {
	return collect(ctx, q, scanRun, sqlRunLive, flowID)
}

func (q *queries) RunWaiting(ctx context.Context, flowID int64, keyPrefix string) ([]*dataflow.Run, error) {
	return collect(ctx, q, scanRun, sqlRunWaitingLike, flowID, keyPrefix)
}

func (q *queries) RunDue(ctx context.Context, p *dataflow.RunDueParams) ([]*dataflow.Run, error) {
	slots := make([][3]int64, len(p.Slots))
	for i, f := range p.Slots {
		slots[i] = [3]int64{f.FlowID, int64(max(f.Slots, 1)), int64(f.Backfills)}
	}
	byFlow, err := jsonArray(slots)
	if err != nil {
		return nil, err
	}
	ids, err := nullIDs(p.FlowIDs)
	if err != nil {
		return nil, err
	}
	return collect(ctx, q, scanRun, sqlRunDue, byFlow, p.Limit, placeText(p.After), p.After.ID, ids)
}

func (q *queries) RunCheckpoint(ctx context.Context, p *dataflow.RunCheckpointParams) (dataflow.LeaseStatus, error) {
	d, cursor := p.Delta, nullJSON(p.Cursor)
	c := driverkit.CheckpointOf(&dataflow.Run{Scope: p.Scope, Slot: p.Slot})
	status := dataflow.LeaseStatus{RunID: p.RunID}
	if err := q.DeadLetterInsert(ctx, p.Letters); err != nil {
		return status, fmt.Errorf("keep dead letters: %w", err)
	}
	err := q.db.QueryRowContext(ctx, q.store.text(sqlRunProgress), p.RunID, p.LeaseNumber,
		d.Read, d.Written, d.Redundant, d.Filtered, d.Dropped, d.DeadLettered, p.Total, nullJSON(p.From), cursor,
		secondsText(p.Lease), d.Updated, d.ReadAgain).Scan(&status.CancelRequested)
	if err == nil {
		err = q.one(ctx, sqlCheckpointMove, p.FlowID, p.Seq, cursor,
			d.Read, d.Written+p.Loaded, d.Redundant, d.Filtered, d.Dropped, d.DeadLettered, c.Partition, d.Updated, p.RunID, c.Scope, d.ReadAgain)
	}
	if err = notFound(err); errors.Is(err, dataflow.ErrNotFound) {
		return status, nil
	}
	status.Held = err == nil
	return status, err
}

// one runs a statement that must change one row.
func (q *queries) one(ctx context.Context, template string, args ...any) error {
	res, err := q.db.ExecContext(ctx, q.store.text(template), args...)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n != 1 {
		err = dataflow.ErrNotFound
	}
	return err
}

// scanRun reads runColumns.
func scanRun(row scanner) (*dataflow.Run, error) {
	var (
		r             dataflow.Run
		from, to      *string
		params, until *string
		history       string
	)
	c := &r.Counters
	err := row.Scan(&r.ID, &r.FlowID, &r.FlowName, &r.State, &r.Trigger, timeText{&r.ScheduledFor}, timeText{&r.RunAfter}, timeText{&r.CreatedAt},
		nullTimeText{&r.StartedAt}, nullTimeText{&r.EndedAt}, &r.Attempt, &r.MaxAttempts, &r.Worker, &r.LeaseNumber, nullTimeText{&r.LeaseUntil},
		&r.Queue, &r.RiverJobID,
		&c.Read, &c.Written, &c.Redundant, &c.Filtered, &c.Dropped, &c.DeadLettered,
		&r.Total, &from, &to, &r.Error, &history, &r.Actor, &r.Reason, &r.CodeVersion,
		&r.Rescues, nullTimeText{&r.CancelRequestedAt}, &r.CancelledBy, &r.CancelReason, &r.Slot, &c.Updated, &c.ReadAgain,
		&r.Scope, &params, &until, &r.WaitsFor, nullTimeText{&r.WaitsSince}, &r.TraceParent)
	if err != nil {
		return nil, notFound(err)
	}
	r.FromCursor, r.ToCursor, r.UntilCursor, r.Params = rawJSON(from), rawJSON(to), rawJSON(until), rawJSON(params)
	if err := json.Unmarshal([]byte(history), &r.Errors); err != nil {
		return nil, fmt.Errorf("read errors of run %d: %w", r.ID, err)
	}
	return &r, nil
}

// scanSummary reads summaryColumns.
func scanSummary(row scanner) (*dataflow.RunSummary, error) {
	var r dataflow.RunSummary
	err := row.Scan(&r.ID, &r.FlowID, &r.State, &r.Trigger, timeText{&r.CreatedAt}, nullTimeText{&r.StartedAt}, nullTimeText{&r.EndedAt}, &r.Read, &r.Written)
	return &r, err
}

// jsonArray encodes a list as an argument of json_each.
func jsonArray[T any](list []T) (string, error) {
	if len(list) == 0 {
		return "[]", nil
	}
	data, err := json.Marshal(list)
	return string(data), err
}

// secondsText formats a duration for a modifier of strftime, in seconds without the unit.
func secondsText(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', 3, 64)
}

func nullJSON(raw json.RawMessage) any {
	if len(raw) == 0 {
		return nil
	}
	return string(raw)
}

func rawJSON(text *string) json.RawMessage {
	if text == nil {
		return nil
	}
	return json.RawMessage(*text)
}
