package dataflowpgx

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
)

// Groups. Claims of a group exclude each other by a lock of the group's row, which sqlGroupLock
// takes. It is a statement of its own, sent before the claim, so that the claim sees what earlier
// ones have committed. Whatever ends a run needs no lock: it only makes room.
const sqlGroupLock = `
select from {s}dataflow_run r join {s}dataflow_flow f on f.id = r.flow_id join {s}dataflow_group g on g.name = f.group_name
where r.id = $1 for no key update of g`

// groupHasRoom says that there is a place for a run r of a flow f in its group. An older run has
// precedence if a process has wanted to work it lately, and could for everything but the group. If another run of
// its flow has begun since, the flow may have no place for it: then it must ask again. Runs of one flow have
// an order of their own.
const (
	groupHasRoom = `(f.group_name = '' or (select g.max_runs from {s}dataflow_group g where g.name = f.group_name) >
		(select count(*) from {s}dataflow_flow p join {s}dataflow_run o on o.flow_id = p.id
			where p.group_name = f.group_name and p.group_name <> '' and o.state = 'in_progress')
		+ (select count(*) from {s}dataflow_flow p join {s}dataflow_run o on o.flow_id = p.id
			where p.group_name = f.group_name and p.group_name <> '' and p.state = 'active' and p.id <> r.flow_id and ` + groupAsked + ` and (o.run_after, o.id) < (r.run_after, r.id)))`
	groupAsked = `o.state = 'pending' and o.run_after <= {now} and o.group_asked_at > {now} - interval '` + dataflow.GroupAskedText + `'
		and not exists (select from {s}dataflow_run b where b.flow_id = o.flow_id and b.state = 'in_progress' and b.started_at >= o.group_asked_at)`
)

// sqlGroupAsk notes that a run was not claimed for lack of a place in its group. One that has no slot, or
// waits for another run of its flow, takes no place from others: that run itself may be waiting for one.
//
//nolint:gochecknoglobals // a constant
var sqlGroupAsk = `
update {s}dataflow_run r
set group_asked_at = {clock}, waits_for = w.text, waits_since = case when r.waits_for = w.text then r.waits_since else {clock} end
from {s}dataflow_flow f join {s}dataflow_group g on g.name = f.group_name
	cross join lateral (select '` + dataflow.WaitsForGroup + `' || g.name || ', whose limit is ' || g.max_runs as text) w,
	(select $2::integer as slots, $3::integer as backfills) s
where r.id = $1 and r.state = 'pending' and r.run_after <= {now} and f.id = r.flow_id and f.state = 'active'
	and ` + slotsTaken + ` + ` + slotsLeft("$4") + ` < ` + slotLimit + `
	and ` + itsTurn

const sqlGroupSet = `
insert into {s}dataflow_group as g (name, max_runs, set_by, set_at) values ($1, $2, $3, {now})
on conflict (name) do update set max_runs = excluded.max_runs, set_by = excluded.set_by, set_at = excluded.set_at
where g.max_runs <> excluded.max_runs`

const sqlGroupList = `
select g.name, g.max_runs, g.set_by, g.set_at, (
	select count(*) from {s}dataflow_flow p join {s}dataflow_run o on o.flow_id = p.id
	where p.group_name = g.name and p.group_name <> '' and o.state = 'in_progress')
from {s}dataflow_group g order by g.name`

const sqlGroupNext = `
select o.id, o.flow_id, p.name, o.max_attempts, o.queue
from {s}dataflow_flow f join {s}dataflow_flow p on p.group_name = f.group_name join {s}dataflow_run o on o.flow_id = p.id
where f.id = $1 and p.group_name <> '' and p.state = 'active' and ` + groupAsked + `
order by o.run_after, o.id limit 1`

func (q *queries) GroupSet(ctx context.Context, name string, limit int, by string) error {
	_, err := q.db.Exec(ctx, q.store.text(sqlGroupSet), name, limit, by)
	return err
}

func (q *queries) GroupList(ctx context.Context) ([]*dataflow.FlowGroup, error) {
	rows, err := q.db.Query(ctx, q.store.text(sqlGroupList))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*dataflow.FlowGroup, error) {
		var g dataflow.FlowGroup
		err := row.Scan(&g.Name, &g.Limit, &g.SetBy, &g.SetAt, &g.InProgress)
		utc(&g.SetAt)
		return &g, err
	})
}

func (q *queries) GroupNext(ctx context.Context, flowID int64) (*dataflow.Run, error) {
	var r dataflow.Run
	err := q.db.QueryRow(ctx, q.store.text(sqlGroupNext), flowID).Scan(&r.ID, &r.FlowID, &r.FlowName, &r.MaxAttempts, &r.Queue)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // documented: there is none
	}
	return &r, err
}
