package dataflowsqlite

// The statements of schedules, processes, dead letters and retention.

const sqlFlowLock = `select ` + flowColumns + `, {now} from dataflow_flow f where f.id = ?`

const sqlFlowDue = `
select ` + flowColumns + `, {now} from dataflow_flow f
where f.id in (select value from json_each(?1)) and (f.next_run_at <= {now} or f.probe_at <= {now})
order by min(coalesce(f.next_run_at, f.probe_at), coalesce(f.probe_at, f.next_run_at)) limit 1`

const sqlFlowNext = `
select (julianday(min(min(coalesce(next_run_at, probe_at), coalesce(probe_at, next_run_at)))) - julianday({now})) * 86400.0
from dataflow_flow where id in (select value from json_each(?1)) and (next_run_at is not null or probe_at is not null)`

const sqlFlowPlan = `
update dataflow_flow
set next_run_at = ?2, probe_at = ?3, schedule = coalesce(?4, schedule),
	schedule_at = coalesce(?5, schedule_at)
where id = ?1`

// Extends the flow's last entry if
//
//   - it has the same reason;
//   - it began after the last change of the schedule, at schedule_at;
//   - there is no run of a tick between it and the new ticks.
const sqlTickExtend = `
update dataflow_tick set last_at = ?3, ticks = ticks + ?4
where id = (select id from dataflow_tick where flow_id = ?1 order by last_at desc limit 1)
	and reason = ?5 and last_at < ?2 and first_at > (select schedule_at from dataflow_flow where id = ?1)
	and not exists (select 1 from dataflow_run r
		where r.flow_id = ?1 and r.trigger = 'schedule' and r.scheduled_for > dataflow_tick.last_at and r.scheduled_for < ?2)`

const sqlTickInsert = `
insert into dataflow_tick (flow_id, first_at, last_at, ticks, reason, created_at) values (?, ?, ?, ?, ?, {now})`

const sqlTickList = `
select t.id, t.flow_id, f.name, t.first_at, t.last_at, t.ticks, t.reason, t.created_at
from dataflow_tick t join dataflow_flow f on f.id = t.flow_id
where (?1 = '' or f.name = ?1) and (?2 = '' or t.reason = ?2) and (?3 = 0 or t.id < ?3)
order by t.id desc limit ?4`

const sqlProcessSeen = `
insert into dataflow_process as p (id, code_version, flows, queues, started_at, seen_at, until)
values (?1, ?2, ?3, ?4, {now}, {now}, strftime('%Y-%m-%d %H:%M:%f', {now}, ?5 || ' seconds'))
on conflict (id) do update set code_version = excluded.code_version, flows = excluded.flows, queues = excluded.queues,
	seen_at = excluded.seen_at, until = excluded.until`

const sqlProcessSweep = `delete from dataflow_process where until < strftime('%Y-%m-%d %H:%M:%f', {now}, '-1 day')`

const sqlProcessGone = `delete from dataflow_process where id = ?`

const sqlProcessList = `
select id, code_version, flows, queues, started_at, seen_at, until
from dataflow_process where until >= {now} order by id`

const sqlNow = `select {now}`

const sqlDeadLetterInsert = `
insert into dataflow_dead_letter (flow_id, run_id, stage, key, payload, error, created_at) values (?, ?, ?, ?, ?, ?, {now})`

const sqlDeadLetterList = `
select l.id, l.flow_id, f.name, l.run_id, l.stage, l.key, l.payload, l.error, l.created_at, l.replayed_at
from dataflow_dead_letter l join dataflow_flow f on f.id = l.flow_id
where (?1 = '' or f.name = ?1) and (?2 = 0 or l.run_id = ?2) and (not ?3 or l.replayed_at is null) and (?4 = 0 or l.id < ?4)
order by l.id desc limit ?5`

const sqlDeadLetterReplayed = `
update dataflow_dead_letter set replayed_at = {now} where id = ?1 and replayed_at is null`

// Two kinds of runs are kept: the last successful run of a flow that is no backfill, for
// ever, and a run with a dead letter that is kept.
const sqlRunPrunable = `
from dataflow_run r
where r.state = ?1 and r.ended_at < strftime('%Y-%m-%d %H:%M:%f', {now}, '-' || ?2 || ' seconds')
	and (r.state <> 'success' or r.scope <> '' or exists (select 1 from dataflow_run o
		where o.flow_id = r.flow_id and o.state = 'success' and o.scope = '' and (o.ended_at, o.id) > (r.ended_at, r.id)))
	and not exists (select 1 from dataflow_dead_letter d
		where d.run_id = r.id and (?3 is null or d.created_at >= strftime('%Y-%m-%d %H:%M:%f', {now}, '-' || ?3 || ' seconds')))`

const sqlRunPruneCount = `select count(*)` + sqlRunPrunable

const sqlRunPrune = `delete from dataflow_run where id in (select r.id` + sqlRunPrunable + ` order by r.ended_at limit ?4)`

// Removes the checkpoints of backfills that have no runs left: no run will continue there.
const sqlScopePrune = `
delete from dataflow_checkpoint where scope <> '' and not exists (
	select 1 from dataflow_run r where r.flow_id = dataflow_checkpoint.flow_id and r.scope = dataflow_checkpoint.scope and r.scope <> '')`

const sqlTickPrunable = ` from dataflow_tick where last_at < strftime('%Y-%m-%d %H:%M:%f', {now}, '-' || ?1 || ' seconds')`

const sqlTickPruneCount = `select count(*)` + sqlTickPrunable

const sqlTickPrune = `delete from dataflow_tick where id in (select id` + sqlTickPrunable + ` order by id limit ?2)`

const sqlDeadLetterPrunable = ` from dataflow_dead_letter where created_at < strftime('%Y-%m-%d %H:%M:%f', {now}, '-' || ?1 || ' seconds')`

const sqlDeadLetterPruneCount = `select count(*)` + sqlDeadLetterPrunable

const sqlDeadLetterPrune = `delete from dataflow_dead_letter where id in (select id` + sqlDeadLetterPrunable + ` order by id limit ?2)`
