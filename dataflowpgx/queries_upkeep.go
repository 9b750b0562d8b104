package dataflowpgx

// The statements of schedules, processes, dead letters and retention.

// It does not use "for update", which would block inserts of runs of the flow.
//
// It returns {clock}, not {now}: this transaction may have begun before another one
// handled ticks of the flow, and its decision must be later than that one.
const sqlFlowsLock = `
select ` + flowColumns + `, {clock} from {s}dataflow_flow f where f.id = any($1) order by f.id for no key update`

// The limit makes the planner look for each flow by its id, also by a plan for few flows.
const sqlFlowDue = `
select ` + flowColumns + `, {now} from (select distinct unnest($1::bigint[]) as id) w cross join lateral (
	select * from {s}dataflow_flow where id = w.id and (next_run_at <= {now} or probe_at <= {now}) limit 1 for no key update skip locked) f
order by least(f.next_run_at, f.probe_at), f.id`

// Each half is the beginning of an index, however many flows there are. The time is there
// without a flow, too.
const sqlFlowsDue = `
select now, at, id from (select {now} as now) one left join (
	(select next_run_at as at, id from {s}dataflow_flow where next_run_at <= {now} and (next_run_at, id) > ($1, $2) order by next_run_at, id limit $3)
	union all
	(select probe_at, id from {s}dataflow_flow where probe_at <= {now} and (probe_at, id) > ($1, $2) order by probe_at, id limit $3)) due on true
order by at, id limit $3`

const sqlFlowsDueOf = `
select now, at, id from (select {now} as now) one left join (
	select next_run_at as at, id from {s}dataflow_flow where id = any($4) and next_run_at <= {now} and (next_run_at, id) > ($1, $2)
	union all
	select probe_at, id from {s}dataflow_flow where id = any($4) and probe_at <= {now} and (probe_at, id) > ($1, $2)) due on true
order by at, id limit $3`

const sqlFlowNext = `
select extract(epoch from min(at) - {clock})::float8 from (
	(select next_run_at as at from {s}dataflow_flow where next_run_at > $1 order by next_run_at limit 1)
	union all
	(select probe_at from {s}dataflow_flow where probe_at > $1 order by probe_at limit 1)) next`

const sqlFlowNextOf = `
select extract(epoch from min(at) - {clock})::float8 from (
	select next_run_at as at from {s}dataflow_flow where id = any($2) and next_run_at > $1
	union all
	select probe_at from {s}dataflow_flow where id = any($2) and probe_at > $1) next`

// See sqlClaim about any(array[...]).
const sqlFlowPlan = `
update {s}dataflow_flow f
set next_run_at = p.next_run_at, probe_at = p.probe_at, schedule = coalesce(p.schedule::jsonb, f.schedule),
	schedule_at = coalesce(p.schedule_at, f.schedule_at), next_run_local = p.next_run_local
from unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::timestamptz[], $6::text[])
	as p (id, next_run_at, probe_at, schedule, schedule_at, next_run_local)
where f.id = any(array[p.id])`

// Extends the last entry of a flow if
//
//   - it has the same reason;
//   - it began after the last change of the schedule, at schedule_at;
//   - there is no run of a tick between it and the new ticks.
//
// For the other flows it adds entries. A flow has one entry among the arguments.
const sqlTickSkip = `
with skipped as (
	select * from unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::bigint[], $5::text[]) as s (flow_id, first_at, last_at, ticks, reason)
), extended as (
	update {s}dataflow_tick t set last_at = s.last_at, ticks = t.ticks + s.ticks
	from skipped s join {s}dataflow_flow f on f.id = any(array[s.flow_id]) cross join lateral (
		select id from {s}dataflow_tick where flow_id = s.flow_id order by last_at desc limit 1) l
	where t.id = any(array[l.id]) and t.reason = s.reason and t.last_at < s.first_at and t.first_at > f.schedule_at
		and not exists (select from {s}dataflow_run r
			where r.flow_id = s.flow_id and r.trigger = 'schedule' and r.scheduled_for > t.last_at and r.scheduled_for < s.first_at)
	returning t.flow_id
)
insert into {s}dataflow_tick (flow_id, first_at, last_at, ticks, reason, created_at)
select flow_id, first_at, last_at, ticks, reason, {clock} from skipped where flow_id not in (select flow_id from extended)`

const sqlTickList = `
select t.id, t.flow_id, f.name, t.first_at, t.last_at, t.ticks, t.reason, t.created_at
from {s}dataflow_tick t join {s}dataflow_flow f on f.id = t.flow_id
where ($1 = '' or f.name = $1) and ($2 = '' or t.reason = $2) and ($3 = 0 or t.id < $3)
order by t.id desc limit $4`

