package dataflowsqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
)

func (q *queries) Now(ctx context.Context) (time.Time, error) {
	var now time.Time
	err := q.db.QueryRowContext(ctx, q.store.text(sqlNow)).Scan(timeText{&now})
	return now, err
}

func (q *queries) FlowLock(ctx context.Context, id int64) (*dataflow.FlowRecord, time.Time, error) {
	recs, now, err := q.FlowsLock(ctx, []int64{id})
	switch {
	case err != nil:
		return nil, now, err
	case len(recs) == 0:
		return nil, now, dataflow.ErrNotFound
	}
	return recs[0], now, nil
}

func (q *queries) FlowsLock(ctx context.Context, ids []int64) ([]*dataflow.FlowRecord, time.Time, error) {
	return q.flowsAt(ctx, sqlFlowsLock, ids)
}

func (q *queries) FlowDue(ctx context.Context, flowIDs []int64) ([]*dataflow.FlowRecord, time.Time, error) {
	return q.flowsAt(ctx, sqlFlowDue, flowIDs)
}

// flowsAt reads flows and the time of the statement.
func (q *queries) flowsAt(ctx context.Context, template string, ids []int64) ([]*dataflow.FlowRecord, time.Time, error) {
	var now time.Time
	list, err := jsonArray(ids)
	if err != nil {
		return nil, now, err
	}
	recs, err := collect(ctx, q, func(row scanner) (*dataflow.FlowRecord, error) { return scanFlowAnd(row, timeText{&now}) }, template, list)
	return recs, now, err
}

func (q *queries) FlowsDue(ctx context.Context, p *dataflow.FlowsDueParams) ([]dataflow.Due, time.Time, error) {
	var now time.Time
	ids, err := nullIDs(p.FlowIDs)
	if err != nil {
		return nil, now, err
	}
	all, err := collect(ctx, q, func(row scanner) (due dataflow.Due, err error) {
		var at *time.Time
		var id sql.NullInt64
		if err := row.Scan(timeText{&now}, nullTimeText{&at}, &id); err != nil || at == nil {
			return due, err
		}
		return dataflow.Due{At: *at, ID: id.Int64}, nil
	}, sqlFlowsDue, placeText(p.After), p.After.ID, p.Limit, ids)
	if len(all) == 1 && all[0].ID == 0 { // there is only the time
		all = nil
	}
	return all, now, err
}

// placeText formats the time of a place. Its texts sort like the times.
func placeText(p dataflow.Due) string {
	if p.At.IsZero() {
		return ""
	}
	return formatTime(p.At)
}

// nullIDs returns a JSON array, or null for nil.
func nullIDs(ids []int64) (any, error) {
	if ids == nil {
		return nil, nil //nolint:nilnil // the argument is null
	}
	return jsonArray(ids)
}

func (q *queries) FlowNext(ctx context.Context, flowIDs []int64, after time.Time) (time.Duration, bool, error) {
	ids, err := nullIDs(flowIDs)
	if err != nil {
		return 0, false, err
	}
	var seconds sql.NullFloat64
	err = q.db.QueryRowContext(ctx, q.store.text(sqlFlowNext), placeText(dataflow.Due{At: after}), ids).Scan(&seconds)
	return time.Duration(seconds.Float64 * float64(time.Second)), seconds.Valid, err
}

func (q *queries) FlowPlan(ctx context.Context, ps ...*dataflow.FlowPlanParams) error {
	for _, p := range ps {
		if err := q.one(ctx, sqlFlowPlan, p.ID, nullTime(p.NextRunAt), nullTime(p.ProbeAt), nullJSON(p.Schedule), nullTime(p.ScheduleAt), p.NextRunLocal); err != nil {
			return err
		}
	}
	return nil
}

