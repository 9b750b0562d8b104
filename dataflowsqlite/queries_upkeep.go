package dataflowsqlite

// The statements of schedules, processes, dead letters and retention.

const sqlFlowsLock = `
select ` + flowColumns + `, {now} from dataflow_flow f where f.id in (select value from json_each(?1)) order by f.id`

const sqlFlowDue = `
select ` + flowColumns + `, {now} from dataflow_flow f
where f.id in (select value from json_each(?1)) and (f.next_run_at <= {now} or f.probe_at <= {now})
order by min(coalesce(f.next_run_at, f.probe_at), coalesce(f.probe_at, f.next_run_at)), f.id`

// The time is there without a flow, too.
const sqlFlowsDue = `
select now, at, id from (select {now} as now) left join (
	select * from (select next_run_at as at, id from dataflow_flow where next_run_at <= {now} and (next_run_at, id) > (?1, ?2)
		and (?4 is null or id in (select value from json_each(?4))) order by next_run_at, id limit ?3)
	union all
	select * from (select probe_at as at, id from dataflow_flow where probe_at <= {now} and (probe_at, id) > (?1, ?2)
		and (?4 is null or id in (select value from json_each(?4))) order by probe_at, id limit ?3)) on true
order by at, id limit ?3`

const sqlFlowNext = `
select (julianday(min(at)) - julianday({now})) * 86400.0 from (
	select * from (select next_run_at as at from dataflow_flow where next_run_at > ?1
		and (?2 is null or id in (select value from json_each(?2))) order by next_run_at limit 1)
	union all
	select * from (select probe_at as at from dataflow_flow where probe_at > ?1
		and (?2 is null or id in (select value from json_each(?2))) order by probe_at limit 1))`

const sqlFlowPlan = `
update dataflow_flow
set next_run_at = ?2, probe_at = ?3, schedule = coalesce(?4, schedule),
	schedule_at = coalesce(?5, schedule_at), next_run_local = ?6
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
insert into dataflow_process as p (id, code_version, flows, queues, zone_data, polls, started_at, seen_at, until)
values (?1, ?2, ?3, ?4, ?6, ?7, {now}, {now}, strftime('%Y-%m-%d %H:%M:%f', {now}, ?5 || ' seconds'))
on conflict (id) do update set code_version = excluded.code_version, flows = excluded.flows, queues = excluded.queues,
	zone_data = excluded.zone_data, polls = excluded.polls,
	seen_at = excluded.seen_at, until = excluded.until`

// The path of the database's file, empty if it has none.
const sqlFile = `select coalesce(file, '') from pragma_database_list where name = 'main'`

const sqlTables = `select count(*) from sqlite_master`

const sqlProcessAlive = `
update dataflow_process set seen_at = {now}, until = strftime('%Y-%m-%d %H:%M:%f', {now}, ?2 || ' seconds') where id = ?1`

const sqlProcessSweep = `delete from dataflow_process where until < strftime('%Y-%m-%d %H:%M:%f', {now}, '-1 day')`

const sqlProcessGone = `delete from dataflow_process where id = ?`

const sqlProcessList = `
select id, code_version, flows, queues, zone_data, polls, started_at, seen_at, until
from dataflow_process where until >= {now} order by id`

const sqlNow = `select {now}`

// Closes the open dead letter of a record of which another version is to be kept.
const sqlDeadLetterOutdated = `
update dataflow_dead_letter set state = 'resolved', closed_at = {now}, closed_by = 'run ' || ?2, reason = ?5, retry_until = null
where flow_id = ?1 and identity = ?3 and identity <> '' and closed_at is null
	and case when edited_at is null then payload else original end is not ?4`

const sqlDeadLetterInsert = `
insert into dataflow_dead_letter (flow_id, run_id, stage, key, payload, error, created_at, last_at, retry_until, tries_left, sink_key, identity)
values (?1, ?2, ?3, ?4, ?5, ?6, {now}, {now}, case when ?7 is not null then strftime('%Y-%m-%d %H:%M:%f', {now}, '+' || ?7 || ' seconds') end, ?8, ?9, ?10)
on conflict (flow_id, identity) where closed_at is null and identity <> '' do update set
	times = times + 1, last_at = {now}, run_id = excluded.run_id, stage = excluded.stage, error = excluded.error,
	retry_until = case when edited_at is null then excluded.retry_until end, tries_left = excluded.tries_left, sink_key = excluded.sink_key`

const sqlDeadLetterColumns = `
select l.id, l.flow_id, f.name, l.run_id, l.stage, l.key, l.payload, l.error, l.created_at, l.retry_until, l.tries_left, l.tries, l.sink_key,
	l.state, l.closed_at, l.closed_by, l.reason, l.identity, l.times, coalesce(l.last_at, l.created_at), l.original, l.edited_at, l.edited_by
from dataflow_dead_letter l join dataflow_flow f on f.id = l.flow_id`

