package dataflowsqlite

const runColumns = `r.id, r.flow_id, f.name, r.state, r.trigger, r.scheduled_for, r.run_after, r.created_at,
	r.started_at, r.ended_at, r.attempt, r.max_attempts, r.worker, r.lease_no, r.lease_until,
	r.queue, coalesce(r.river_job_id, 0),
	r.read, r.written, r.redundant, r.filtered, r.dropped, r.dead_lettered,
	r.total, r.from_cursor, r.to_cursor, r.error, r.errors, r.actor, r.reason, r.code_version,
	r.rescues, r.cancel_requested_at, r.cancelled_by, r.cancel_reason, coalesce(r.slot, 0), r.updated, r.read_again,
	r.scope, r.params, r.until_cursor, r.waits_for, r.waits_since, r.trace_parent`

const summaryColumns = `r.id, r.flow_id, r.state, r.trigger, r.created_at, r.started_at, r.ended_at, r.read, r.written`

// Adds no run to an inactive flow or one with another Runtime, to a flow with a waiting run of the same key, and to
// a flow with a run of the same tick.
const sqlRunInsert = `
insert into dataflow_run (flow_id, trigger, unique_key, scheduled_for, run_after, created_at, max_attempts, queue, river_job_id, named_in_job, actor, reason, scope, params, from_cursor, until_cursor, trace_parent)
select id, ?2, ?3, coalesce(?4, {now}), coalesce(?4, {now}), {now}, ?5, ?6, ?7, ?16, ?8, ?9, ?10, ?11, ?12, ?13, ?15
from dataflow_flow where id = ?1 and state = 'active' and (?14 is null or runtime = ?14)
on conflict do nothing
returning id`

// The scope of a backfill is the id of its first run.
const sqlRunOwnScope = `update dataflow_run set scope = cast(id as text) where id = ?`

const sqlRunWaiting = `
select ` + runColumns + ` from dataflow_run r join dataflow_flow f on f.id = r.flow_id
where r.flow_id = ?1 and r.unique_key = ?2 and r.state = 'pending' and f.state = 'active' and (?3 is null or f.runtime = ?3)`

const sqlRunWaitingLike = `
select ` + runColumns + ` from dataflow_run r indexed by dataflow_run_waiting join dataflow_flow f on f.id = r.flow_id
where r.flow_id = ?1 and r.state = 'pending' and substr(r.unique_key, 1, length(?2)) = ?2
order by r.id`

const sqlRunByTick = `
select ` + runColumns + ` from dataflow_run r join dataflow_flow f on f.id = r.flow_id
where r.flow_id = ? and r.scheduled_for = ? and r.trigger = 'schedule' and f.state = 'active'`

const sqlRunSetJob = `update dataflow_run set river_job_id = ?2, queue = ?3 where id = ?1`

// A run that waits for the same since earlier stays as it is.
const sqlRunWaits = `
update dataflow_run
set waits_for = ?4, waits_since = case when ?4 = '' then null else strftime('%Y-%m-%d %H:%M:%f', {now}, '-' || ?5 || ' seconds') end,
	rescues = case when ?6 then 0 else rescues end
where id = ?1 and lease_no = ?2 and state = ?3 and waits_for <> ?4`

const sqlRunByID = `
select ` + runColumns + ` from dataflow_run r join dataflow_flow f on f.id = r.flow_id where r.id = ?`

const sqlRunByJob = `
select ` + runColumns + ` from dataflow_run r join dataflow_flow f on f.id = r.flow_id
where r.river_job_id = ? and not r.named_in_job order by r.id desc limit 1`

// Each half uses a partial index. With one condition on the state, SQLite would read all
// the runs that the flow ever had.
const sqlRunLive = `
select ` + runColumns + ` from dataflow_run r join dataflow_flow f on f.id = r.flow_id
where r.id in (
	select id from dataflow_run indexed by dataflow_run_slot where flow_id = ?1 and state = 'in_progress'
	union all
	select id from dataflow_run indexed by dataflow_run_waiting where flow_id = ?1 and state = 'pending')
order by r.id`