func (q *queries) TickSkip(ctx context.Context, ps ...*dataflow.TickSkipParams) error {
	for _, p := range ps {
		first, last := formatTime(p.First), formatTime(p.Last)
		err := q.one(ctx, sqlTickExtend, p.FlowID, first, last, p.Count, string(p.Reason))
		if errors.Is(err, dataflow.ErrNotFound) {
			err = q.one(ctx, sqlTickInsert, p.FlowID, first, last, p.Count, string(p.Reason))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (q *queries) TickList(ctx context.Context, p *dataflow.TickListParams) ([]*dataflow.SkippedTicks, error) {
	return collect(ctx, q, func(row scanner) (*dataflow.SkippedTicks, error) {
		var t dataflow.SkippedTicks
		err := row.Scan(&t.ID, &t.FlowID, &t.FlowName, timeText{&t.First}, timeText{&t.Last}, &t.Count, &t.Reason, timeText{&t.CreatedAt})
		return &t, err
	}, sqlTickList, p.Flow, string(p.Reason), p.Before, p.Limit)
}

func (q *queries) RunActivity(ctx context.Context, flowIDs []int64) (map[int64]*dataflow.Activity, error) {
	ids, err := jsonArray(flowIDs)
	if err != nil {
		return nil, err
	}
	all := make(map[int64]*dataflow.Activity)
	_, err = collect(ctx, q, func(row scanner) (id int64, err error) {
		var a dataflow.Activity
		err = row.Scan(&id, &a.InProgress, &a.Waiting, &a.WaitingTicks, &a.Backfills)
		all[id] = &a
		return id, err
	}, sqlRunActivity, ids)
	return all, err
}

func (q *queries) FlowStats(ctx context.Context, flowIDs []int64) ([]*dataflow.FlowStats, error) {
	ids, err := jsonArray(flowIDs)
	if err != nil {
		return nil, err
	}
	return collect(ctx, q, func(row scanner) (*dataflow.FlowStats, error) {
		var s dataflow.FlowStats
		var cursor *string
		err := row.Scan(&s.FlowID, &s.Flow, timeText{&s.At}, &s.State, nullTimeText{&s.TrippedAt}, &s.Failures, nullTimeText{&s.LastSuccessAt},
			&s.InProgress, &s.Due, nullTimeText{&s.DueSince}, &s.DeadLetters, &cursor, nullTimeText{&s.CursorAt})
		s.Cursor = rawJSON(cursor)
		return &s, err
	}, sqlFlowStats, ids, driverkit.DeadLettersCounted)
}

func (q *queries) FlowsCrowded(ctx context.Context) ([]int64, error) {
	return collect(ctx, q, func(row scanner) (id int64, err error) {
		err = row.Scan(&id)
		return id, err
	}, sqlFlowsCrowded)
}

func (q *queries) ProcessAlive(ctx context.Context, id string, ttl time.Duration) (bool, error) {
	err := q.one(ctx, sqlProcessAlive, id, secondsText(ttl))
	if errors.Is(err, dataflow.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (q *queries) ProcessSeen(ctx context.Context, p *dataflow.Process, ttl time.Duration) error {
	flows, err := jsonArray(p.Flows)
	if err != nil {
		return err
	}
	var queues any
	if p.Queues != nil {
		if queues, err = jsonArray(p.Queues); err != nil {
			return err
		}
	}
	var zones any
	if p.ZoneData != nil {
		data, err := json.Marshal(p.ZoneData)
		if err != nil {
			return err
		}
		zones = string(data)
	}
	if err := q.one(ctx, sqlProcessSeen, p.ID, p.CodeVersion, flows, queues, secondsText(ttl), zones, p.Polls); err != nil {
		return err
	}
	_, err = q.db.ExecContext(ctx, q.store.text(sqlProcessSweep))
	return err
}

func (q *queries) ProcessGone(ctx context.Context, id string) error {
	_, err := q.db.ExecContext(ctx, q.store.text(sqlProcessGone), id)
	return err
}

func (q *queries) ProcessList(ctx context.Context) ([]*dataflow.Process, error) {
	return collect(ctx, q, func(row scanner) (*dataflow.Process, error) {
		var p dataflow.Process
		var flows string
		var queues, zones *string
		err := row.Scan(&p.ID, &p.CodeVersion, &flows, &queues, &zones, &p.Polls, timeText{&p.StartedAt}, timeText{&p.SeenAt}, timeText{&p.Until})
		if err == nil {
			err = json.Unmarshal([]byte(flows), &p.Flows)
		}
		if err == nil && queues != nil {
			err = json.Unmarshal([]byte(*queues), &p.Queues)
		}
		if err == nil && zones != nil {
			err = json.Unmarshal([]byte(*zones), &p.ZoneData)
		}
		if err != nil {
			return nil, fmt.Errorf("read process %q: %w", p.ID, err)
		}
		return &p, nil
	}, sqlProcessList)
}

func nullTime(t *time.Time) any {
	if t == nil {
		return nil
	}
	return formatTime(*t)
}

// probeText formats the column probe_after: 0 means no probes.
func probeText(d time.Duration) string {
	if d <= 0 {
		return "0"
	}
	return secondsText(d)
}
