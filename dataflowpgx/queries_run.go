package dataflowpgx

const runColumns = `r.id, r.flow_id, f.name, r.state, r.trigger, r.scheduled_for, r.run_after, r.created_at,
	r.started_at, r.ended_at, r.attempt, r.max_attempts, r.worker, r.lease_no, r.lease_until,
	r.queue, coalesce(r.river_job_id, 0),
	r.read, r.written, r.redundant, r.filtered, r.dropped, r.dead_lettered,
	r.total, r.from_cursor::text, r.to_cursor::text, r.error, r.errors::text, r.actor, r.reason, r.code_version,
	r.rescues, r.cancel_requested_at, r.cancelled_by, r.cancel_reason, coalesce(r.slot, 0), r.updated, r.read_again,
	r.scope, r.params::text, r.until_cursor::text, r.waits_for, r.waits_since, r.trace_parent`

const summaryColumns = `r.id, r.flow_id, r.state, r.trigger, r.created_at, r.started_at, r.ended_at, r.read, r.written`

// Adds no run to an inactive flow or one with another Runtime, to a flow with a waiting run of
// the same key, and to a flow with a run of the same tick. It returns only what the driver does
// not know of the run, because reading all of its columns takes as long as adding it.
//
// It looks for a run of the same tick before it inserts. The unique index alone would
// make the insert wait for a transaction that ends that run. That transaction may wait
// for the flow, and the transaction that fires the tick holds the flow's lock.
const sqlRunInsert = `
insert into {s}dataflow_run (` + runInserted + `)
select id, $2, $3, coalesce($4, {now}), coalesce($4, {now}), {now}, $5, $6,
	case when $14 then ` + reservedJob + ` else $7 end, $14, $8, $9, $10, $11::json, $12::json, $13::json, $17
from {s}dataflow_flow where id = $1 and state = 'active' and ($15::jsonb is null or runtime = $15::jsonb) and not exists (
	select from {s}dataflow_run t where t.flow_id = $1 and t.scheduled_for = $4 and t.trigger = 'schedule' and $2 = 'schedule')
on conflict do nothing
returning ` + insertedColumns + `,
	case when not $16 then ` + wakeOthers + ` end`

const (
	runInserted = `flow_id, trigger, unique_key, scheduled_for, run_after, created_at, max_attempts, queue, river_job_id, named_in_job, actor, reason, scope, params, from_cursor, until_cursor, trace_parent`
	reservedJob = `nextval('{s}river_job_id_seq'::regclass)`
	// Postgres tells the listeners when the transaction is committed. See listen.go.
	wakeOthers      = `case when queue = '' and run_after <= {now} then pg_notify('` + wakeChannel + `', tableoid::text || ' ' || flow_id)::text end`
	insertedColumns = `id, (select f.name from {s}dataflow_flow f where f.id = flow_id), scheduled_for, created_at, coalesce(river_job_id, 0)`
)

// sqlRunInsert for many runs. The order of the rows is the same in all transactions, so that
// two of them do not wait for each other. The limits make the planner look for each flow and tick by its key.
const sqlRunInsertMany = `
insert into {s}dataflow_run (` + runInserted + `)
select f.id, i.trigger, i.unique_key, coalesce(i.at, {now}), coalesce(i.at, {now}), {now}, i.max_attempts, i.queue,
	case when i.reserve then ` + reservedJob + ` else i.job end, i.reserve, i.actor, i.reason, i.scope, i.params::json, i.from_cursor::json, i.until_cursor::json, i.trace_parent
from ` + runItems + ` cross join lateral (
	select f.id from {s}dataflow_flow f where f.id = i.flow_id and f.state = 'active' and (i.runtime is null or f.runtime = i.runtime) limit 1) f
where (i.trigger = 'schedule' and (
	select true from {s}dataflow_run t where t.flow_id = i.flow_id and t.scheduled_for = i.at and t.trigger = 'schedule' limit 1)) is not true
order by f.id, i.unique_key
on conflict do nothing
returning ` + insertedColumns + `, case when not $17 then ` + wakeOthers + ` end, flow_id, unique_key`