// A run can be claimed while slotsTaken < slotLimit. slotsTaken counts
//
//   - for one of the flow's own runs, the runs in the flow's own slots;
//   - for a backfill with slots of its own, the flow's backfills in progress;
//   - for a backfill without, all the flow's runs in progress.
//
// Backfill slots begin at dataflow.FirstBackfillSlot, 1000. Without "indexed by", SQLite would
// read all the runs that the flow ever had.
const (
	hasBackfillSlot = `(r.scope <> '' and s.backfills > 0)`
	slotLimit       = `case when ` + hasBackfillSlot + ` then s.backfills else s.slots end`
	slotsTaken      = `(select count(*) from dataflow_run o indexed by dataflow_run_slot where o.flow_id = r.flow_id and o.state = 'in_progress'
		and case when r.scope = '' then o.slot < 1000 when s.backfills > 0 then o.scope <> '' else true end)`

	// slotsLeft is how many slots a run must leave to runs of its flow that lost their workers. The
	// lease is ?3.
	slotsLeft = `(case when r.scope = '' and r.lease_no = 0 and (r.trigger = 'schedule' or r.created_at > strftime('%Y-%m-%d %H:%M:%f', {now}, '-' || ?3 || ' seconds'))
		then (select count(*) from dataflow_run o indexed by dataflow_run_rescued
			where o.flow_id = r.flow_id and o.state = 'pending' and o.scope = '' and o.rescues > 0 and o.run_after <= {now} and o.queue = r.queue and o.id <> r.id)
		else 0 end)`

	// itsTurn says that no other run of the flow goes before a run in the order of its queue.
	itsTurn = `not (s.slots = 1 and r.trigger = 'schedule' and r.lease_no = 0 and exists (select 1 from dataflow_run o indexed by dataflow_run_next
		where o.flow_id = r.flow_id and o.state = 'pending' and o.trigger = 'schedule' and o.lease_no = 0
			and o.scheduled_for < r.scheduled_for and o.queue = r.queue))
	and not (s.slots = 1 and s.backfills = 0 and r.scope <> '' and exists (select 1 from dataflow_run o indexed by dataflow_run_waiting
		where o.flow_id = r.flow_id and o.state = 'pending' and o.scope = '' and o.run_after <= {now} and o.queue = r.queue))`
)

// Leaves out runs without a free slot, so that they do not use up the limit. The flows of given
// have more than one slot, or slots for backfills. Without "indexed by", SQLite would read all the
// runs that the flows ever had.
const sqlRunDue = `
select ` + runColumns + ` from dataflow_run r indexed by dataflow_run_loop join dataflow_flow f on f.id = r.flow_id
	left join (select value ->> 0 as flow_id, value ->> 1 as slots, value ->> 2 as backfills from json_each(?1)) given on given.flow_id = r.flow_id
where r.state = 'pending' and r.queue = '' and r.run_after <= {now} and (r.run_after, r.id) > (?3, ?4)
	and f.state = 'active' and (?5 is null or r.flow_id in (select value from json_each(?5)))
	and exists (select 1 from (select coalesce(given.slots, 1) as slots, coalesce(given.backfills, 0) as backfills) s
		where ` + slotsTaken + ` < ` + slotLimit + `)
order by r.run_after, r.id limit ?2`

// A run that waits for a later time does not count, unless it has been claimed before.
// Without "indexed by", SQLite would read all the runs that the flows ever had.
const sqlRunActivity = `
select flow_id, count(*) filter (where state = 'in_progress'),
	count(*) filter (where state = 'pending'),
	count(*) filter (where state = 'pending' and trigger = 'schedule' and lease_no = 0),
	count(*) filter (where scope <> '')
from (
	select flow_id, state, trigger, lease_no, scope from dataflow_run indexed by dataflow_run_slot
	where flow_id in (select value from json_each(?1)) and state = 'in_progress'
	union all
	select flow_id, state, trigger, lease_no, scope from dataflow_run indexed by dataflow_run_waiting
	where flow_id in (select value from json_each(?1)) and state = 'pending' and (run_after <= {now} or lease_no > 0))
group by flow_id`