const sqlProcessSeen = `
insert into {s}dataflow_process as p (id, code_version, flows, queues, zone_data, polls, started_at, seen_at, until)
values ($1, $2, $3, $4, $6, $7, {now}, {now}, {now} + $5::bigint * interval '1 microsecond')
on conflict (id) do update set code_version = excluded.code_version, flows = excluded.flows, queues = excluded.queues,
	zone_data = excluded.zone_data, polls = excluded.polls,
	seen_at = excluded.seen_at, until = excluded.until`

const sqlProcessAlive = `
update {s}dataflow_process set seen_at = {now}, until = {now} + $2::bigint * interval '1 microsecond' where id = $1`

// Skips the row of a process that is just coming back. If two processes came back at once
// and each removed the other's row, they would deadlock.
const sqlProcessSweep = `
delete from {s}dataflow_process where id in (
	select id from {s}dataflow_process where until < {now} - interval '1 day' for update skip locked)`

const sqlProcessGone = `delete from {s}dataflow_process where id = $1`

const sqlProcessList = `
select id, code_version, flows, queues, zone_data::text, polls, started_at, seen_at, until
from {s}dataflow_process where until >= {now} order by id`

// Reads the clocks of a zone, by the server's own zone data.
const sqlZoneOffsets = `
select extract(epoch from (at at time zone $1) - (at at time zone 'UTC'))::int
from generate_series(0, $4::int - 1) as n, to_timestamp($2::bigint + n * $3::bigint) as at order by n`

const sqlNow = `select {now}`

// Closes the open dead letters of records of which another version is to be kept.
const sqlDeadLetterOutdated = `
update {s}dataflow_dead_letter d set state = 'resolved', closed_at = {now}, closed_by = 'run ' || l.run_id, reason = $5, retry_until = null
from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[]) as l (flow_id, run_id, identity, payload)
where d.flow_id = l.flow_id and d.identity = l.identity and d.identity <> '' and d.closed_at is null
	and case when d.edited_at is null then d.payload else d.original end::text is distinct from l.payload`

// unnest makes it one statement for any number of dead letters of different records.
const sqlDeadLetterInsert = `
insert into {s}dataflow_dead_letter as d (flow_id, run_id, stage, key, payload, error, created_at, last_at, retry_until, tries_left, sink_key, identity)
select flow_id, run_id, stage, key, payload::json, error, {now}, {now}, case when retry_for > 0 then {now} + retry_for * interval '1 microsecond' end, tries_left, sink_key, identity
from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::int[], $9::text[], $10::text[]) with ordinality
	as l (flow_id, run_id, stage, key, payload, error, retry_for, tries_left, sink_key, identity, n) order by n
on conflict (flow_id, identity) where closed_at is null and identity <> '' do update set
	times = d.times + 1, last_at = {now}, run_id = excluded.run_id, stage = excluded.stage, error = excluded.error,
	retry_until = case when d.edited_at is null then excluded.retry_until end, tries_left = excluded.tries_left, sink_key = excluded.sink_key,
	payload = case when d.edited_at is null then excluded.payload else d.payload end`

const sqlDeadLetterColumns = `
select l.id, l.flow_id, f.name, l.run_id, l.stage, l.key, l.payload::text, l.error, l.created_at, l.retry_until, l.tries_left, l.tries, l.sink_key,
	l.state, l.closed_at, l.closed_by, l.reason, l.identity, l.times, coalesce(l.last_at, l.created_at), l.original::text, l.edited_at, l.edited_by
from {s}dataflow_dead_letter l join {s}dataflow_flow f on f.id = l.flow_id`

const sqlDeadLetterHeld = sqlDeadLetterColumns + `
where l.flow_id = $1 and l.retry_until is not null and l.id > $2
order by l.id limit $3`

const sqlDeadLetterReplayed = `
update {s}dataflow_dead_letter set state = 'replayed', closed_at = {now}, closed_by = $3, reason = $4, retry_until = null
where id = $1 and closed_at is null and (not $2 or retry_until is not null)`

const sqlDeadLetterEdit = `
update {s}dataflow_dead_letter set original = case when edited_at is null then payload else original end, payload = $2::json,
	edited_at = {now}, edited_by = $3, retry_until = null
where id = $1 and closed_at is null`

// Those with an id, those of a record, and those that a run has not kept.
const (
	sqlDeadLetterClose = `
update {s}dataflow_dead_letter set state = $2, closed_at = {now}, closed_by = $3, reason = $4, retry_until = null
where flow_id = $1 and closed_at is null`
	sqlDeadLetterCloseIDs     = sqlDeadLetterClose + ` and id = any($5::bigint[])`
	sqlDeadLetterCloseRecords = sqlDeadLetterClose + ` and identity <> '' and identity = any($5::text[])`
	sqlDeadLetterCloseOthers  = sqlDeadLetterClose + ` and run_id <> $5`
)