const runItems = `unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::integer[], $6::text[], $7::bigint[], $8::text[], $9::text[],
	$10::text[], $11::text[], $12::text[], $13::text[], $14::boolean[], $15::jsonb[], $16::text[])
	as i (flow_id, trigger, unique_key, at, max_attempts, queue, job, actor, reason, scope, params, from_cursor, until_cursor, reserve, runtime, trace_parent)`

// sqlRunWaiting for many runs. The limits make the planner look for each by its key.
const sqlRunWaitingMany = `
select ` + runColumns + `, r.unique_key
from unnest($1::bigint[], $2::text[], $3::jsonb[]) as i (flow_id, unique_key, runtime)
	cross join lateral (select * from {s}dataflow_run where flow_id = i.flow_id and unique_key = i.unique_key and state = 'pending' limit 1) r
	cross join lateral (select f.name from {s}dataflow_flow f where f.id = r.flow_id and f.state = 'active' and (i.runtime is null or f.runtime = i.runtime) limit 1) f`

// The scope of a backfill is the id of its first run.
const sqlRunOwnScope = `update {s}dataflow_run set scope = id::text where id = $1 returning scope`

const sqlRunWaiting = `
select ` + runColumns + ` from {s}dataflow_run r join {s}dataflow_flow f on f.id = r.flow_id
where r.flow_id = $1 and r.unique_key = $2 and r.state = 'pending' and f.state = 'active' and ($3::jsonb is null or f.runtime = $3::jsonb)`

const sqlRunWaitingLike = `
select ` + runColumns + ` from (select * from {s}dataflow_run where flow_id = $1 and state = 'pending' order by scheduled_for, id) r
	join {s}dataflow_flow f on f.id = r.flow_id
where starts_with(r.unique_key, $2)
order by r.id`

const sqlRunByTick = `
select ` + runColumns + ` from {s}dataflow_run r join {s}dataflow_flow f on f.id = r.flow_id
where r.flow_id = $1 and r.scheduled_for = $2 and r.trigger = 'schedule' and f.state = 'active'`

const sqlRunSetJob = `update {s}dataflow_run set river_job_id = $2, queue = $3 where id = $1`

// A run that waits for the same since earlier stays as it is.
const sqlRunWaits = `
update {s}dataflow_run
set waits_for = $4, waits_since = case when $4 = '' then null else {clock} - $5::bigint * interval '1 microsecond' end,
	rescues = case when $6 then 0 else rescues end
where id = $1 and lease_no = $2 and state = $3 and waits_for <> $4`

const sqlRunByID = `
select ` + runColumns + ` from {s}dataflow_run r join {s}dataflow_flow f on f.id = r.flow_id where r.id = $1`

const sqlRunByJob = `
select ` + runColumns + ` from {s}dataflow_run r join {s}dataflow_flow f on f.id = r.flow_id
where r.river_job_id = $1 and not r.named_in_job order by r.id desc limit 1`

// Each half uses a partial index. With one condition on the state, Postgres would read
// all the runs that the flow ever had.
const sqlRunLive = `
select ` + runColumns + ` from (
	select * from {s}dataflow_run where flow_id = $1 and state = 'in_progress'
	union all
	(select * from {s}dataflow_run where flow_id = $1 and state = 'pending' order by scheduled_for, id)) r
	cross join lateral (select f.name from {s}dataflow_flow f where f.id = r.flow_id limit 1) f
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

// Leaves out runs without a free slot, so that they do not use up the limit. $1 has the slots of the
// flows that have more than one slot, or slots for backfills.
//
// A plan that was made while no run waited is kept when 100,000 do. So these statements leave no
// choice to it: sqlByIndexes comes before them; the limit around a flow keeps the order of the
// runs, so that no more of them are read than are asked for; and the order of the runs of one flow
// is that of the index of a flow's runs.
const (
	slotsGiven = `cross join lateral (select coalesce(($1::jsonb -> r.flow_id::text ->> 0)::integer, 1) as slots,
		coalesce(($1::jsonb -> r.flow_id::text ->> 1)::integer, 0) as backfills) s`

	sqlRunDue = `
