package dataflowpgx

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
)

func (q *queries) FlowUpsert(ctx context.Context, d *dataflow.FlowDefinition) (*dataflow.FlowRecord, error) {
	return scanFlow(q.db.QueryRow(ctx, q.store.text(sqlFlowUpsert),
		d.Name, string(d.Source), string(d.Sink), string(d.Runtime), string(d.Guarantee), d.CodeVersion, d.Hash,
		d.PauseAfter, d.ProbeAfter.Microseconds(), nullJSON(d.MigratedFrom)))
}

func (q *queries) FlowByID(ctx context.Context, id int64) (*dataflow.FlowRecord, error) {
	return scanFlow(q.db.QueryRow(ctx, q.store.text(sqlFlowByID), id))
}

func (q *queries) FlowByName(ctx context.Context, name string) (*dataflow.FlowRecord, error) {
	return scanFlow(q.db.QueryRow(ctx, q.store.text(sqlFlowByName), name))
}

func (q *queries) FlowsByName(ctx context.Context, names []string) ([]*dataflow.FlowRecord, error) {
	rows, err := q.db.Query(ctx, q.store.text(sqlFlowsByName), names)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*dataflow.FlowRecord, error) { return scanFlow(row) })
}

func (q *queries) FlowList(ctx context.Context, p *dataflow.FlowListParams) ([]*dataflow.FlowRecord, error) {
	rows, err := q.db.Query(ctx, q.store.text(sqlFlowList), string(p.State), p.After, p.Limit, dueFor(p.Due, p.Overdue))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*dataflow.FlowRecord, error) { return scanFlow(row) })
}

func (q *queries) FlowSetState(ctx context.Context, p *dataflow.FlowStateParams) (*dataflow.FlowRecord, error) {
	return scanFlow(q.db.QueryRow(ctx, q.store.text(sqlFlowSetState), p.ID, string(p.State), p.Actor, p.Reason))
}

func (q *queries) FlowSetRuntime(ctx context.Context, p *dataflow.FlowRuntimeParams) (*dataflow.FlowRecord, error) {
	return scanFlow(q.db.QueryRow(ctx, q.store.text(sqlFlowSetRuntime), p.ID, string(p.Runtime), nullJSON(p.MigratedFrom)))
}

// scanFlow reads flowColumns, and into more the columns after them.
func scanFlow(row pgx.Row, more ...any) (*dataflow.FlowRecord, error) {
	var (
		f                               dataflow.FlowRecord
		source, sink, runtime, schedule string
		guarantee, state                string
		from                            *string
	)
	err := row.Scan(append([]any{
		&f.ID, &f.Name, &source, &sink, &runtime, &guarantee,
		&state, &f.StateBy, &f.StateReason, &f.StateAt,
		&f.NextRunAt, &f.LastRunAt, &f.LastSuccessAt, &f.LastError, &f.Failures,
		&f.CodeVersion, &f.DefinitionHash, &f.CreatedAt, &f.UpdatedAt,
		&schedule, &f.ScheduleAt, &f.TrippedAt, &f.TrippedReason, &f.ProbeAt, &from, &f.NextRunLocal,
	}, more...)...)
	if err != nil {
		return nil, notFound(err)
	}
	utc(f.StateAt, f.NextRunAt, f.LastRunAt, f.LastSuccessAt, &f.CreatedAt, &f.UpdatedAt, &f.ScheduleAt, f.TrippedAt, f.ProbeAt)
	f.Source, f.Sink, f.RuntimeJSON = json.RawMessage(source), json.RawMessage(sink), json.RawMessage(runtime)
	f.ScheduleJSON, f.MigratedFrom = json.RawMessage(schedule), rawJSON(from)
	f.Guarantee, f.State = dataflow.Guarantee(guarantee), dataflow.FlowState(state)
	return &f, nil
}
