package dataflowsqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/activedataflow/dataflow"
)

// groupHasRoom says that there is a place for a run r of a flow f in its group. An older run has
// precedence if a process has wanted to work it lately, and could for everything but the group. If another run of
// its flow has begun since, the flow may have no place for it: then it must ask again. Runs of one flow have
// an order of their own.
const (
	groupHasRoom = `(f.group_name = '' or (select g.max_runs from dataflow_group g where g.name = f.group_name) >
		(select count(*) from dataflow_flow p join dataflow_run o indexed by dataflow_run_slot on o.flow_id = p.id
			where p.group_name = f.group_name and p.group_name <> '' and o.state = 'in_progress')
		+ (select count(*) from dataflow_flow p join dataflow_run o indexed by dataflow_run_waiting on o.flow_id = p.id
			where p.group_name = f.group_name and p.group_name <> '' and p.state = 'active' and p.id <> r.flow_id and ` + groupAsked + ` and (o.run_after, o.id) < (r.run_after, r.id)))`
	groupAsked = `o.state = 'pending' and o.run_after <= {now} and o.group_asked_at > strftime('%Y-%m-%d %H:%M:%f', {now}, '-` + dataflow.GroupAskedText + `')
		and not exists (select 1 from dataflow_run b indexed by dataflow_run_slot where b.flow_id = o.flow_id and b.state = 'in_progress' and b.started_at >= o.group_asked_at)`
)

// sqlGroupAsk notes that a run was not claimed for lack of a place in its group. One that has no slot, or
// waits for another run of its flow, takes no place from others: that run itself may be waiting for one.
const sqlGroupAsk = `
update dataflow_run as r
set group_asked_at = {now}, waits_for = w.text, waits_since = case when r.waits_for = w.text then r.waits_since else {now} end
from (select f.id, '` + dataflow.WaitsForGroup + `' || g.name || ', whose limit is ' || g.max_runs as text
		from dataflow_flow f join dataflow_group g on g.name = f.group_name where f.state = 'active') w,
	(select ?2 as slots, ?4 as backfills) s
where r.id = ?1 and r.state = 'pending' and r.run_after <= {now} and w.id = r.flow_id
	and ` + slotsTaken + ` + ` + slotsLeft + ` < ` + slotLimit + `
	and ` + itsTurn

const sqlGroupSet = `
insert into dataflow_group as g (name, max_runs, set_by, set_at) values (?1, ?2, ?3, {now})
on conflict (name) do update set max_runs = excluded.max_runs, set_by = excluded.set_by, set_at = excluded.set_at
where g.max_runs <> excluded.max_runs`

const sqlGroupList = `
select g.name, g.max_runs, g.set_by, g.set_at, (
	select count(*) from dataflow_flow p join dataflow_run o indexed by dataflow_run_slot on o.flow_id = p.id
	where p.group_name = g.name and p.group_name <> '' and o.state = 'in_progress')
from dataflow_group g order by g.name`

const sqlGroupNext = `
select o.id, o.flow_id, p.name, o.max_attempts, o.queue
from dataflow_flow f join dataflow_flow p on p.group_name = f.group_name join dataflow_run o indexed by dataflow_run_waiting on o.flow_id = p.id
where f.id = ?1 and p.group_name <> '' and p.state = 'active' and ` + groupAsked + `
order by o.run_after, o.id limit 1`

func (q *queries) GroupSet(ctx context.Context, name string, limit int, by string) error {
	_, err := q.db.ExecContext(ctx, q.store.text(sqlGroupSet), name, limit, by)
	return err
}

func (q *queries) GroupList(ctx context.Context) ([]*dataflow.FlowGroup, error) {
	return collect(ctx, q, func(row scanner) (*dataflow.FlowGroup, error) {
		var g dataflow.FlowGroup
		err := row.Scan(&g.Name, &g.Limit, &g.SetBy, timeText{&g.SetAt}, &g.InProgress)
		return &g, err
	}, sqlGroupList)
}

func (q *queries) GroupNext(ctx context.Context, flowID int64) (*dataflow.Run, error) {
	var r dataflow.Run
	err := q.db.QueryRowContext(ctx, q.store.text(sqlGroupNext), flowID).Scan(&r.ID, &r.FlowID, &r.FlowName, &r.MaxAttempts, &r.Queue)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // documented: there is none
	}
	return &r, err
}
