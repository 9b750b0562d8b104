package dataflowsqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/activedataflow/dataflow"
)

func (q *queries) Now(ctx context.Context) (time.Time, error) {
	var now time.Time
	err := q.db.QueryRowContext(ctx, q.store.text(sqlNow)).Scan(timeText{&now})
	return now, err
}

func (q *queries) FlowLock(ctx context.Context, id int64) (*dataflow.FlowRecord, time.Time, error) {
	return q.flowAt(ctx, sqlFlowLock, id)
}

func (q *queries) FlowDue(ctx context.Context, flowIDs []int64) (*dataflow.FlowRecord, time.Time, error) {
	ids, err := jsonArray(flowIDs)
	if err != nil {
		return nil, time.Time{}, err
	}
	rec, now, err := q.flowAt(ctx, sqlFlowDue, ids)
	if errors.Is(err, dataflow.ErrNotFound) {
		return nil, now, nil // documented: there is none
	}
	return rec, now, err
}

// flowAt reads a flow and the time of the statement.
func (q *queries) flowAt(ctx context.Context, template string, arg any) (*dataflow.FlowRecord, time.Time, error) {
	var now time.Time
	rec, err := scanFlowAnd(q.db.QueryRowContext(ctx, q.store.text(template), arg), timeText{&now})
	return rec, now, err
}

func (q *queries) FlowsDue(ctx context.Context, after dataflow.DueFlow, limit int) ([]dataflow.DueFlow, error) {
	at := ""
	if !after.At.IsZero() {
		at = formatTime(after.At)
	}
	return collect(ctx, q, func(row scanner) (due dataflow.DueFlow, err error) {
		return due, row.Scan(timeText{&due.At}, &due.ID)
	}, sqlFlowsDue, at, after.ID, limit)
}

func (q *queries) FlowNext(ctx context.Context, flowIDs []int64) (time.Duration, bool, error) {
	ids, err := jsonArray(flowIDs)
	if err != nil {
		return 0, false, err
	}
	var seconds sql.NullFloat64
	err = q.db.QueryRowContext(ctx, q.store.text(sqlFlowNext), ids).Scan(&seconds)
	return time.Duration(seconds.Float64 * float64(time.Second)), seconds.Valid, err
}

func (q *queries) FlowPlan(ctx context.Context, p *dataflow.FlowPlanParams) error {
	return q.one(ctx, sqlFlowPlan, p.ID, nullTime(p.NextRunAt), nullTime(p.ProbeAt), nullJSON(p.Schedule), nullTime(p.ScheduleAt), p.NextRunLocal)
}

func (q *queries) TickSkip(ctx context.Context, p *dataflow.TickSkipParams) error {
	first, last := formatTime(p.First), formatTime(p.Last)
	err := q.one(ctx, sqlTickExtend, p.FlowID, first, last, p.Count, string(p.Reason))
	if !errors.Is(err, dataflow.ErrNotFound) {
		return err
	}
	return q.one(ctx, sqlTickInsert, p.FlowID, first, last, p.Count, string(p.Reason))
}

func (q *queries) TickList(ctx context.Context, p *dataflow.TickListParams) ([]*dataflow.SkippedTicks, error) {
	return collect(ctx, q, func(row scanner) (*dataflow.SkippedTicks, error) {
		var t dataflow.SkippedTicks
		err := row.Scan(&t.ID, &t.FlowID, &t.FlowName, timeText{&t.First}, timeText{&t.Last}, &t.Count, &t.Reason, timeText{&t.CreatedAt})
		return &t, err
	}, sqlTickList, p.Flow, string(p.Reason), p.Before, p.Limit)
}

func (q *queries) RunActivity(ctx context.Context, flowID int64) (*dataflow.Activity, error) {
	var a dataflow.Activity
	err := q.db.QueryRowContext(ctx, q.store.text(sqlRunActivity), flowID).Scan(&a.InProgress, &a.Waiting, &a.WaitingTicks, &a.Backfills)
	return &a, err
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
	if err := q.one(ctx, sqlProcessSeen, p.ID, p.CodeVersion, flows, queues, secondsText(ttl), zones); err != nil {
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
		err := row.Scan(&p.ID, &p.CodeVersion, &flows, &queues, &zones, timeText{&p.StartedAt}, timeText{&p.SeenAt}, timeText{&p.Until})
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
