package dataflowpgx

// The statements of schedules, processes, dead letters and retention.

// It does not use "for update", which would block inserts of runs of the flow.
//
// It returns {clock}, not {now}: this transaction may have begun before another one
// handled ticks of the flow, and its decision must be later than that one.
const sqlFlowLock = `select ` + flowColumns + `, {clock} from {s}dataflow_flow f where f.id = $1 for no key update`

const sqlFlowDue = `
select ` + flowColumns + `, {now} from {s}dataflow_flow f
where f.id = any($1) and (f.next_run_at <= {now} or f.probe_at <= {now})
order by least(f.next_run_at, f.probe_at) limit 1
for no key update skip locked`

const sqlFlowNext = `
select extract(epoch from min(least(next_run_at, probe_at)) - {clock})::float8
from {s}dataflow_flow where id = any($1) and (next_run_at is not null or probe_at is not null)`

const sqlFlowPlan = `
update {s}dataflow_flow
set next_run_at = $2, probe_at = $3, schedule = coalesce($4, schedule),
	schedule_at = coalesce($5, schedule_at)
where id = $1`

// Extends the flow's last entry if
//
//   - it has the same reason;
//   - it began after the last change of the schedule, at schedule_at;
//   - there is no run of a tick between it and the new ticks.
const sqlTickExtend = `
update {s}dataflow_tick t set last_at = $3, ticks = t.ticks + $4
from {s}dataflow_flow f
where t.id = (select id from {s}dataflow_tick where flow_id = $1 order by last_at desc limit 1)
	and t.reason = $5 and t.last_at < $2 and f.id = t.flow_id and t.first_at > f.schedule_at
	and not exists (select from {s}dataflow_run r
		where r.flow_id = $1 and r.trigger = 'schedule' and r.scheduled_for > t.last_at and r.scheduled_for < $2)`

const sqlTickInsert = `
insert into {s}dataflow_tick (flow_id, first_at, last_at, ticks, reason, created_at) values ($1, $2, $3, $4, $5, {clock})`

const sqlTickList = `
select t.id, t.flow_id, f.name, t.first_at, t.last_at, t.ticks, t.reason, t.created_at
from {s}dataflow_tick t join {s}dataflow_flow f on f.id = t.flow_id
where ($1 = '' or f.name = $1) and ($2 = '' or t.reason = $2) and ($3 = 0 or t.id < $3)
order by t.id desc limit $4`

const sqlProcessSeen = `
insert into {s}dataflow_process as p (id, code_version, flows, queues, started_at, seen_at, until)
values ($1, $2, $3, $4, {now}, {now}, {now} + $5::bigint * interval '1 microsecond')
on conflict (id) do update set code_version = excluded.code_version, flows = excluded.flows, queues = excluded.queues,
	seen_at = excluded.seen_at, until = excluded.until`

// Skips the row of a process that is just coming back. If two processes came back at once
// and each removed the other's row, they would deadlock.
const sqlProcessSweep = `
delete from {s}dataflow_process where id in (
	select id from {s}dataflow_process where until < {now} - interval '1 day' for update skip locked)`

const sqlProcessGone = `delete from {s}dataflow_process where id = $1`

const sqlProcessList = `
select id, code_version, flows, queues, started_at, seen_at, until
from {s}dataflow_process where until >= {now} order by id`

const sqlNow = `select {now}`

// unnest makes it one statement for any number of dead letters.
const sqlDeadLetterInsert = `
insert into {s}dataflow_dead_letter (flow_id, run_id, stage, key, payload, error, created_at)
select flow_id, run_id, stage, key, payload::json, error, {now}
from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[]) with ordinality
	as l (flow_id, run_id, stage, key, payload, error, n) order by n`

const sqlDeadLetterList = `
select l.id, l.flow_id, f.name, l.run_id, l.stage, l.key, l.payload::text, l.error, l.created_at, l.replayed_at
from {s}dataflow_dead_letter l join {s}dataflow_flow f on f.id = l.flow_id
where ($1 = '' or f.name = $1) and ($2 = 0 or l.run_id = $2) and (not $3 or l.replayed_at is null) and ($4 = 0 or l.id < $4)
order by l.id desc limit $5`

const sqlDeadLetterReplayed = `
update {s}dataflow_dead_letter set replayed_at = {now} where id = $1 and replayed_at is null`

// Two kinds of runs are kept: the last successful run of a flow that is no backfill, for
// ever, and a run with a dead letter that is kept.
const sqlRunPrunable = `
from {s}dataflow_run r
where r.state = $1 and r.ended_at < {now} - $2::bigint * interval '1 microsecond'
	and (r.state <> 'success' or r.scope <> '' or exists (select from {s}dataflow_run o
		where o.flow_id = r.flow_id and o.state = 'success' and o.scope = '' and (o.ended_at, o.id) > (r.ended_at, r.id)))
	and not exists (select from {s}dataflow_dead_letter d
		where d.run_id = r.id and ($3::bigint < 0 or d.created_at >= {now} - $3::bigint * interval '1 microsecond'))`

const sqlRunPruneCount = `select count(*)` + sqlRunPrunable

const sqlRunPrune = `delete from {s}dataflow_run where id in (select r.id` + sqlRunPrunable + ` order by r.ended_at limit $4)`

// Removes the checkpoints of backfills that have no runs left: no run will continue there.
const sqlScopePrune = `
delete from {s}dataflow_checkpoint c where c.scope <> '' and not exists (
	select from {s}dataflow_run r where r.flow_id = c.flow_id and r.scope = c.scope and r.scope <> '')`

const sqlTickPrunable = ` from {s}dataflow_tick where last_at < {now} - $1::bigint * interval '1 microsecond'`

const sqlTickPruneCount = `select count(*)` + sqlTickPrunable

const sqlTickPrune = `delete from {s}dataflow_tick where id in (select id` + sqlTickPrunable + ` order by id limit $2)`

const sqlDeadLetterPrunable = ` from {s}dataflow_dead_letter where created_at < {now} - $1::bigint * interval '1 microsecond'`

const sqlDeadLetterPruneCount = `select count(*)` + sqlDeadLetterPrunable

const sqlDeadLetterPrune = `delete from {s}dataflow_dead_letter where id in (select id` + sqlDeadLetterPrunable + ` order by id limit $2)`
