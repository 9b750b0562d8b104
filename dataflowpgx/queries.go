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

const runColumns = `r.id, r.flow_id, f.name, r.state, r.trigger, r.scheduled_for, r.run_after, r.created_at,
	r.started_at, r.ended_at, r.attempt, r.max_attempts, r.worker, r.lease_no, r.lease_until,
	r.queue, coalesce(r.river_job_id, 0),
	r.read, r.written, r.redundant, r.filtered, r.dropped, r.dead_lettered,
	r.total, r.from_cursor::text, r.to_cursor::text, r.error, r.errors::text, r.actor, r.reason, r.code_version,
	r.rescues, r.cancel_requested_at, r.cancelled_by, r.cancel_reason, coalesce(r.slot, 0), r.updated,
	r.scope, r.params::text, r.until_cursor::text, r.waits_for, r.waits_since`

// An unchanged definition leaves updated_at as it is. The schedule is written by
// sqlFlowPlan.
const sqlFlowUpsert = `
insert into {s}dataflow_flow as f (name, source, sink, runtime, guarantee, code_version, definition_hash, pause_after, probe_after, runtime_from, schedule_at, created_at, updated_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, {now}, {now}, {now})
on conflict (name) do update set
	source = excluded.source, sink = excluded.sink, runtime = excluded.runtime, guarantee = excluded.guarantee,
	code_version = excluded.code_version, definition_hash = excluded.definition_hash,
	pause_after = excluded.pause_after, probe_after = excluded.probe_after, runtime_from = excluded.runtime_from,
	updated_at = case when f.definition_hash = excluded.definition_hash then f.updated_at else excluded.updated_at end
returning ` + flowColumns

const sqlFlowByID = `select ` + flowColumns + ` from {s}dataflow_flow f where f.id = $1`

const sqlFlowByName = `select ` + flowColumns + ` from {s}dataflow_flow f where f.name = $1`

const sqlFlowList = `
select ` + flowColumns + ` from {s}dataflow_flow f
where ($1 = '' or f.state = $1) and f.name > $2
	and ($4::bigint is null or f.state = 'active' and f.next_run_at <= {now} - $4::bigint * interval '1 microsecond')
order by f.name limit $3`

const sqlFlowSetState = `
update {s}dataflow_flow f
set state = $2, state_by = $3, state_reason = $4, state_at = {now}, updated_at = {now},
	failures = case when $2 = 'active' then 0 else f.failures end,
	tripped_at = case when $2 = 'active' then null else f.tripped_at end,
	tripped_reason = case when $2 = 'active' then '' else f.tripped_reason end,
	probe_at = case when $2 = 'active' then null else f.probe_at end
where f.id = $1
returning ` + flowColumns

const sqlFlowSetRuntime = `
update {s}dataflow_flow f set runtime = $2, runtime_from = $3, updated_at = {now} where f.id = $1
returning ` + flowColumns

// Adds no run to an inactive flow, to a flow with a waiting run of the same key, and to
// a flow with a run of the same tick.
//
// It looks for a run of the same tick before it inserts. The unique index alone would
// make the insert wait for a transaction that ends that run. That transaction may wait
// for the flow, and the transaction that fires the tick holds the flow's lock.
const sqlRunInsert = `
with r as (
	insert into {s}dataflow_run (flow_id, trigger, unique_key, scheduled_for, run_after, created_at, max_attempts, queue, river_job_id, actor, reason, scope, params, from_cursor, until_cursor)
	select id, $2, $3, coalesce($4, {now}), coalesce($4, {now}), {now}, $5, $6, $7, $8, $9, $10, $11::json, $12::json, $13::json
	from {s}dataflow_flow where id = $1 and state = 'active' and not exists (
		select from {s}dataflow_run t where t.flow_id = $1 and t.scheduled_for = $4 and t.trigger = 'schedule' and $2 = 'schedule')
	on conflict do nothing
	returning *
)
select ` + runColumns + ` from r join {s}dataflow_flow f on f.id = r.flow_id`

// The scope of a backfill is the id of its first run.
const sqlRunOwnScope = `update {s}dataflow_run set scope = id::text where id = $1 returning scope`

const sqlRunWaiting = `
select ` + runColumns + ` from {s}dataflow_run r join {s}dataflow_flow f on f.id = r.flow_id
where r.flow_id = $1 and r.unique_key = $2 and r.state = 'pending' and f.state = 'active'`