const sqlDeadLetterRecords = `
select identity, key from {s}dataflow_dead_letter
where flow_id = $1 and closed_at is null and identity <> '' and identity > $2 order by identity limit $3`

const sqlDeadLetterTried = `
update {s}dataflow_dead_letter
set tries = tries + 1, tries_left = greatest(tries_left - 1, 0), error = $2,
	retry_until = case when tries_left > 1 and retry_until > {now} then retry_until end
where id = $1 and retry_until is not null and (not $3 or retry_until <= {now})`

const sqlDeadLetterSuperseded = `
update {s}dataflow_dead_letter set retry_until = null, error = error || $4
where flow_id = $1 and retry_until is not null and sink_key = any ($2::text[]) and ($3 = 0 or id < $3)`

// Four kinds of runs are kept: the last successful run of a flow that is no backfill, for
// ever, a run whose end is still to be told, a run with a dead letter that is kept, and a range of
// a backfill that goes on, or of a first load that has not moved its flow's cursor yet.
const (
	runIsUntold = `(r.callback_at is not null and r.callback_at < '9999-12-31 00:00:00+00' and exists (select from {s}dataflow_flow k where k.id = r.flow_id and k.callback_until > {now}))`
	rangeIsKept = `(r.scope <> '' and (
		exists (select from {s}dataflow_run o where o.flow_id = r.flow_id and o.state = 'in_progress' and split_part(o.scope, '/', 1) = split_part(r.scope, '/', 1))
		or exists (select from {s}dataflow_run o where o.flow_id = r.flow_id and o.state = 'pending' and split_part(o.scope, '/', 1) = split_part(r.scope, '/', 1))
		or r.trigger = 'first_load' and not exists (select from {s}dataflow_checkpoint c where c.flow_id = r.flow_id and c.scope = '' and c.partition = '' and c.cursor is not null)))`
	letterIsKept = `case when d.closed_at is not null then $3::bigint < 0 or d.closed_at >= {now} - $3::bigint * interval '1 microsecond'
		else $4::bigint < 0 or coalesce(d.retry_until >= {now}, false) or coalesce(d.last_at, d.created_at) >= {now} - $4::bigint * interval '1 microsecond' end`
	runIsOld = `r.ended_at is not null and r.state = $1 and r.ended_at < {now} - $2::bigint * interval '1 microsecond'`
)

// Counts all old runs, and takes off those that are kept. Few are.
const sqlRunPruneCount = `
select (select count(*) from {s}dataflow_run r where ` + runIsOld + `)
	- (select count(*) from {s}dataflow_run r where ` + runIsOld + ` and r.id in (
		select last_success_run from {s}dataflow_flow
		union
		select r.id from {s}dataflow_run r where ` + runIsUntold + `
		union
		select d.run_id from {s}dataflow_dead_letter d where ` + letterIsKept + `
		union
		select r.id from {s}dataflow_run r where r.flow_id in (
			select o.flow_id from {s}dataflow_run o where o.state = 'in_progress' and o.scope <> ''
			union
			select o.flow_id from {s}dataflow_run o where o.state = 'pending' and o.scope <> '') and ` + rangeIsKept + `
		union
		select r.id from {s}dataflow_run r where r.state = $1 and r.ended_at is not null and r.trigger = 'first_load' and ` + rangeIsKept + `))`

const sqlRunsOld = `
select r.id, r.flow_id, r.ended_at from {s}dataflow_run r
where ` + runIsOld + ` and (r.ended_at, r.id) > (coalesce($3::timestamptz, '-infinity'), $4::bigint)
order by r.ended_at, r.id limit $5`

// What is kept is looked up once for all runs, and not for each. The case keeps the planner from reading all that
// ended instead of the runs by their ids. The totals are locked in one order, so that two removals at once do not
// deadlock.
const sqlRunPrune = `
with gone as (
	delete from {s}dataflow_run r
	where r.id = any($5::bigint[])
		and case when r.state = $1 then r.ended_at < {now} - $2::bigint * interval '1 microsecond' else false end
		and r.id not in (select k.last_success_run from {s}dataflow_flow k where k.id = any($6::bigint[]) and k.last_success_run is not null)
		and r.id not in (select d.run_id from {s}dataflow_dead_letter d where d.run_id = any($5::bigint[]) and ` + letterIsKept + `)
		and not ` + runIsUntold + ` and not ` + rangeIsKept + `
	returning r.flow_id, r.state, r.started_at, r.ended_at, r.read, r.written, r.redundant, r.filtered, r.dropped, r.dead_lettered, r.updated, r.read_again
), total as (
	insert into {s}dataflow_total as t (flow_id, day, state, runs, ` + totalColumns + `)
	select flow_id, (ended_at at time zone 'utc')::date, state, count(*), ` + totalSums + `
	from gone group by 1, 2, 3 order by 1, 2, 3
	on conflict (flow_id, day, state) do update set runs = t.runs + excluded.runs, read = t.read + excluded.read,
		written = t.written + excluded.written, redundant = t.redundant + excluded.redundant, filtered = t.filtered + excluded.filtered,
		dropped = t.dropped + excluded.dropped, dead_lettered = t.dead_lettered + excluded.dead_lettered,
		updated = t.updated + excluded.updated, read_again = t.read_again + excluded.read_again, busy_us = t.busy_us + excluded.busy_us
)
select count(*) from gone`

