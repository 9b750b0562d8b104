package dataflowpgx

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
)

func (q *queries) FlowUpsert(ctx context.Context, ds ...*dataflow.FlowDefinition) ([]*dataflow.FlowRecord, error) {
	n := len(ds)
	var texts [9][]*string
	for c := range texts {
		texts[c] = make([]*string, n)
	}
	pauses, probes := make([]int, n), make([]int64, n)
	for i, d := range ds {
		source, sink, runtime, guarantee := string(d.Source), string(d.Sink), string(d.Runtime), string(d.Guarantee)
		for c, text := range []*string{&d.Name, &source, &sink, &runtime, &guarantee, &d.CodeVersion, &d.Hash, nullJSON(d.MigratedFrom), &d.Group} {
			texts[c][i] = text
		}
		pauses[i], probes[i] = d.PauseAfter, d.ProbeAfter.Microseconds()
	}
	recs, err := q.flows(ctx, sqlFlowUpsert, texts[0], texts[1], texts[2], texts[3], texts[4], texts[5], texts[6], pauses, probes, texts[7], texts[8])
	if err != nil {
		return nil, err
	}
	byName := make(map[string]*dataflow.FlowRecord, n)
	for _, rec := range recs {
		byName[rec.Name] = rec
	}
	for i, d := range ds {
		recs[i] = byName[d.Name]
	}
	return recs, nil
}

func (q *queries) FlowsChanged(ctx context.Context, after int64) ([]*dataflow.FlowRecord, int64, error) {
	var until int64 // read first, so that no change falls between the two statements
	if err := q.db.QueryRow(ctx, sqlChangesUntil).Scan(&until); err != nil || after == 0 {
		return nil, until, err
	}
	if until < after { // another server, with the rows of the first, counts anew
		after = 0
	}
	recs, err := q.flows(ctx, sqlFlowsChanged, after)
	return recs, until, err
}

func (q *queries) flows(ctx context.Context, template string, args ...any) ([]*dataflow.FlowRecord, error) {
	rows, err := q.db.Query(ctx, q.store.text(template), args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*dataflow.FlowRecord, error) { return scanFlow(row) })
}

func (q *queries) FlowByID(ctx context.Context, id int64) (*dataflow.FlowRecord, error) {
	return scanFlow(q.db.QueryRow(ctx, q.store.text(sqlFlowByID), id))
}

func (q *queries) FlowByName(ctx context.Context, name string) (*dataflow.FlowRecord, error) {
	return scanFlow(q.db.QueryRow(ctx, q.store.text(sqlFlowByName), name))
}

func (q *queries) FlowsByName(ctx context.Context, names []string) ([]*dataflow.FlowRecord, error) {
	return byIndexes(ctx, q, sqlFlowsByName, []any{names}, func(row pgx.CollectableRow) (*dataflow.FlowRecord, error) { return scanFlow(row) })
}

func (q *queries) FlowList(ctx context.Context, p *dataflow.FlowListParams) ([]*dataflow.FlowRecord, error) {
	return q.flows(ctx, sqlFlowList, string(p.State), p.After, p.Limit, dueFor(p.Due, p.Overdue))
}

func (q *queries) FlowTrouble(ctx context.Context, p *dataflow.FlowListParams) ([]*dataflow.FlowRecord, error) {
	return q.flows(ctx, sqlFlowTrouble, string(p.State), p.After, p.Limit, dataflow.LateAfter.Microseconds())
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
