package dataflowpgx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
)

func (q *queries) Now(ctx context.Context) (time.Time, error) {
	var now time.Time
	err := q.db.QueryRow(ctx, q.store.text(sqlNow)).Scan(&now)
	return now.UTC(), err
}

func (q *queries) FlowLock(ctx context.Context, id int64) (*dataflow.FlowRecord, time.Time, error) {
	return q.flowAt(ctx, sqlFlowLock, id)
}

func (q *queries) FlowDue(ctx context.Context, flowIDs []int64) (*dataflow.FlowRecord, time.Time, error) {
	rec, now, err := q.flowAt(ctx, sqlFlowDue, flowIDs)
	if errors.Is(err, dataflow.ErrNotFound) {
		return nil, now, nil // documented: there is none
	}
	return rec, now, err
}

// flowAt reads a flow and the time of the statement.
func (q *queries) flowAt(ctx context.Context, template string, arg any) (*dataflow.FlowRecord, time.Time, error) {
	var now time.Time
	rec, err := scanFlow(q.db.QueryRow(ctx, q.store.text(template), arg), &now)
	return rec, now.UTC(), err
}

func (q *queries) FlowsDue(ctx context.Context, after dataflow.DueFlow, limit int) ([]dataflow.DueFlow, error) {
	rows, err := q.db.Query(ctx, q.store.text(sqlFlowsDue), after.At, after.ID, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (due dataflow.DueFlow, err error) {
		err = row.Scan(&due.At, &due.ID)
		return due, err
	})
}

func (q *queries) FlowNext(ctx context.Context, flowIDs []int64) (time.Duration, bool, error) {
	var seconds *float64
	err := q.db.QueryRow(ctx, q.store.text(sqlFlowNext), flowIDs).Scan(&seconds)
	if err != nil || seconds == nil {
		return 0, false, err
	}
	return time.Duration(*seconds * float64(time.Second)), true, nil
}

func (q *queries) FlowPlan(ctx context.Context, p *dataflow.FlowPlanParams) error {
	return q.one(ctx, sqlFlowPlan, p.ID, p.NextRunAt, p.ProbeAt, nullJSON(p.Schedule), p.ScheduleAt, p.NextRunLocal)
}

func (q *queries) TickSkip(ctx context.Context, p *dataflow.TickSkipParams) error {
	err := q.one(ctx, sqlTickExtend, p.FlowID, p.First, p.Last, p.Count, string(p.Reason))
	if !errors.Is(err, dataflow.ErrNotFound) {
		return err
	}
	return q.one(ctx, sqlTickInsert, p.FlowID, p.First, p.Last, p.Count, string(p.Reason))
}

func (q *queries) TickList(ctx context.Context, p *dataflow.TickListParams) ([]*dataflow.SkippedTicks, error) {
	rows, err := q.db.Query(ctx, q.store.text(sqlTickList), p.Flow, string(p.Reason), p.Before, p.Limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*dataflow.SkippedTicks, error) {
		var t dataflow.SkippedTicks
		var reason string
		err := row.Scan(&t.ID, &t.FlowID, &t.FlowName, &t.First, &t.Last, &t.Count, &reason, &t.CreatedAt)
		utc(&t.First, &t.Last, &t.CreatedAt)
		t.Reason = dataflow.SkipReason(reason)
		return &t, err
	})
}

func (q *queries) RunActivity(ctx context.Context, flowID int64) (*dataflow.Activity, error) {
	var a dataflow.Activity
	err := q.db.QueryRow(ctx, q.store.text(sqlRunActivity), flowID).Scan(&a.InProgress, &a.Waiting, &a.WaitingTicks, &a.Backfills)
	return &a, err
}

func (q *queries) ProcessSeen(ctx context.Context, p *dataflow.Process, ttl time.Duration) error {
	zones, err := zoneJSON(p.ZoneData)
	if err != nil {
		return err
	}
	var b pgx.Batch
	b.Queue(q.store.text(sqlProcessSeen), p.ID, p.CodeVersion, append([]string{}, p.Flows...), p.Queues, ttl.Microseconds(), zones)
	b.Queue(q.store.text(sqlProcessSweep))
	return q.db.SendBatch(ctx, &b).Close()
}

func (q *queries) ProcessGone(ctx context.Context, id string) error {
	_, err := q.db.Exec(ctx, q.store.text(sqlProcessGone), id)
	return err
}

func (q *queries) ProcessList(ctx context.Context) ([]*dataflow.Process, error) {
	rows, err := q.db.Query(ctx, q.store.text(sqlProcessList))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*dataflow.Process, error) {
		var p dataflow.Process
		var zones *string
		err := row.Scan(&p.ID, &p.CodeVersion, &p.Flows, &p.Queues, &zones, &p.StartedAt, &p.SeenAt, &p.Until)
		utc(&p.StartedAt, &p.SeenAt, &p.Until)
		if err == nil && zones != nil {
			err = json.Unmarshal([]byte(*zones), &p.ZoneData)
		}
		if err != nil {
			return nil, fmt.Errorf("read process %q: %w", p.ID, err)
		}
		return &p, nil
	})
}

// zoneJSON returns the column zone_data.
func zoneJSON(d *dataflow.ZoneData) (*string, error) {
	if d == nil {
		return nil, nil //nolint:nilnil // the column is null
	}
	data, err := json.Marshal(d)
	text := string(data)
	return &text, err
}