const (
	totalColumns = `read, written, redundant, filtered, dropped, dead_lettered, updated, read_again, busy_us`
	totalSums    = `sum(read), sum(written), sum(redundant), sum(filtered), sum(dropped), sum(dead_lettered), sum(updated), sum(read_again),
		sum(case when started_at is null then 0 else extract(epoch from ended_at - started_at) * 1000000 end)::bigint`
)

// The runs that are still there are added up now.
const sqlTotalList = `
with t as (
	select flow_id, day, state, runs, ` + totalColumns + ` from {s}dataflow_total
	where day between $2::date and $3::date and ($1 = 0 or flow_id = $1)
	union all
	select flow_id, (ended_at at time zone 'utc')::date, state, count(*), ` + totalSums + ` from {s}dataflow_run
	where ended_at >= $2::date::timestamp at time zone 'utc' and ended_at < ($3::date + 1)::timestamp at time zone 'utc' and ($1 = 0 or flow_id = $1)
		and state in ('success', 'failed', 'cancelled')
	group by 1, 2, 3
)
select t.flow_id, f.name, t.day::text, t.state, sum(runs)::bigint, sum(read)::bigint, sum(written)::bigint, sum(redundant)::bigint, sum(filtered)::bigint,
	sum(dropped)::bigint, sum(dead_lettered)::bigint, sum(updated)::bigint, sum(read_again)::bigint, sum(busy_us)::bigint
from t join {s}dataflow_flow f on f.id = t.flow_id
group by t.flow_id, f.name, t.day, t.state order by t.day, f.name, t.state`

const sqlUpkeepTake = `
insert into {s}dataflow_upkeep as u (task, worker, until, next_at) values ($1, $2, {clock} + $3::bigint * interval '1 microsecond', {clock})
on conflict (task) do update set worker = excluded.worker, until = excluded.until
where u.next_at <= {clock} and (u.worker in ('', excluded.worker) or u.until < {clock})`

const sqlUpkeepDone = `
update {s}dataflow_upkeep set worker = '', until = {clock}, next_at = {clock} + $3::bigint * interval '1 microsecond' where task = $1 and worker = $2`

// Removes the checkpoints of backfills that have no runs left: no run will continue there.
const sqlScopePrune = `
delete from {s}dataflow_checkpoint c where c.scope <> '' and not exists (
	select from {s}dataflow_run r where r.flow_id = c.flow_id and r.scope = c.scope and r.scope <> '')`

const sqlTickPrunable = ` from {s}dataflow_tick where last_at < {now} - $1::bigint * interval '1 microsecond'`

const sqlTickPruneCount = `select count(*)` + sqlTickPrunable

// A removal beside it has locked other rows. If it waited for that one, it would find them gone, and
// end with less than it may remove: as if nothing more were old.
const sqlTickPrune = `
with old as materialized (select id` + sqlTickPrunable + ` order by id limit $2 for update skip locked)
delete from {s}dataflow_tick where id in (select id from old)`

// Those that were closed, and those that are open. One that is still tried again is kept.
const letterIsPrunable = `($1::bigint >= 0 and closed_at < {now} - $1::bigint * interval '1 microsecond'
	or $2::bigint >= 0 and closed_at is null and coalesce(last_at, created_at) < {now} - $2::bigint * interval '1 microsecond'
		and (retry_until is null or retry_until < {now}))`

const sqlDeadLetterPruneCount = `select count(*) from {s}dataflow_dead_letter where ` + letterIsPrunable

// A run may keep the record again meanwhile, which makes its dead letter young. The lock looks at the
// row once more, and skips as sqlTickPrune says.
const sqlDeadLetterPrune = `
with old as materialized (
	select id from {s}dataflow_dead_letter where ` + letterIsPrunable + ` order by id limit $3 for update skip locked)
delete from {s}dataflow_dead_letter where id in (select id from old)`
