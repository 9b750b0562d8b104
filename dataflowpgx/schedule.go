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

func (q *queries) Now(ctx context.Context) (time.Time, error) {
	var now time.Time
	err := q.db.QueryRow(ctx, q.store.text(sqlNow)).Scan(&now)
	return now.UTC(), err
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
	recs, err := byIndexes(ctx, q, template, []any{ids}, func(row pgx.CollectableRow) (*dataflow.FlowRecord, error) { return scanFlow(row, &now) })
	return recs, now.UTC(), err
}

func (q *queries) FlowsDue(ctx context.Context, p *dataflow.FlowsDueParams) ([]dataflow.Due, time.Time, error) {
	text, args := sqlFlowsDue, []any{p.After.At, p.After.ID, p.Limit}
	if p.FlowIDs != nil {
		text, args = sqlFlowsDueOf, append(args, p.FlowIDs)
	}
	type found struct {
		now time.Time
		at  *time.Time
		id  *int64
	}
	rows, err := byIndexes(ctx, q, text, args, func(row pgx.CollectableRow) (f found, err error) {
		err = row.Scan(&f.now, &f.at, &f.id)
		return f, err
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	var now time.Time
	var all []dataflow.Due
	for _, f := range rows {
		if now = f.now; f.id != nil {
			all = append(all, dataflow.Due{At: f.at.UTC(), ID: *f.id})
		}
	}
	return all, now.UTC(), nil
}

func (q *queries) FlowNext(ctx context.Context, flowIDs []int64, after time.Time) (time.Duration, bool, error) {
	text, args := sqlFlowNext, []any{after}
	if flowIDs != nil {
		text, args = sqlFlowNextOf, append(args, flowIDs)
	}
	seconds, err := byIndexes(ctx, q, text, args, pgx.RowTo[*float64])
	if err != nil || len(seconds) == 0 || seconds[0] == nil {
		return 0, false, err
	}
	return time.Duration(*seconds[0] * float64(time.Second)), true, nil
}

func (q *queries) FlowPlan(ctx context.Context, ps ...*dataflow.FlowPlanParams) error {
	n := len(ps)
	ids, next, probe, schedules, changed, local := make([]int64, n), make([]*time.Time, n), make([]*time.Time, n), make([]*string, n), make([]*time.Time, n), make([]string, n)
	for i, p := range ps {
		ids[i], next[i], probe[i], schedules[i], changed[i], local[i] = p.ID, p.NextRunAt, p.ProbeAt, nullJSON(p.Schedule), p.ScheduleAt, p.NextRunLocal
	}
	tag, err := q.db.Exec(ctx, q.store.text(sqlFlowPlan), ids, next, probe, schedules, changed, local)
	if err == nil && tag.RowsAffected() != int64(n) {
		err = dataflow.ErrNotFound
	}
	return err
}

func (q *queries) TickSkip(ctx context.Context, ps ...*dataflow.TickSkipParams) error {
	for len(ps) > 0 {
		var flows, counts []int64
		var first, last []time.Time
		var reasons []string
		var later []*dataflow.TickSkipParams
		seen := make(map[int64]bool)
		for _, p := range ps {
			if seen[p.FlowID] { // it comes after the flow's earlier ticks
				later = append(later, p)
				continue
			}
			seen[p.FlowID] = true
			flows, first, last, counts, reasons = append(flows, p.FlowID), append(first, p.First), append(last, p.Last), append(counts, p.Count), append(reasons, string(p.Reason))
		}
		if _, err := q.db.Exec(ctx, q.store.text(sqlTickSkip), flows, first, last, counts, reasons); err != nil {
			return err
		}
		ps = later
	}
	return nil
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

func (q *queries) RunActivity(ctx context.Context, flowIDs []int64) (map[int64]*dataflow.Activity, error) {
	all := make(map[int64]*dataflow.Activity)
	_, err := byIndexes(ctx, q, sqlRunActivity, []any{flowIDs}, func(row pgx.CollectableRow) (id int64, err error) {
		a := &dataflow.Activity{}
		err = row.Scan(&id, &a.InProgress, &a.Waiting, &a.WaitingTicks, &a.Backfills)
		all[id] = a
		return id, err
	})
	return all, err
}

func (q *queries) FlowStats(ctx context.Context, flowIDs []int64) ([]*dataflow.FlowStats, error) {
	return byIndexes(ctx, q, sqlFlowStats, []any{flowIDs, driverkit.DeadLettersCounted}, func(row pgx.CollectableRow) (*dataflow.FlowStats, error) {
		var s dataflow.FlowStats
		var state string
		var cursor *string
		err := row.Scan(&s.FlowID, &s.Flow, &s.At, &state, &s.TrippedAt, &s.Failures, &s.LastSuccessAt, &s.InProgress, &s.Due, &s.DueSince, &s.DeadLetters, &cursor, &s.CursorAt)
		utc(&s.At, s.TrippedAt, s.LastSuccessAt, s.DueSince, s.CursorAt)
		s.State, s.Cursor = dataflow.FlowState(state), rawJSON(cursor)
		return &s, err
	})
}

func (q *queries) FlowsCrowded(ctx context.Context) ([]int64, error) {
	rows, err := q.db.Query(ctx, q.store.text(sqlFlowsCrowded))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

func (q *queries) ProcessAlive(ctx context.Context, id string, ttl time.Duration) (bool, error) {
	tag, err := q.db.Exec(ctx, q.store.text(sqlProcessAlive), id, ttl.Microseconds())
	return err == nil && tag.RowsAffected() == 1, err
}

func (q *queries) ProcessSeen(ctx context.Context, p *dataflow.Process, ttl time.Duration) error {
	zones, err := zoneJSON(p.ZoneData)
	if err != nil {
		return err
	}
	var b pgx.Batch
	b.Queue(q.store.text(sqlProcessSeen), p.ID, p.CodeVersion, append([]string{}, p.Flows...), p.Queues, ttl.Microseconds(), zones, p.Polls)
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
		err := row.Scan(&p.ID, &p.CodeVersion, &p.Flows, &p.Queues, &zones, &p.Polls, &p.StartedAt, &p.SeenAt, &p.Until)
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