// Each part uses an index, flow by flow. The dead letters that count are limited.
const sqlFlowStats = `
select f.id, f.name, {now}, f.state, f.tripped_at, f.failures, f.last_success_at,
	(select count(*) from dataflow_run r indexed by dataflow_run_slot where r.flow_id = f.id and r.state = 'in_progress'),
	(select count(*) from dataflow_run r indexed by dataflow_run_waiting where r.flow_id = f.id and r.state = 'pending' and r.run_after <= {now}),
	(select min(r.run_after) from dataflow_run r indexed by dataflow_run_waiting where r.flow_id = f.id and r.state = 'pending' and r.run_after <= {now}),
	(select count(*) from (
		select 1 from dataflow_dead_letter d indexed by dataflow_dead_letter_unclosed where d.flow_id = f.id and d.closed_at is null limit ?2)),
	c.cursor, c.moved_at
from json_each(?1) i join dataflow_flow f on f.id = i.value
	left join dataflow_checkpoint c on c.flow_id = f.id and c.scope = '' and c.partition = ''`

// Of two claims at once, the unique index on the slot lets one succeed. The count of
// slotsTaken only avoids the error in the usual case. The claim clears the unique key, so
// that another run can wait while this one is worked.
//
// A flow's new run leaves a slot in its queue to each run that lost its worker. One that is no
// tick does so for the time of a lease, as perhaps no process there is can work those.
//
// A flow with one slot has an order within a queue. A tick's run waits for the runs of
// earlier ticks. A backfill without slots of its own waits for the flow's own runs.
//
// A backfill with slots of its own begins to look for a free one at a slot that depends
// on its id.
const sqlRunClaim = `
update dataflow_run as r
set state = 'in_progress',
	slot = (select n.value from json_each(case when ` + hasBackfillSlot + ` then ?7 else ?6 end) n
		where not exists (select 1 from dataflow_run o where o.flow_id = r.flow_id and o.slot = n.value and o.state = 'in_progress')
		order by case when ` + hasBackfillSlot + ` then (n.value + r.id) % s.backfills else n.value end limit 1),
	unique_key = null, waits_for = '', waits_since = null, attempt = r.attempt + 1, worker = ?2,
	lease_no = r.lease_no + 1, lease_until = strftime('%Y-%m-%d %H:%M:%f', {now}, ?3 || ' seconds'),
	started_at = coalesce(r.started_at, {now}), code_version = ?4,
	read = case when ?5 then 0 else r.read end, written = case when ?5 then 0 else r.written end,
	redundant = case when ?5 then 0 else r.redundant end, filtered = case when ?5 then 0 else r.filtered end,
	dropped = case when ?5 then 0 else r.dropped end, dead_lettered = case when ?5 then 0 else r.dead_lettered end,
	updated = case when ?5 then 0 else r.updated end, read_again = case when ?5 then 0 else r.read_again end
from (select json_array_length(?6) as slots, json_array_length(?7) as backfills) s
where r.id = ?1 and r.state = 'pending' and r.run_after <= {now} and (?8 = 0 or r.flow_id = ?8) and r.rescues < ?9
	and exists (select 1 from dataflow_flow f where f.id = r.flow_id and f.state = 'active' and ` + groupHasRoom + `)
	and ` + slotsTaken + ` + ` + slotsLeft + ` < ` + slotLimit + `
	and ` + itsTurn

// Whether a run was not claimed because it has lost too many workers.
const sqlRunSuspect = `select exists (select 1 from dataflow_run where id = ?1 and state = 'pending' and rescues >= ?2)`

// Moving the sequence number fences off the flow's previous worker: its next checkpoint
// finds no row.
const sqlCheckpointClaim = `
insert into dataflow_checkpoint as c (flow_id, scope, partition, seq, cursor, updated_at) values (?, ?, ?, 1, ?, {now})
on conflict (flow_id, scope, partition) do update set seq = c.seq + 1
returning seq, cursor, set_seq`

