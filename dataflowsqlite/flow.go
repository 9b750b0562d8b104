package dataflowsqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
)

func (q *queries) FlowUpsert(ctx context.Context, ds ...*dataflow.FlowDefinition) ([]*dataflow.FlowRecord, error) {
	recs := make([]*dataflow.FlowRecord, len(ds))
	order := make([]int, len(ds)) // new flows get ids in the order of their names, as on Postgres
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(ds[a].Name, ds[b].Name) })
	for _, i := range order {
		d := ds[i]
		_, err := q.db.ExecContext(ctx, q.store.text(sqlFlowUpsert),
			d.Name, string(d.Source), string(d.Sink), string(d.Runtime), string(d.Guarantee), d.CodeVersion, d.Hash,
			d.PauseAfter, probeText(d.ProbeAfter), nullJSON(d.MigratedFrom), d.Group)
		if err == nil {
			recs[i], err = q.FlowByName(ctx, d.Name)
		}
		if err != nil {
			return nil, err
		}
	}
	return recs, nil
}

func (q *queries) FlowsChanged(ctx context.Context, after int64) ([]*dataflow.FlowRecord, int64, error) {
	var until int64
	if err := q.db.QueryRowContext(ctx, sqlChangesUntil).Scan(&until); err != nil || after == 0 {
		return nil, until, err
	}
	recs, err := collect(ctx, q, scanFlow, sqlFlowsChanged, after)
	return recs, until, err
}

func (q *queries) FlowByID(ctx context.Context, id int64) (*dataflow.FlowRecord, error) {
	return scanFlow(q.db.QueryRowContext(ctx, q.store.text(sqlFlowByID), id))
}

func (q *queries) FlowByName(ctx context.Context, name string) (*dataflow.FlowRecord, error) {
	return scanFlow(q.db.QueryRowContext(ctx, q.store.text(sqlFlowByName), name))
}

func (q *queries) FlowsByName(ctx context.Context, names []string) ([]*dataflow.FlowRecord, error) {
	list, err := jsonArray(names)
	if err != nil {
		return nil, err
	}
	return collect(ctx, q, scanFlow, sqlFlowsByName, list)
}

func (q *queries) FlowList(ctx context.Context, p *dataflow.FlowListParams) ([]*dataflow.FlowRecord, error) {
	return collect(ctx, q, scanFlow, sqlFlowList, string(p.State), p.After, p.Limit, dueFor(p.Due, p.Overdue))
}

func (q *queries) FlowTrouble(ctx context.Context, p *dataflow.FlowListParams) ([]*dataflow.FlowRecord, error) {
	return collect(ctx, q, scanFlow, sqlFlowTrouble, string(p.State), p.After, p.Limit, secondsText(dataflow.LateAfter))
}

func (q *queries) FlowSetState(ctx context.Context, p *dataflow.FlowStateParams) (*dataflow.FlowRecord, error) {
	if err := q.one(ctx, sqlFlowSetState, p.ID, string(p.State), p.Actor, p.Reason); err != nil {
		return nil, err
	}
	return q.FlowByID(ctx, p.ID)
}

func (q *queries) FlowSetRuntime(ctx context.Context, p *dataflow.FlowRuntimeParams) (*dataflow.FlowRecord, error) {
	if err := q.one(ctx, sqlFlowSetRuntime, p.ID, string(p.Runtime), nullJSON(p.MigratedFrom)); err != nil {
		return nil, err
	}
	return q.FlowByID(ctx, p.ID)
}

// scanner is what *sql.Row and *sql.Rows have in common.
type scanner interface{ Scan(dest ...any) error }

// scanFlow reads flowColumns.
func scanFlow(row scanner) (*dataflow.FlowRecord, error) { return scanFlowAnd(row) }

// scanFlowAnd reads flowColumns, and into more the columns after them.
func scanFlowAnd(row scanner, more ...any) (*dataflow.FlowRecord, error) {
	var (
		f                               dataflow.FlowRecord
		source, sink, runtime, schedule string
		from                            *string
	)
	err := row.Scan(append([]any{
		&f.ID, &f.Name, &source, &sink, &runtime, &f.Guarantee,
		&f.State, &f.StateBy, &f.StateReason,
		nullTimeText{&f.StateAt},
		nullTimeText{&f.NextRunAt},
		nullTimeText{&f.LastRunAt},
		nullTimeText{&f.LastSuccessAt},
		&f.LastError, &f.Failures,
		&f.CodeVersion, &f.DefinitionHash,
		timeText{&f.CreatedAt},
		timeText{&f.UpdatedAt},
		&schedule,
		timeText{&f.ScheduleAt},
		nullTimeText{&f.TrippedAt},
		&f.TrippedReason,
		nullTimeText{&f.ProbeAt},
		&from, &f.NextRunLocal,
	}, more...)...)
	if err != nil {
		return nil, notFound(err)
	}
	f.Source, f.Sink, f.RuntimeJSON = json.RawMessage(source), json.RawMessage(sink), json.RawMessage(runtime)
	f.ScheduleJSON, f.MigratedFrom = json.RawMessage(schedule), rawJSON(from)
	return &f, nil
}

// collect reads and closes all rows of a query.
func collect[T any](ctx context.Context, q *queries, scan func(scanner) (T, error), template string, args ...any) ([]T, error) {
	rows, err := q.db.QueryContext(ctx, q.store.text(template), args...)
	if err != nil {
		return nil, err
	}
	return collected(rows, scan)
}

// collected reads all rows, and closes them.
func collected[T any](rows *sql.Rows, scan func(scanner) (T, error)) ([]T, error) {
	defer rows.Close() //nolint:errcheck // rows.Err tells what matters
	all := []T{}
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}