const sqlRunWaitingLike = `
select ` + runColumns + ` from {s}dataflow_run r join {s}dataflow_flow f on f.id = r.flow_id
where r.flow_id = $1 and r.state = 'pending' and starts_with(r.unique_key, $2)
order by r.id`

const sqlRunByTick = `
select ` + runColumns + ` from {s}dataflow_run r join {s}dataflow_flow f on f.id = r.flow_id
where r.flow_id = $1 and r.scheduled_for = $2 and r.trigger = 'schedule' and f.state = 'active'`

const sqlRunSetJob = `update {s}dataflow_run set river_job_id = $2, queue = $3 where id = $1`

// A run that waits for the same since earlier stays as it is.
const sqlRunWaits = `
update {s}dataflow_run
set waits_for = $4, waits_since = case when $4 = '' then null else {clock} - $5::bigint * interval '1 microsecond' end
where id = $1 and lease_no = $2 and state = $3 and waits_for <> $4`

const sqlRunByID = `
select ` + runColumns + ` from {s}dataflow_run r join {s}dataflow_flow f on f.id = r.flow_id where r.id = $1`

const sqlRunByJob = `
select ` + runColumns + ` from {s}dataflow_run r join {s}dataflow_flow f on f.id = r.flow_id
where r.river_job_id = $1 order by r.id desc limit 1`

// Each half uses a partial index. With one condition on the state, Postgres would read
// all the runs that the flow ever had.
const sqlRunLive = `
select ` + runColumns + ` from {s}dataflow_run r join {s}dataflow_flow f on f.id = r.flow_id
where r.id in (
	select id from {s}dataflow_run where flow_id = $1 and state = 'in_progress'
	union all
	select id from {s}dataflow_run where flow_id = $1 and state = 'pending')
order by r.id`

// A run can be claimed while slotsTaken < slotLimit. slotsTaken counts
//
//   - for one of the flow's own runs, the runs in the flow's own slots;
//   - for a backfill with slots of its own, the flow's backfills in progress;
//   - for a backfill without, all the flow's runs in progress.
//
// Backfill slots begin at dataflow.FirstBackfillSlot, 1000.
const (
	hasBackfillSlot = `(r.scope <> '' and s.backfills > 0)`
	slotLimit       = `case when ` + hasBackfillSlot + ` then s.backfills else s.slots end`
	slotsTaken      = `(select count(*) from {s}dataflow_run o where o.flow_id = r.flow_id and o.state = 'in_progress'
		and case when r.scope = '' then o.slot < 1000 when s.backfills > 0 then o.scope <> '' else true end)`
)

// Leaves out runs without a free slot, so that they do not use up the limit.
const sqlRunDue = `
select ` + runColumns + ` from {s}dataflow_run r join {s}dataflow_flow f on f.id = r.flow_id
where r.state = 'pending' and r.queue = '' and r.run_after <= {now}
	and f.state = 'active' and r.flow_id = any($1)
	and exists (select from unnest($1::bigint[], $2::integer[], $3::integer[]) as s (flow_id, slots, backfills)
		where s.flow_id = r.flow_id and ` + slotsTaken + `
			< ` + slotLimit + `)
order by r.run_after, r.id limit $4`

// A run that waits for a later time does not count, unless it has been claimed before.
const sqlRunActivity = `
select count(*) filter (where state = 'in_progress'),
	count(*) filter (where state = 'pending'),
	count(*) filter (where state = 'pending' and trigger = 'schedule' and lease_no = 0),
	count(*) filter (where scope <> '')
from {s}dataflow_run
where flow_id = $1 and (state = 'in_progress' or state = 'pending' and (run_after <= {now} or lease_no > 0))`

// The run is updated before the checkpoint; a claim locks them in the same order.
//
// Without a cursor the rescues are not reset: the next claim begins again at the same
// place, so there was no progress.
//
// The lease is renewed only when less than two thirds of it are left; sqlRunRenew mostly
// renews it earlier. The column lease_until is indexed, and an update of an indexed column
// writes to every index of the table.
const sqlRunProgress = `
update {s}dataflow_run
set read = read + $3, written = written + $4, redundant = redundant + $5, filtered = filtered + $6,
	dropped = dropped + $7, dead_lettered = dead_lettered + $8, updated = updated + $13,
	total = coalesce($9, total), from_cursor = coalesce(from_cursor, $10), to_cursor = coalesce($11, to_cursor),
	rescues = case when $11::json is null then rescues else 0 end,
	lease_until = case when lease_until < {clock} + $12::bigint * 2 / 3 * interval '1 microsecond'
		then {clock} + $12::bigint * interval '1 microsecond' else lease_until end
where id = $1 and lease_no = $2 and state = 'in_progress'
returning cancel_requested_at is not null`

