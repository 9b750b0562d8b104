package dataflowsqlite

import (
	"context"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
)

const sqlAuditInsert = `
insert into dataflow_audit (at, actor, action, flow_id, run_id, reason, before, after)
values ({now}, ?, ?, ?, nullif(?, 0), ?, ?, ?)`

const sqlAuditPrunable = ` from dataflow_audit where at < strftime('%Y-%m-%d %H:%M:%f', {now}, '-' || ?1 || ' seconds')`

const sqlAuditPruneCount = `select count(*)` + sqlAuditPrunable

const sqlAuditPrune = `delete from dataflow_audit where id in (select id` + sqlAuditPrunable + ` order by at limit ?2)`

func (q *queries) AuditInsert(ctx context.Context, entries ...*dataflow.AuditEntry) error {
	for _, e := range entries {
		if err := q.one(ctx, sqlAuditInsert, e.Actor, string(e.Action), e.FlowID, e.RunID, e.Reason, nullJSON(e.Before), nullJSON(e.After)); err != nil {
			return err
		}
	}
	return nil
}

func (q *queries) AuditList(ctx context.Context, p *dataflow.AuditListParams) ([]*dataflow.AuditEntry, error) {
	query, args := driverkit.AuditList(p, "?")
	return collect(ctx, q, func(row scanner) (*dataflow.AuditEntry, error) {
		var e dataflow.AuditEntry
		var before, after *string
		err := row.Scan(&e.ID, timeText{&e.At}, &e.Actor, &e.Action, &e.FlowID, &e.FlowName, &e.RunID, &e.Reason, &before, &after)
		e.Before, e.After = rawJSON(before), rawJSON(after)
		return &e, err
	}, query, args...)
}

func (q *queries) AuditPrune(ctx context.Context, p *dataflow.PruneParams) (int64, error) {
	return q.prune(ctx, p, sqlAuditPruneCount, sqlAuditPrune, secondsText(p.Age))
}