const sqlDeadLetterHeld = sqlDeadLetterColumns + `
where l.flow_id = ?1 and l.retry_until is not null and l.id > ?2
order by l.id limit ?3`

const sqlDeadLetterReplayed = `
update dataflow_dead_letter set state = 'replayed', closed_at = {now}, closed_by = ?3, reason = ?4, retry_until = null
where id = ?1 and closed_at is null and (not ?2 or retry_until is not null)`

const sqlDeadLetterEdit = `
update dataflow_dead_letter set original = case when edited_at is null then payload else original end, payload = ?2,
	edited_at = {now}, edited_by = ?3, retry_until = null
where id = ?1 and closed_at is null`

// One with an id, one of a record, and those that a run has not kept.
const (
	sqlDeadLetterClose = `
update dataflow_dead_letter set state = ?2, closed_at = {now}, closed_by = ?3, reason = ?4, retry_until = null
where flow_id = ?1 and closed_at is null`
	sqlDeadLetterCloseID     = sqlDeadLetterClose + ` and id = ?5`
	sqlDeadLetterCloseRecord = sqlDeadLetterClose + ` and identity <> '' and identity = ?5`
	sqlDeadLetterCloseOthers = sqlDeadLetterClose + ` and run_id <> ?5`
)

const sqlDeadLetterRecords = `
select identity, key from dataflow_dead_letter
where flow_id = ?1 and closed_at is null and identity <> '' and identity > ?2 order by identity limit ?3`

const sqlDeadLetterTried = `
update dataflow_dead_letter
set tries = tries + 1, tries_left = max(tries_left - 1, 0), error = ?2,
	retry_until = case when tries_left > 1 and retry_until > {now} then retry_until end
where id = ?1 and retry_until is not null and (not ?3 or retry_until <= {now})`

const sqlDeadLetterSuperseded = `
update dataflow_dead_letter set retry_until = null, error = error || ?4
where flow_id = ?1 and retry_until is not null and sink_key = ?2 and (?3 = 0 or id < ?3)`

// Four kinds of runs are kept: the last successful run of a flow that is no backfill, for
// ever, a run whose end is still to be told, a run with a dead letter that is kept, and a range of
// a backfill that goes on, or of a first load that has not moved its flow's cursor yet.
const (
	runIsKept = `(exists (select 1 from dataflow_flow k where k.id = r.flow_id and k.last_success_run = r.id)
		or ` + runIsUntold + `
		or exists (select 1 from dataflow_dead_letter d where d.run_id = r.id and ` + letterIsKept + `)
		or ` + rangeIsKept + `)`
	runIsUntold = `(r.callback_at is not null and r.callback_at < '9999-12-31' and exists (select 1 from dataflow_flow k where k.id = r.flow_id and k.callback_until > {now}))`
	rangeIsKept = `(r.scope <> '' and (
		exists (select 1 from dataflow_run o where o.flow_id = r.flow_id and o.state = 'in_progress' and substr(o.scope, 1, instr(o.scope || '/', '/') - 1) = substr(r.scope, 1, instr(r.scope || '/', '/') - 1))
		or exists (select 1 from dataflow_run o where o.flow_id = r.flow_id and o.state = 'pending' and substr(o.scope, 1, instr(o.scope || '/', '/') - 1) = substr(r.scope, 1, instr(r.scope || '/', '/') - 1))
		or r.trigger = 'first_load' and not exists (select 1 from dataflow_checkpoint c where c.flow_id = r.flow_id and c.scope = '' and c.partition = '' and c.cursor is not null)))`
	letterIsKept = `case when d.closed_at is not null then ?3 is null or d.closed_at >= strftime('%Y-%m-%d %H:%M:%f', {now}, '-' || ?3 || ' seconds')
		else ?4 is null or coalesce(d.retry_until >= {now}, false) or coalesce(d.last_at, d.created_at) >= strftime('%Y-%m-%d %H:%M:%f', {now}, '-' || ?4 || ' seconds') end`
	runIsOld = `r.ended_at is not null and r.state = ?1 and r.ended_at < strftime('%Y-%m-%d %H:%M:%f', {now}, '-' || ?2 || ' seconds')`
)

// Counts all old runs, and takes off those that are kept. Few are.
const sqlRunPruneCount = `
select (select count(*) from dataflow_run r where ` + runIsOld + `)
	- (select count(*) from dataflow_run r where ` + runIsOld + ` and r.id in (
		select last_success_run from dataflow_flow
		union
		select r.id from dataflow_run r where ` + runIsUntold + `
		union
		select d.run_id from dataflow_dead_letter d where ` + letterIsKept + `
		union
		select r.id from dataflow_run r where r.flow_id in (
			select o.flow_id from dataflow_run o where o.state = 'in_progress' and o.scope <> ''
			union
			select o.flow_id from dataflow_run o where o.state = 'pending' and o.scope <> '') and ` + rangeIsKept + `
		union
		select r.id from dataflow_run r where r.state = ?1 and r.ended_at is not null and r.trigger = 'first_load' and ` + rangeIsKept + `))`

