package dataflowsqlite

// The statements. {now} stands for the database's clock. An update in SQLite returns
// columns of its own table only, so a second statement reads the row with its join.

// Changes nothing, but takes the write lock. So a transaction waits for the lock at its
// beginning; later, after it has read, SQLite would return an error instead of waiting.
const sqlWriteLock = `update dataflow_migration set version = version where false`

const flowColumns = `f.id, f.name, f.source, f.sink, f.runtime, f.guarantee,
	f.state, f.state_by, f.state_reason, f.state_at,
	f.next_run_at, f.last_run_at, f.last_success_at, f.last_error, f.failures,
	f.code_version, f.definition_hash, f.created_at, f.updated_at,
	f.schedule, f.schedule_at, f.tripped_at, f.tripped_reason, f.probe_at, f.runtime_from, f.next_run_local`

// thisChange is a place in the order of changes. SQLite has one writer at a time.
const thisChange = `(select coalesce(max(changed), 0) + 1 from dataflow_flow)`

const sqlChangesUntil = `select coalesce(max(changed), 0) + 1 from dataflow_flow`

const sqlFlowsChanged = `select ` + flowColumns + ` from dataflow_flow f where f.changed >= ?1`

// An unchanged definition leaves updated_at as it is. The schedule is written by
// sqlFlowPlan.
const sqlFlowUpsert = `
insert into dataflow_flow as f (name, source, sink, runtime, guarantee, code_version, definition_hash, pause_after, probe_after, runtime_from, group_name, schedule_at, created_at, updated_at, changed)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {now}, {now}, {now}, ` + thisChange + `)
on conflict (name) do update set changed = excluded.changed,
	source = excluded.source, sink = excluded.sink, runtime = excluded.runtime, guarantee = excluded.guarantee,
	code_version = excluded.code_version, definition_hash = excluded.definition_hash,
	pause_after = excluded.pause_after, probe_after = excluded.probe_after, runtime_from = excluded.runtime_from, group_name = excluded.group_name,
	updated_at = case when f.definition_hash = excluded.definition_hash then f.updated_at else excluded.updated_at end`

const sqlFlowByID = `select ` + flowColumns + ` from dataflow_flow f where f.id = ?`

const sqlFlowByName = `select ` + flowColumns + ` from dataflow_flow f where f.name = ?`

const sqlFlowsByName = `select ` + flowColumns + ` from dataflow_flow f where f.name in (select value from json_each(?1))`

const sqlFlowList = `
select ` + flowColumns + ` from dataflow_flow f
where (?1 = '' or f.state = ?1) and f.name > ?2
	and (?4 is null or f.state = 'active' and f.next_run_at <= strftime('%Y-%m-%d %H:%M:%f', {now}, '-' || ?4 || ' seconds'))
order by f.name limit ?3`

const sqlFlowTrouble = `
select ` + flowColumns + ` from dataflow_flow f where f.name in (
	select name from (select name from dataflow_flow where (failures > 0 or tripped_at is not null or last_error <> '') and (?1 = '' or state = ?1) and name > ?2 order by name limit ?3)
	union
	select name from (select name from dataflow_flow where state = 'active' and ?1 in ('', 'active')
		and next_run_at <= strftime('%Y-%m-%d %H:%M:%f', {now}, '-' || ?4 || ' seconds') and name > ?2 order by name limit ?3))
order by f.name limit ?3`

const sqlFlowSetState = `
update dataflow_flow
set state = ?2, state_by = ?3, state_reason = ?4, state_at = {now}, updated_at = {now}, changed = ` + thisChange + `,
	failures = case when ?2 = 'active' then 0 else failures end,
	tripped_at = case when ?2 = 'active' then null else tripped_at end,
	tripped_reason = case when ?2 = 'active' then '' else tripped_reason end,
	probe_at = case when ?2 = 'active' then null else probe_at end
where id = ?1`

const sqlFlowSetRuntime = `update dataflow_flow set runtime = ?2, runtime_from = ?3, updated_at = {now}, changed = ` + thisChange + ` where id = ?1`

const sqlFlowsCrowded = `
select r.flow_id from (
	select flow_id from dataflow_run indexed by dataflow_run_slot where state = 'in_progress' and scope = ''
	union all
	select flow_id from dataflow_run indexed by dataflow_run_due where state = 'pending' and scope = '' and (run_after <= {now} or lease_no > 0)) r
	join dataflow_flow f on f.id = r.flow_id
where f.schedule ->> 'overlap' = 'cancel_other'
group by r.flow_id having count(*) > 1 order by r.flow_id`

const sqlCheckpointRead = `
select c.seq, c.cursor, c.set_seq from dataflow_checkpoint c
where c.flow_id = ? and c.scope = ? and c.partition = ?`

// A flow without a claim so far has no checkpoint.
const sqlCursorGet = `
select f.id, f.name, coalesce(c.seq, 0), c.cursor, c.moved_at, coalesce(c.run_id, 0)
from dataflow_flow f left join dataflow_checkpoint c on c.flow_id = f.id and c.scope = '' and c.partition = ''
where f.id = ?`

const sqlCursorMake = `
insert into dataflow_checkpoint (flow_id, updated_at) select id, {now} from dataflow_flow where id = ? on conflict do nothing`

const sqlCursorSet = `
update dataflow_checkpoint
set cursor = ?3, seq = seq + 1, set_seq = seq + 1, run_id = null, moved_at = {now}, updated_at = {now}
where flow_id = ?1 and scope = '' and partition = '' and seq = ?2`

const sqlCursorChangeInsert = `
insert into dataflow_cursor_change (flow_id, from_cursor, to_cursor, seq, actor, reason, created_at)
values (?, ?, ?, ?, ?, ?, {now})`

const sqlCursorHistory = `
select h.id, h.flow_id, f.name, h.from_cursor, h.to_cursor, h.seq, h.actor, h.reason, h.created_at
from dataflow_cursor_change h join dataflow_flow f on f.id = h.flow_id
where h.flow_id = ?1 and (?2 = 0 or h.id < ?2)
order by h.id desc limit ?3`