select ` + runColumns + ` from {s}dataflow_run r
	cross join lateral (select f.name from {s}dataflow_flow f where f.id = r.flow_id and f.state = 'active' limit 1) f
	` + slotsGiven + `
where r.state = 'pending' and r.queue = '' and r.run_after <= {now} and (r.run_after, r.id) > ($2, $3)
	and ` + slotsTaken + ` < ` + slotLimit + `
order by r.run_after, r.id limit $4`

	// The length says that there is no queue, and does not let the planner use dataflow_run_loop, which has the runs of
	// all flows. A plan that is made for few runs would read it for each flow.
	sqlRunDueOf = `
select ` + runColumns + ` from (select distinct unnest($5::bigint[]) as id) w
	cross join lateral (select f.name from {s}dataflow_flow f where f.id = w.id and f.state = 'active' limit 1) f
	cross join lateral (
		select * from {s}dataflow_run where flow_id = w.id and state = 'pending' and length(queue) = 0 and run_after <= {now} and (run_after, id) > ($2, $3)
		order by scheduled_for, id) r
	` + slotsGiven + `
where ` + slotsTaken + ` < ` + slotLimit + `
order by r.run_after, r.id limit $4`
)

// A run that waits for a later time does not count, unless it has been claimed before. Each half
// uses a partial index, flow by flow, however many runs other flows have. The order is that of the
// index to use: without it, a plan for few runs may read those of all flows.
const sqlRunActivity = `
select f.id, r.in_progress, r.pending, r.ticks, r.backfills
from unnest($1::bigint[]) as f (id) cross join lateral (
	select count(*) filter (where state = 'in_progress') as in_progress,
		count(*) filter (where state = 'pending') as pending,
		count(*) filter (where state = 'pending' and trigger = 'schedule' and lease_no = 0) as ticks,
		count(*) filter (where scope <> '') as backfills
	from (
		select state, trigger, lease_no, scope from {s}dataflow_run where flow_id = f.id and state = 'in_progress'
		union all
		(select state, trigger, lease_no, scope from {s}dataflow_run
		where flow_id = f.id and state = 'pending' and (run_after <= {now} or lease_no > 0) order by scheduled_for, id)) live) r
