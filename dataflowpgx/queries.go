package dataflowpgx

// The statements. They have three placeholders:
//
//   - {s} is the schema.
//   - {now} is the time at which the transaction began. It is constant during a
//     statement, so an index can be searched with it.
//   - {clock} is this very moment. With it, the times of two runs of a flow never overlap.

const flowColumns = `f.id, f.name, f.source::text, f.sink::text, f.runtime::text, f.guarantee,
	f.state, f.state_by, f.state_reason, f.state_at,
	f.next_run_at, f.last_run_at, f.last_success_at, f.last_error, f.failures,
	f.code_version, f.definition_hash, f.created_at, f.updated_at,
	f.schedule::text, f.schedule_at, f.tripped_at, f.tripped_reason, f.probe_at, f.runtime_from::text, f.next_run_local`

// thisChange is a place in the order of changes. Transactions commit in another order, so a
// search goes on at the oldest one that was in progress.
const thisChange = `pg_current_xact_id()::text::bigint`

const sqlChangesUntil = `select pg_snapshot_xmin(pg_current_snapshot())::text::bigint`

const sqlFlowsChanged = `select ` + flowColumns + ` from {s}dataflow_flow f where f.changed >= $1`

// An unchanged definition leaves updated_at as it is. The schedule is written by
// sqlFlowPlan. New flows are added in the order of their names, in which another process adds
// them too.
const sqlFlowUpsert = `
insert into {s}dataflow_flow as f (name, source, sink, runtime, guarantee, code_version, definition_hash, pause_after, probe_after, runtime_from, group_name, schedule_at, created_at, updated_at, changed)
select name, source::jsonb, sink::jsonb, runtime::jsonb, guarantee, code_version, hash, pause_after, probe_after, runtime_from::jsonb, group_name, {now}, {now}, {now}, ` + thisChange + `
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::integer[], $9::bigint[], $10::text[], $11::text[])
	as d (name, source, sink, runtime, guarantee, code_version, hash, pause_after, probe_after, runtime_from, group_name) order by name
on conflict (name) do update set changed = excluded.changed,
	source = excluded.source, sink = excluded.sink, runtime = excluded.runtime, guarantee = excluded.guarantee,
	code_version = excluded.code_version, definition_hash = excluded.definition_hash,
	pause_after = excluded.pause_after, probe_after = excluded.probe_after, runtime_from = excluded.runtime_from, group_name = excluded.group_name,
	updated_at = case when f.definition_hash = excluded.definition_hash then f.updated_at else excluded.updated_at end
returning ` + flowColumns

const sqlFlowByID = `select ` + flowColumns + ` from {s}dataflow_flow f where f.id = $1`

const sqlFlowByName = `select ` + flowColumns + ` from {s}dataflow_flow f where f.name = $1`

// The planner spends long on a list of many names, but not on a join. See sqlClaim about any(array[...]).
const sqlFlowsByName = `select ` + flowColumns + ` from unnest($1::text[]) as n (name) join {s}dataflow_flow f on f.name = any(array[n.name collate "C"])`

const sqlFlowList = `
select ` + flowColumns + ` from {s}dataflow_flow f
where ($1 = '' or f.state = $1) and f.name > $2
	and ($4::bigint is null or f.state = 'active' and f.next_run_at <= {now} - $4::bigint * interval '1 microsecond')
order by f.name limit $3`

// Each part reads the beginning of an index. The second one has few rows, unless no process works.
const sqlFlowTrouble = `
select ` + flowColumns + ` from {s}dataflow_flow f join (
	(select name from {s}dataflow_flow where (failures > 0 or tripped_at is not null or last_error <> '') and ($1 = '' or state = $1) and name > $2 order by name limit $3)
	union
	(select name from {s}dataflow_flow where state = 'active' and $1 in ('', 'active') and next_run_at <= {now} - $4::bigint * interval '1 microsecond'
		and name > $2 order by name limit $3)
) t on t.name = f.name
order by f.name limit $3`

const sqlFlowSetState = `
update {s}dataflow_flow f
set state = $2, state_by = $3, state_reason = $4, state_at = {now}, updated_at = {now}, changed = ` + thisChange + `,
	failures = case when $2 = 'active' then 0 else f.failures end,
	tripped_at = case when $2 = 'active' then null else f.tripped_at end,
	tripped_reason = case when $2 = 'active' then '' else f.tripped_reason end,
	probe_at = case when $2 = 'active' then null else f.probe_at end
where f.id = $1
returning ` + flowColumns

const sqlFlowSetRuntime = `
update {s}dataflow_flow f set runtime = $2, runtime_from = $3, updated_at = {now}, changed = ` + thisChange + ` where f.id = $1
returning ` + flowColumns

const sqlFlowsCrowded = `
select r.flow_id from (
	select flow_id from {s}dataflow_run where state = 'in_progress' and scope = ''
	union all
	select flow_id from {s}dataflow_run where state = 'pending' and scope = '' and (run_after <= {now} or lease_no > 0)) r
	join {s}dataflow_flow f on f.id = r.flow_id
where f.schedule ->> 'overlap' = 'cancel_other'
group by r.flow_id having count(*) > 1 order by r.flow_id`

const sqlCheckpointRead = `
select c.seq, c.cursor::text, c.set_seq from {s}dataflow_checkpoint c
where c.flow_id = $1 and c.scope = $2 and c.partition = $3`

// A flow without a claim so far has no checkpoint.
const sqlCursorGet = `
select f.id, f.name, coalesce(c.seq, 0), c.cursor::text, c.moved_at, coalesce(c.run_id, 0)
from {s}dataflow_flow f left join {s}dataflow_checkpoint c on c.flow_id = f.id and c.scope = '' and c.partition = ''
where f.id = $1`

const sqlCursorMake = `
insert into {s}dataflow_checkpoint (flow_id, updated_at) select id, {now} from {s}dataflow_flow where id = $1 on conflict do nothing`

const sqlCursorLock = `
select f.id, f.name, c.seq, c.cursor::text, c.moved_at, coalesce(c.run_id, 0)
from {s}dataflow_flow f join {s}dataflow_checkpoint c on c.flow_id = f.id and c.scope = '' and c.partition = ''
where f.id = $1 for update of c`

const sqlCursorSet = `
update {s}dataflow_checkpoint
set cursor = $3, seq = seq + 1, set_seq = seq + 1, run_id = null, moved_at = {clock}, updated_at = {now}
where flow_id = $1 and scope = '' and partition = '' and seq = $2`

const sqlCursorChangeInsert = `
insert into {s}dataflow_cursor_change (flow_id, from_cursor, to_cursor, seq, actor, reason, created_at)
values ($1, $2, $3, $4, $5, $6, {clock})`

const sqlCursorHistory = `
select h.id, h.flow_id, f.name, h.from_cursor::text, h.to_cursor::text, h.seq, h.actor, h.reason, h.created_at
from {s}dataflow_cursor_change h join {s}dataflow_flow f on f.id = h.flow_id
where h.flow_id = $1 and ($2 = 0 or h.id < $2)
order by h.id desc limit $3`