const sqlCheckpointMove = `
update {s}dataflow_checkpoint
set cursor = coalesce($3, cursor), seq = seq + 1, updated_at = {now}, moved_at = {clock}, run_id = $12,
	read = read + $4, written = written + $5, redundant = redundant + $6, filtered = filtered + $7,
	dropped = dropped + $8, dead_lettered = dead_lettered + $9, updated = updated + $11
where flow_id = $1 and scope = $13 and partition = $10 and seq = $2`

// The two statements above as they are sent together with the commit. One that does not
// find its row fails, because fencedMark is no boolean, and so the commit is skipped.
const (
	fencedMark       = "dataflow: fenced"
	sqlProgressFence = "with r as (" + sqlRunProgress + " as cancel) select coalesce((select cancel::text from r), '" + fencedMark + "')::boolean"
	sqlMoveFence     = "with c as (" + sqlCheckpointMove + "\nreturning 1) select coalesce((select 'true' from c), '" + fencedMark + "')::boolean"
)

// Skips a run that another transaction has locked: that is its checkpoint, which renews
// the lease too. Waiting for it would delay the renewal of the other runs.
const sqlRunRenew = `
with claim as (
	select * from unnest($1::bigint[], $2::bigint[]) as c (id, lease_no)
), free as (
	select r.id from {s}dataflow_run r join claim c on c.id = r.id and c.lease_no = r.lease_no
	where r.state = 'in_progress'
	for update of r skip locked
), renewed as (
	update {s}dataflow_run r set lease_until = {clock} + $3::bigint * interval '1 microsecond'
	from free where r.id = free.id
)
select c.id, coalesce(r.lease_no = c.lease_no and r.state = 'in_progress', false), r.cancel_requested_at is not null
from claim c left join {s}dataflow_run r on r.id = c.id`

const sqlRunHeld = `
update {s}dataflow_run r set lease_until = {clock} + $3::bigint * interval '1 microsecond'
from {s}dataflow_flow f
where r.id = $1 and r.lease_no = $2 and r.state = 'in_progress' and f.id = r.flow_id
returning ` + runColumns

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

const sqlRunLapsed = `
select ` + runColumns + ` from {s}dataflow_run r join {s}dataflow_flow f on f.id = r.flow_id
where r.state = 'in_progress' and r.lease_until < {now}
order by r.lease_until limit 1
for update of r skip locked`

// If a process dies after it fetched a job and before it claimed the run, River notices
// only after an hour. River's rows have the real clock, so they are compared with now().
const sqlRunStranded = `
select ` + runColumns + ` from {s}dataflow_run r join {s}dataflow_flow f on f.id = r.flow_id
	left join {s}river_job j on j.id = r.river_job_id
where r.state = 'pending' and r.queue <> '' and r.run_after < {now} - $2::bigint * interval '1 microsecond'
	and f.state = 'active' and r.flow_id = any($1)
	and (j.id is null or j.state in ('completed', 'discarded', 'cancelled')
		or r.queue <> coalesce(f.runtime ->> 'queue', case when f.runtime ->> 'type' = any($3) then '' else r.queue end)
		or j.state = 'running' and j.attempted_at < now() - $2::bigint * interval '1 microsecond')
order by r.run_after limit 1
for update of r skip locked`

// Keeps the time, actor and reason of the first request.
const sqlRunCancel = `
update {s}dataflow_run r
set state = case when r.state = 'pending' then 'cancelled' else r.state end,
	ended_at = case when r.state = 'pending' then {clock} else null end,
	waits_for = case when r.state = 'pending' then '' else r.waits_for end,
	waits_since = case when r.state = 'pending' then null else r.waits_since end,
	cancel_requested_at = coalesce(r.cancel_requested_at, {clock}),
	cancelled_by = case when r.cancel_requested_at is null then $2 else r.cancelled_by end,
	cancel_reason = case when r.cancel_requested_at is null then $3 else r.cancel_reason end
from {s}dataflow_flow f
where r.id = $1 and (r.state = 'pending' or r.state = 'in_progress' and not $4) and f.id = r.flow_id
returning ` + runColumns