// Without a cursor the rescues are not reset: the next claim begins again at the same
// place, so there was no progress.
const sqlRunProgress = `
update dataflow_run
set read = read + ?3, written = written + ?4, redundant = redundant + ?5, filtered = filtered + ?6,
	dropped = dropped + ?7, dead_lettered = dead_lettered + ?8, updated = updated + ?13, read_again = read_again + ?14,
	total = coalesce(?9, total), from_cursor = coalesce(from_cursor, ?10), to_cursor = coalesce(?11, to_cursor),
	rescues = case when ?11 is null then rescues else 0 end,
	lease_until = case when lease_until < strftime('%Y-%m-%d %H:%M:%f', {now}, (?12 * 2 / 3) || ' seconds')
		then strftime('%Y-%m-%d %H:%M:%f', {now}, ?12 || ' seconds') else lease_until end
where id = ?1 and lease_no = ?2 and state = 'in_progress'
returning cancel_requested_at is not null`

const sqlCheckpointMove = `
update dataflow_checkpoint
set cursor = coalesce(?3, cursor), seq = seq + 1, updated_at = {now}, moved_at = {now}, run_id = ?12,
	read = read + ?4, written = written + ?5, redundant = redundant + ?6, filtered = filtered + ?7,
	dropped = dropped + ?8, dead_lettered = dead_lettered + ?9, updated = updated + ?11, read_again = read_again + ?14
where flow_id = ?1 and scope = ?13 and partition = ?10 and seq = ?2`

const sqlRunEnd = `
update dataflow_run
set state = ?3, slot = null, lease_until = null, waits_for = '', waits_since = null,
	ended_at = case when ?3 = 'pending' then null else {now} end,
	callback_at = case when ?3 <> 'pending' and ` + callbackKept + ` then {now} end,
	run_after = case when ?3 = 'pending' and not ?8 then strftime('%Y-%m-%d %H:%M:%f', {now}, ?4 || ' seconds') else run_after end,
	attempt = case when ?5 then attempt - 1 else attempt end,
	error = case when ?5 and ?6 = '' then error else ?6 end,
	errors = case when ?7 is null then errors else json_insert(errors, '$[#]', json(?7)) end,
	rescues = case when ?8 then rescues + 1 else rescues end
where id = ?1 and lease_no = ?2 and state = 'in_progress'`

// Whether this outcome trips the flow, so that its ticks start no runs. It is queried
// before sqlFlowNote.
const sqlFlowTrips = `
select tripped_at is null and ?2 = 'failed' and pause_after > 0 and failures + 1 >= pause_after from dataflow_flow where id = ?1`

// Each failure after the flow has tripped postpones the next probe.
const sqlFlowNote = `
update dataflow_flow
set last_run_at = {now}, last_error = case when ?2 = 'cancelled' then last_error else ?3 end,
	last_success_at = case when ?2 = 'success' then {now} else last_success_at end,
	last_success_run = case when ?2 = 'success' then ?4 else last_success_run end,
	failures = case ?2 when 'success' then 0 when 'failed' then failures + 1 else failures end,
	tripped_at = case when ?2 = 'success' then null
		when ?2 = 'failed' and pause_after > 0 and failures + 1 >= pause_after then coalesce(tripped_at, {now}) else tripped_at end,
	tripped_reason = case when ?2 = 'success' then ''
		when ?2 = 'failed' and pause_after > 0 and failures + 1 >= pause_after
		then case failures when 0 then 'a run has failed' else (failures + 1) || ' runs have failed in a row' end || '; run ' || ?4 || ' with: ' || ?3 else tripped_reason end,
	probe_at = case when ?2 = 'success' then null
		when ?2 = 'failed' and pause_after > 0 and failures + 1 >= pause_after
		then case when probe_after <> '0' then strftime('%Y-%m-%d %H:%M:%f', {now}, probe_after || ' seconds') end else probe_at end
where id = ?1`

// Forgets the failures of a flow of which a run works again. As a rule there are none.
const sqlFlowWorks = `
update dataflow_flow set failures = 0, last_error = '', tripped_at = null, tripped_reason = '', probe_at = null
where id = ?1 and (failures > 0 or last_error <> '' or tripped_at is not null)`