where r.in_progress + r.pending > 0`

// Each part uses an index, flow by flow. The dead letters that count are limited.
const sqlFlowStats = `
select f.id, f.name, {now}, f.state, f.tripped_at, f.failures, f.last_success_at, r.in_progress, r.due, r.since, l.open, c.cursor::text, c.moved_at
from unnest($1::bigint[]) as i (id) cross join lateral (select * from {s}dataflow_flow where id = i.id limit 1) f
	left join {s}dataflow_checkpoint c on c.flow_id = f.id and c.scope = '' and c.partition = ''
	cross join lateral (
		select count(*) filter (where state = 'in_progress') as in_progress, count(*) filter (where state = 'pending') as due,
			min(run_after) filter (where state = 'pending') as since
		from (
			select state, run_after from {s}dataflow_run where flow_id = f.id and state = 'in_progress'
			union all
			(select state, run_after from {s}dataflow_run where flow_id = f.id and state = 'pending' and run_after <= {now}
			order by scheduled_for, id)) live) r
	cross join lateral (
		select count(*) as open from (
			select from {s}dataflow_dead_letter d where d.flow_id = f.id and d.closed_at is null limit $2) letters) l`

// The run is updated before the checkpoint; a claim locks them in the same order.
//
// Without a cursor the rescues are not reset: the next claim begins again at the same
// place, so there was no progress.
//
// The lease is renewed only when less than two thirds of it are left; sqlRunRenew mostly
// renews it earlier.
const sqlRunProgress = `
update {s}dataflow_run
set read = read + $3, written = written + $4, redundant = redundant + $5, filtered = filtered + $6,
	dropped = dropped + $7, dead_lettered = dead_lettered + $8, updated = updated + $13, read_again = read_again + $14,
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
	dropped = dropped + $8, dead_lettered = dead_lettered + $9, updated = updated + $11, read_again = read_again + $14
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
	select r.id from {s}dataflow_run r join claim c on r.id = any(array[c.id]) and c.lease_no = r.lease_no
	where r.state = 'in_progress'
	for update of r skip locked
), renewed as (
	update {s}dataflow_run r set lease_until = {clock} + $3::bigint * interval '1 microsecond'
	from free where r.id = any(array[free.id])
)
select c.id, coalesce(r.lease_no = c.lease_no and r.state = 'in_progress', false), r.cancel_requested_at is not null
from claim c left join lateral (select * from {s}dataflow_run where id = c.id limit 1) r on true`

const sqlRunHeld = `
update {s}dataflow_run r set lease_until = {clock} + $3::bigint * interval '1 microsecond'
from {s}dataflow_flow f
where r.id = $1 and r.lease_no = $2 and r.state = 'in_progress' and f.id = r.flow_id
returning ` + runColumns

const sqlRunLapsed = `
select ` + runColumns + ` from {s}dataflow_run r join {s}dataflow_flow f on f.id = r.flow_id
where r.state = 'in_progress' and r.lease_until < {now}
order by r.lease_until limit 1
for update of r skip locked`

const sqlSameJobs = `select to_regclass('{s}river_job') is not distinct from to_regclass($1)`

// If a process dies after it fetched a job and before it claimed the run, River notices
// only after an hour. A job whose time is far from now waits for somebody's wrong clock, for
// River's own backoff, or because its row was edited: those of this library snooze for seconds.
// If a worker has just put the job off, as a middleware of the service may, it would do so with
// the next one too.
// River's rows have the real clock, so they are compared with now().
const (
	stranded = `
from {s}dataflow_run r join {s}dataflow_flow f on f.id = r.flow_id
	left join {s}river_job j on j.id = r.river_job_id
where r.state = 'pending' and r.queue <> '' and r.run_after < {now} - $1::bigint * interval '1 microsecond'
	and f.state = 'active'
	and (j.id is null or j.state in ('completed', 'discarded', 'cancelled')
		or r.queue <> coalesce(f.runtime ->> 'queue', case when f.runtime ->> 'type' = any($2) then '' else r.queue end)
		or j.state = 'running' and j.attempted_at < now() - $1::bigint * interval '1 microsecond'
		or j.state in ('available', 'scheduled', 'retryable') and j.scheduled_at > now() + interval '1 minute'
			and (j.attempted_at is null or j.attempted_at < now() - interval '1 minute')
		or j.state in ('scheduled', 'retryable') and j.scheduled_at < now() - interval '1 minute')`

	sqlRunsStranded = `select r.run_after, r.id, r.flow_id` + stranded + ` and (r.run_after, r.id) > ($3, $4)
order by r.run_after, r.id limit $5`

	sqlRunStranded = `select ` + runColumns + stranded + ` and r.id = $3
for update of r skip locked`
)

// Keeps the time, actor and reason of the first request.
const sqlRunCancel = `
update {s}dataflow_run r
set state = case when r.state = 'pending' then 'cancelled' else r.state end,
	ended_at = case when r.state = 'pending' then {clock} else null end,
	callback_at = case when r.state = 'pending' and f.callback_until > {clock} then {clock} end,
	waits_for = case when r.state = 'pending' then '' else r.waits_for end,
	waits_since = case when r.state = 'pending' then null else r.waits_since end,
	cancel_requested_at = coalesce(r.cancel_requested_at, {clock}),
	cancelled_by = case when r.cancel_requested_at is null then $2 else r.cancelled_by end,
	cancel_reason = case when r.cancel_requested_at is null then $3 else r.cancel_reason end
from {s}dataflow_flow f
where r.id = $1 and (r.state = 'pending' or r.state = 'in_progress' and not $4) and f.id = r.flow_id
returning ` + runColumns