const sqlRunsOld = `
select r.id, r.flow_id, r.ended_at from dataflow_run r
where ` + runIsOld + ` and (r.ended_at, r.id) > (?3, ?4)
order by r.ended_at, r.id limit ?5`

const sqlRunPrunable = `
select r.id from dataflow_run r
where r.id in (select value from json_each(?5)) and ` + runIsOld + ` and not ` + runIsKept

const sqlRunTotal = `
insert into dataflow_total as t (flow_id, day, state, runs, ` + totalColumns + `)
select flow_id, date(ended_at), state, count(*), ` + totalSums + `
from dataflow_run where id in (select value from json_each(?1)) group by 1, 2, 3
on conflict (flow_id, day, state) do update set runs = t.runs + excluded.runs, read = t.read + excluded.read,
	written = t.written + excluded.written, redundant = t.redundant + excluded.redundant, filtered = t.filtered + excluded.filtered,
	dropped = t.dropped + excluded.dropped, dead_lettered = t.dead_lettered + excluded.dead_lettered,
	updated = t.updated + excluded.updated, read_again = t.read_again + excluded.read_again, busy_us = t.busy_us + excluded.busy_us`

const (
	totalColumns = `read, written, redundant, filtered, dropped, dead_lettered, updated, read_again, busy_us`
	totalSums    = `sum(read), sum(written), sum(redundant), sum(filtered), sum(dropped), sum(dead_lettered), sum(updated), sum(read_again),
		cast(round(sum(coalesce(julianday(ended_at) - julianday(started_at), 0)) * 86400000) as integer) * 1000`
)

const sqlRunRemove = `delete from dataflow_run where id in (select value from json_each(?1))`

// The runs that are still there are added up now.
const sqlTotalList = `
with t as (
	select flow_id, day, state, runs, ` + totalColumns + ` from dataflow_total
	where day between ?2 and ?3 and (?1 = 0 or flow_id = ?1)
	union all
	select flow_id, date(ended_at), state, count(*), ` + totalSums + ` from dataflow_run
	where ended_at is not null and state in ('success', 'failed', 'cancelled')
		and ended_at >= ?2 and ended_at < date(?3, '+1 day') and (?1 = 0 or flow_id = ?1)
	group by 1, 2, 3
)
select t.flow_id, f.name, t.day, t.state, sum(runs), sum(read), sum(written), sum(redundant), sum(filtered),
	sum(dropped), sum(dead_lettered), sum(updated), sum(read_again), sum(busy_us)
from t join dataflow_flow f on f.id = t.flow_id
group by t.flow_id, f.name, t.day, t.state order by t.day, f.name, t.state`

const sqlUpkeepTake = `
insert into dataflow_upkeep as u (task, worker, until, next_at)
values (?1, ?2, strftime('%Y-%m-%d %H:%M:%f', {now}, ?3 || ' seconds'), {now})
on conflict (task) do update set worker = excluded.worker, until = excluded.until
where u.next_at <= {now} and (u.worker in ('', excluded.worker) or u.until < {now})`

const sqlUpkeepDone = `
update dataflow_upkeep set worker = '', until = {now}, next_at = strftime('%Y-%m-%d %H:%M:%f', {now}, ?3 || ' seconds') where task = ?1 and worker = ?2`

// Removes the checkpoints of backfills that have no runs left: no run will continue there.
const sqlScopePrune = `
delete from dataflow_checkpoint where scope <> '' and not exists (
	select 1 from dataflow_run r where r.flow_id = dataflow_checkpoint.flow_id and r.scope = dataflow_checkpoint.scope and r.scope <> '')`

const sqlTickPrunable = ` from dataflow_tick where last_at < strftime('%Y-%m-%d %H:%M:%f', {now}, '-' || ?1 || ' seconds')`

const sqlTickPruneCount = `select count(*)` + sqlTickPrunable

const sqlTickPrune = `delete from dataflow_tick where id in (select id` + sqlTickPrunable + ` order by id limit ?2)`

// Those that were closed, and those that are open. One that is still tried again is kept.
const sqlDeadLetterPrunable = ` from dataflow_dead_letter where closed_at < strftime('%Y-%m-%d %H:%M:%f', {now}, '-' || ?1 || ' seconds')
	or closed_at is null and coalesce(last_at, created_at) < strftime('%Y-%m-%d %H:%M:%f', {now}, '-' || ?2 || ' seconds')
		and (retry_until is null or retry_until < {now})`

const sqlDeadLetterPruneCount = `select count(*)` + sqlDeadLetterPrunable

const sqlDeadLetterPrune = `delete from dataflow_dead_letter where id in (select id` + sqlDeadLetterPrunable + ` order by id limit ?3)`