// River's rows have the real clock, so they are compared with 'now'. Without "indexed by",
// SQLite would read all the runs that the flow ever had.
const sqlRunNext = `
select o.id, o.max_attempts from (
	select o.id, o.max_attempts, j.id is null or j.state <> 'available' or julianday(j.scheduled_at) > julianday('now') as idle
	from dataflow_run o indexed by dataflow_run_next left join river_job j on j.id = o.river_job_id
	where o.flow_id = ?2 and o.state = 'pending' and o.queue <> '' and o.run_after <= {now} and o.id <> ?1
		and (o.scope <> '' and ?4 > 0) = (?3 <> '' and ?4 > 0)
	order by o.scheduled_for, o.id limit 1
) o where o.idle`

const sqlRunRenew = `
update dataflow_run
set lease_until = strftime('%Y-%m-%d %H:%M:%f', {now}, ?2 || ' seconds')
where state = 'in_progress' and exists (
	select 1 from json_each(?1) c where c.value ->> 0 = dataflow_run.id and c.value ->> 1 = dataflow_run.lease_no)`

const sqlRunStatus = `
select c.value ->> 0, coalesce(r.lease_no = c.value ->> 1 and r.state = 'in_progress', false), r.cancel_requested_at is not null
from json_each(?1) c left join dataflow_run r on r.id = c.value ->> 0`

const sqlRunHeld = `
update dataflow_run
set lease_until = strftime('%Y-%m-%d %H:%M:%f', {now}, ?3 || ' seconds')
where id = ?1 and lease_no = ?2 and state = 'in_progress'`

const sqlRunLapsed = `
select ` + runColumns + ` from dataflow_run r join dataflow_flow f on f.id = r.flow_id
where r.state = 'in_progress' and r.lease_until < {now}
order by r.lease_until limit 1`

// If a process dies after it fetched a job and before it claimed the run, River notices
// only after an hour. A job whose time is far from now waits for somebody's wrong clock, for
// River's own backoff, or because its row was edited: those of this library snooze for seconds.
// If a worker has just put the job off, as a middleware of the service may, it would do so with
// the next one too. River's rows have the real clock, so they are compared with 'now'.
const (
	stranded = `
	left join river_job j on j.id = r.river_job_id
where r.state = 'pending' and r.queue <> '' and r.run_after < strftime('%Y-%m-%d %H:%M:%f', {now}, '-' || ?1 || ' seconds')
	and f.state = 'active'
	and (j.id is null or j.state in ('completed', 'discarded', 'cancelled')
		or r.queue <> coalesce(f.runtime ->> 'queue', case when f.runtime ->> 'type' in (select value from json_each(?2)) then '' else r.queue end)
		or j.state = 'running' and julianday(j.attempted_at) < julianday('now', '-' || ?1 || ' seconds')
		or j.state in ('available', 'scheduled', 'retryable') and ifnull(julianday(j.scheduled_at), 9e9) > julianday('now', '+1 minute') -- or it is no time
			and (j.attempted_at is null or julianday(j.attempted_at) < julianday('now', '-1 minute'))
		or j.state in ('scheduled', 'retryable') and julianday(j.scheduled_at) < julianday('now', '-1 minute'))`

	sqlRunsStranded = `
select r.run_after, r.id, r.flow_id from dataflow_run r indexed by dataflow_run_due join dataflow_flow f on f.id = r.flow_id` + stranded + `
	and (r.run_after, r.id) > (?3, ?4)
order by r.run_after, r.id limit ?5`

	sqlRunStranded = `select ` + runColumns + ` from dataflow_run r join dataflow_flow f on f.id = r.flow_id` + stranded + ` and r.id = ?3`
)

// Keeps the time, actor and reason of the first request.
const sqlRunCancel = `
update dataflow_run
set state = case when state = 'pending' then 'cancelled' else state end,
	ended_at = case when state = 'pending' then {now} else null end,
	callback_at = case when state = 'pending' and ` + callbackKept + ` then {now} end,
	waits_for = case when state = 'pending' then '' else waits_for end,
	waits_since = case when state = 'pending' then null else waits_since end,
	cancel_requested_at = coalesce(cancel_requested_at, {now}),
	cancelled_by = case when cancel_requested_at is null then ?2 else cancelled_by end,
	cancel_reason = case when cancel_requested_at is null then ?3 else cancel_reason end
where id = ?1 and (state = 'pending' or state = 'in_progress' and not ?4)`
