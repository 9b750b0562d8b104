package dataflowpgx

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
)

const sqlAuditInsert = `
insert into {s}dataflow_audit (at, actor, action, flow_id, run_id, reason, before, after)
select {clock}, actor, action, flow_id, nullif(run_id, 0), reason, before::json, after::json
from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[]) e (actor, action, flow_id, run_id, reason, before, after)`

const sqlAuditPrunable = ` from {s}dataflow_audit where at < {now} - $1::bigint * interval '1 microsecond'`

const sqlAuditPruneCount = `select count(*)` + sqlAuditPrunable

// It skips as sqlTickPrune says.
const sqlAuditPrune = `
with old as materialized (select id` + sqlAuditPrunable + ` order by at limit $2 for update skip locked)
delete from {s}dataflow_audit where id in (select id from old)`

func (q *queries) AuditInsert(ctx context.Context, entries ...*dataflow.AuditEntry) error {
	var actors, actions, reasons []string
	var flows, runs []int64
	var before, after []*string
	for _, e := range entries {
		actors, actions, reasons = append(actors, e.Actor), append(actions, string(e.Action)), append(reasons, e.Reason)
		flows, runs = append(flows, e.FlowID), append(runs, e.RunID)
		before, after = append(before, nullJSON(e.Before)), append(after, nullJSON(e.After))
	}
	_, err := q.db.Exec(ctx, q.store.text(sqlAuditInsert), actors, actions, flows, runs, reasons, before, after)
	return err
}

func (q *queries) AuditList(ctx context.Context, p *dataflow.AuditListParams) ([]*dataflow.AuditEntry, error) {
	query, args := driverkit.AuditList(p, "$")
	rows, err := q.db.Query(ctx, q.store.text(query), args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*dataflow.AuditEntry, error) {
		var e dataflow.AuditEntry
		var before, after *string
		err := row.Scan(&e.ID, &e.At, &e.Actor, &e.Action, &e.FlowID, &e.FlowName, &e.RunID, &e.Reason, &before, &after)
		utc(&e.At)
		e.Before, e.After = rawJSON(before), rawJSON(after)
		return &e, err
	})
}

func (q *queries) AuditPrune(ctx context.Context, p *dataflow.PruneParams) (int64, error) {
	return q.prune(ctx, p, sqlAuditPruneCount, sqlAuditPrune, p.Age.Microseconds())
}
