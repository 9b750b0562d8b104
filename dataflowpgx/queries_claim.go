package dataflowpgx

import "strings"

// Claims. sqlClaim is the claim of many runs. A part that cannot be had at once is left out:
// the flow that another claim is at, or a row that another transaction has locked. Such a run
// is answered as busy. So no statement for many waits for anybody, and none can deadlock.
//
// The state that a run must have is a column, and not a constant. Otherwise the planner might
// read one of the indexes of all runs in that state, because it takes them for few. The limit of
// one makes it look for each run by its id: it does not turn a join around a limit.
//
// A row that is updated is joined by any(array[...]) of its id. That is no join that can be made by reading both
// sides in order, so the planner does not read the whole index instead. It would do so by a plan that was made while
// the table was empty.
//
// The arrays come through a select, so that the planner does not see how long they are. It
// then makes the same plan for one run as for a hundred, and keeps it: making the plan takes
// longer than the claim.
//
// Claims of one flow exclude each other by an advisory lock, which sqlClaimLock takes. It is a
// statement of its own, sent together with the claim, so that the claim sees the tables as they
// are after that: what earlier claims of the flow have committed. It keeps the flows that it has
// locked in a setting that ends with the transaction. Otherwise two claims could take the same
// slot, and the later one would wait at the unique index, with its checkpoint locked, for a
// transaction that waits for the checkpoint.
//
// A flow's new run leaves a slot in its queue to each run that lost its worker. One that is no tick
// does so for the time of a lease, as perhaps no process there is can work those. Otherwise a
// process that starts runs of the flow back to back would take each slot as soon as it is free. In a set, runs that
// were worked before come first, so only those outside of the set need a slot left. Runs that leave none come next:
// one that is not claimed keeps no other from a slot.
//
// A flow with one slot has an order within a queue. A tick's run waits for the runs of earlier
// ticks. A backfill without slots of its own waits for the flow's own runs.
//
// A run's trigger is compared with another's, so that the planner does not take
// the index of all ticks that ever were. In their order, it takes the index that has it. With an offset, it looks
// for the flow's own runs by their flow. Otherwise it might read all that wait, of all flows, and remember them.
//
// The claim of many is busy with a run whose flow has a group. See groupHasRoom.
//
// The claim clears the unique key, so that another run can wait while this one is worked.
// Moving the sequence number of the checkpoint fences off the flow's previous worker: its
// next checkpoint finds no row. The run is locked before the checkpoint. The checkpoint is made or moved by
// one insert, which looks for each by its key.
//
//nolint:gochecknoglobals // nothing changes it
var sqlClaim = `
with item as materialized (
	select *, 'pending' as was
	from unnest((select $1::bigint[]), (select $2::integer[]), (select $3::integer[]), (select $4::boolean[]), (select $5::bigint[]))
		with ordinality as i (id, slots, backfills, restart, flow_id, n)
), held as materialized (
	select r.*, i.slots, i.backfills, i.restart, i.n, i.was
	from item i cross join lateral (
		select r.id, r.flow_id, r.scope, r.trigger, r.lease_no, r.scheduled_for, r.created_at, r.queue, r.from_cursor, f.name
		from ` + dueRun + `
			and r.flow_id = any(coalesce((select string_to_array(current_setting('dataflow.claim', true), ',')::bigint[]), '{}')) and r.rescues < $9{grouped}{room}
		limit 1{held}) r
), ranked as (
	select r.*, ` + hasBackfillSlot + ` as apart, ` + slotLimit + ` - t.count - l.slots as room, t.slots as taken,
		row_number() over (partition by r.flow_id, ` + hasBackfillSlot + ` order by r.scope <> '', r.lease_no = 0, l.slots, r.id) as place
	from held r cross join lateral (select r.slots, r.backfills) s cross join lateral (
		select coalesce(array_agg(o.slot), '{}') as slots,
			count(*) filter (where case when r.scope = '' then o.slot < 1000 when r.backfills > 0 then o.scope <> '' else true end) as count
		from {s}dataflow_run o where o.flow_id = r.flow_id and o.state = 'in_progress') t
	cross join lateral (select ` + slotsLeft("$7") + ` as slots) l
	where ` + itsTurn + `
), slotted as materialized (
	select r.*, (select n from generate_series(case when r.apart then 1000 else 0 end,
				case when r.apart then 999 + r.backfills else r.slots - 1 end) n
			where n <> all(r.taken)
			order by n offset r.place - 1 limit 1) as slot
	from ranked r where r.place <= r.room
), placed as materialized (
	select p.*, case when p.scope = '' and p.slot > 0 then 'slot ' || p.slot else '' end as partition,
		row_number() over (partition by p.flow_id, p.scope, case when p.scope = '' then p.slot end order by p.id) as turn
	from slotted p
){reached}, free as ({free}
), claimed as (
	update {s}dataflow_run r
	set state = 'in_progress', slot = i.slot,
		unique_key = null, waits_for = '', waits_since = null, attempt = r.attempt + 1, worker = $6,
		lease_no = r.lease_no + 1, lease_until = {now} + $7::bigint * interval '1 microsecond',
		started_at = coalesce(r.started_at, {clock}), code_version = $8,
		read = case when i.restart then 0 else r.read end, written = case when i.restart then 0 else r.written end,
		redundant = case when i.restart then 0 else r.redundant end, filtered = case when i.restart then 0 else r.filtered end,
		dropped = case when i.restart then 0 else r.dropped end, dead_lettered = case when i.restart then 0 else r.dead_lettered end,
		updated = case when i.restart then 0 else r.updated end, read_again = case when i.restart then 0 else r.read_again end
	from free i
	where r.id = any(array[i.id]) and r.state = i.was and r.lease_no = i.lease_no
	returning r.*, i.partition, i.known, i.n, i.name, i.next_seq, i.at_cursor, i.at_set_seq
), made as (
	insert into {s}dataflow_checkpoint as c (flow_id, scope, partition, seq, cursor, updated_at)
	select flow_id, scope, partition, 1, case when scope <> '' then from_cursor end, {now} from claimed
	on conflict (flow_id, scope, partition) do update set seq = c.seq + 1
	returning c.flow_id, c.scope, c.partition, c.seq, c.cursor, c.set_seq
)
select ` + runColumns + `, r.next_seq, r.at_cursor::text, r.at_set_seq, r.n
from claimed r, lateral (select r.name) f
where r.known
union all
select ` + runColumns + `, a.seq, a.cursor::text, a.set_seq, r.n
from claimed r join made a on a.flow_id = r.flow_id and a.scope = r.scope and a.partition = r.partition, lateral (select r.name) f
where not r.known
union all
select ` + noRun + `, null, null, null, i.n
from item i
where i.id not in (select id from claimed) and (i.id in (select id from placed)
	or i.id not in (select id from held) and exists (select from ` + dueRun + `))`

// itsTurn says that no other run of the flow goes before a run r in the order of its queue.
const itsTurn = `not (s.slots = 1 and r.trigger = 'schedule' and r.lease_no = 0 and (select true from {s}dataflow_run o
			where o.flow_id = r.flow_id and o.state = 'pending' and o.trigger = r.trigger and o.lease_no = 0
				and o.scheduled_for < r.scheduled_for and o.queue = r.queue
			order by o.scheduled_for limit 1) is not null)
		and not (s.slots = 1 and s.backfills = 0 and r.scope <> '' and exists (select from {s}dataflow_run o
			where o.flow_id = r.flow_id and o.state = 'pending' and o.scope = '' and o.run_after <= {now} and o.queue = r.queue offset 0))`

// slotsLeft is how many slots a run r must leave to runs of its flow that lost their workers. The parameter is the
// lease in microseconds.
func slotsLeft(lease string) string {
	return `case when r.scope = '' and r.lease_no = 0 and (r.trigger = 'schedule' or r.created_at > {now} - ` + lease + `::bigint * interval '1 microsecond')
		then (select count(*) from {s}dataflow_run o
			where o.flow_id = r.flow_id and o.state = 'pending' and o.scope = '' and o.rescues > 0 and o.run_after <= {now} and o.queue = r.queue{others})
		else 0 end`
}

// Both leave out the runs o that are claimed themselves: those of a set, and the one run r.
const (
	notHeld = "\n\t\t\t\tand o.id not in (select id from held)"
	notSelf = " and o.id <> r.id"
)

// dueRun is the run of an item i, if it can be claimed once its flow has a place for it.
const dueRun = `{s}dataflow_run r join {s}dataflow_flow f on f.id = any(array[r.flow_id])
		where r.id = i.id and r.state = i.was and r.run_after <= {now} and f.state = 'active' and (i.flow_id = 0 or r.flow_id = i.flow_id)`

// noRun has a null for each of runColumns.
//
//nolint:gochecknoglobals // a constant
var noRun = strings.TrimSuffix(strings.Repeat("null, ", 1+strings.Count(runColumns, "r.")), ", ")

// sqlByIndexes keeps the planner from reading whole tables, for the statements that follow in the
// transaction: a plan that was made while a table was small is kept, and is then used for a large
// one. It is kept from the first time on, because making it takes longer than the statement. Without
// that, a connection makes it anew five times.
const sqlByIndexes = `select set_config('enable_seqscan', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)`

// sqlKeepSettings keeps what sqlByIndexes sets, until the end of the transaction, and sqlRestoreSettings sets it again.
const (
	sqlKeepSettings    = `select set_config('dataflow.seqscan', current_setting('enable_seqscan'), true), set_config('dataflow.plans', current_setting('plan_cache_mode'), true)`
	sqlRestoreSettings = `select set_config('enable_seqscan', current_setting('dataflow.seqscan'), true), set_config('plan_cache_mode', current_setting('dataflow.plans'), true)`
)

// sqlClaimLock locks the flows of runs for their claim, and keeps their ids. One that is locked
// already is left out by {lock} of many runs, and waited for by that of one.
const sqlClaimLock = `
select set_config('dataflow.claim', coalesce(string_agg(flow_id::text, ','), ''), true)
from (select distinct case when i.flow_id <> 0 then i.flow_id else (select r.flow_id from {s}dataflow_run r where r.id = i.id) end as flow_id
	from unnest((select $1::bigint[]), (select $2::bigint[])) i (id, flow_id) order by 1) f
where {lock}(1684107116, (flow_id % 2147483647)::integer){locked}`

// checkpointOf is the checkpoint of a run p. The limit makes the planner look for each one by its key. With a
// join, a plan that was made while there were few checkpoints reads all of them for each run.
const checkpointOf = `{s}dataflow_checkpoint c
		where c.flow_id = p.flow_id and c.scope = p.scope and c.partition = p.partition
		limit 1`

// The runs whose checkpoints a claim of many has locked, and those that have none yet.
const (
	sqlReached = `, reached as materialized (
	select p.*, c.seq + 1 as next_seq, c.cursor as at_cursor, c.set_seq as at_set_seq
	from placed p cross join lateral (
		select c.seq, c.cursor, c.set_seq from ` + checkpointOf + ` for no key update skip locked) c
	where p.turn = 1
)`
	sqlFreeMany = `
	select *, true as known from reached
	union all
	select p.*, null, null, null, false from placed p
	where p.turn = 1 and p.n not in (select n from reached) and (select true from ` + checkpointOf + `) is null`

	sqlFreeOne = `
	select p.*, null::bigint as next_seq, null::json as at_cursor, null::bigint as at_set_seq, false as known from placed p
	where p.turn = 1`
)

// The claim of many runs, and that of one, which waits for its turn. That of one locks a row
// only when it updates it: a statement that waits for a row, and updates it later, can deadlock
// with others that wait for the row.
//
//nolint:gochecknoglobals // constants
var (
	many = strings.NewReplacer(
		"{lock}", "pg_try_advisory_xact_lock", "{locked}", "",
		"{grouped}", " and f.group_name = ''", "{room}", "", "{others}", notHeld, "{held}", " for no key update of r skip locked", "{reached}", sqlReached, "{free}", sqlFreeMany)
	one = strings.NewReplacer("{lock}", "pg_advisory_xact_lock", "{locked}", " is not null",
		"{grouped}", "", "{room}", "\n\t\tand "+groupHasRoom, "{others}", notSelf, "{held}", "", "{reached}", "", "{free}", sqlFreeOne)

	claimMany = claimSQL{lock: many.Replace(sqlClaimLock), claim: many.Replace(sqlClaim)}
	claimOne  = claimSQL{group: sqlGroupLock, lock: one.Replace(sqlClaimLock), claim: one.Replace(sqlClaim), ask: one.Replace(sqlGroupAsk)}
)

// claimSQL are the statements of a claim, which are sent together, in this order, after
// sqlByIndexes. Those about the group are for one run alone.
type claimSQL struct{ group, lock, claim, ask string }

// What the end of an attempt changes in its run, r, and in its flow, f. Their new values are
// those of i; callback_until is the flow's.
//
// The flow trips after pause_after failures in a row: its ticks then start no runs. Each
// further failure postpones the next probe.
const (
	endOfRun = `state = i.state, slot = null, lease_until = null, waits_for = '', waits_since = null,
	ended_at = case when i.state = 'pending' then null else {clock} end,
	callback_at = case when i.state <> 'pending' and callback_until > {clock} then {clock} end,
	run_after = case when i.state = 'pending' and not i.rescue then {now} + i.delay * interval '1 microsecond' else r.run_after end,
	attempt = case when i.refund then r.attempt - 1 else r.attempt end,
	error = case when i.refund and i.message = '' then r.error else i.message end,
	errors = case when i.history is null then r.errors else r.errors || i.history::jsonb end,
	rescues = case when i.rescue then r.rescues + 1 else r.rescues end`

	endOfFlow = `last_run_at = {now}, last_error = case when i.state = 'cancelled' then f.last_error else i.message end,
	last_success_at = case when i.state = 'success' then {now} else f.last_success_at end,
	last_success_run = case when i.state = 'success' then i.id else f.last_success_run end,
	failures = case i.state when 'success' then 0 when 'failed' then f.failures + 1 else f.failures end,
	tripped_at = case when i.state = 'success' then null
		when i.state = 'failed' and f.pause_after > 0 and f.failures + 1 >= f.pause_after then coalesce(f.tripped_at, {now}) else f.tripped_at end,
	tripped_reason = case when i.state = 'success' then ''
		when i.state = 'failed' and f.pause_after > 0 and f.failures + 1 >= f.pause_after
		then format('%s; run %s with: %s', case f.failures when 0 then 'a run has failed' else format('%s runs have failed in a row', f.failures + 1) end, i.id, i.message)
		else f.tripped_reason end,
	probe_at = case when i.state = 'success' then null
		when i.state = 'failed' and f.pause_after > 0 and f.failures + 1 >= f.pause_after
		then case when f.probe_after > 0 then {now} + f.probe_after * interval '1 microsecond' end else f.probe_at end`
)

const sqlRunEnd = `
with i (id, lease_no, state, delay, refund, message, history, rescue) as (values ($1::bigint, $2::bigint, $3::text, $4::bigint, $5::boolean, $6::text, $7::text, $8::boolean))
update {s}dataflow_run r set ` + endOfRun + `
from i, {s}dataflow_flow f
where r.id = i.id and r.lease_no = i.lease_no and r.state = 'in_progress' and f.id = r.flow_id
returning ` + runColumns

// Locks the flow before sqlFlowNote updates it. The two are separate statements. A single
// statement that waits for a row and then updates it goes back to the row version that it saw
// first. Other transactions that wait for the lock may queue for that version.
const sqlFlowTripped = `select tripped_at is not null from {s}dataflow_flow where id = $1 for no key update`

// Returns whether the flow is tripped now.
const sqlFlowNote = `
with i (state, message, id) as (values ($2::text, $3::text, $4::bigint))
update {s}dataflow_flow f set ` + endOfFlow + `
from i where f.id = $1
returning f.tripped_at is not null`

// Forgets the failures of a flow of which a run works again. As a rule there are none.
const sqlFlowWorks = `
update {s}dataflow_flow set failures = 0, last_error = '', tripped_at = null, tripped_reason = '', probe_at = null
where id = $1 and (failures > 0 or last_error <> '' or tripped_at is not null)`

// Ends many runs, at most one of each flow. A run is answered as busy, and is left as it is,
// if another transaction has locked it or its flow. So this waits for nobody.
//
//nolint:gochecknoglobals // nothing changes it
var sqlEndMany = `
with item as materialized (
	select *, 'in_progress' as was from unnest((select $1::bigint[]), (select $2::bigint[]), (select $3::text[]), (select $4::bigint[]),
		(select $5::boolean[]), (select $6::text[]), (select $7::text[]), (select $8::boolean[]), (select $9::integer[]))
		with ordinality as i (id, lease_no, state, delay, refund, message, history, rescue, backfills, n)
), held as materialized (
	select i.*, r.*
	from item i cross join lateral (
		select r.flow_id, r.scope, f.name, f.tripped_at is not null as tripped, f.callback_until
		from ` + heldRun + `
		limit 1 for no key update of r, f skip locked) r
), ended as (
	update {s}dataflow_run r set ` + endOfRun + `
	from held i where r.id = any(array[i.id])
	returning r.*, i.name, i.message, i.refund, i.tripped, i.backfills, i.n
), noted as (
	update {s}dataflow_flow f set ` + endOfFlow + `
	from ended i where f.id = any(array[i.flow_id]) and i.scope = '' and not i.refund
	returning i.n, f.tripped_at is not null and not i.tripped as trips
)
select ` + runColumns + `, r.n in (select n from noted where trips), coalesce(w.id, 0), coalesce(w.max_attempts, 0), r.n
from ended r cross join lateral (select r.name) f left join lateral (` + nextRun + `) w on true
union all
select ` + noRun + `, null, null, null, i.n
from item i where i.id not in (select id from held) and exists (select from ` + heldRun + `)`

// heldRun is the run of an item i, if its claim still holds it.
const heldRun = `{s}dataflow_run r join {s}dataflow_flow f on f.id = any(array[r.flow_id])
		where r.id = i.id and r.lease_no = i.lease_no and r.state = i.was`

// The run that waits longest in the lane of a run r that has ended, unless its River job is in
// line to be worked: r needs no other then. The length of the queue says that there is one, and does not
// let the planner use dataflow_run_due, which has the runs of all flows.
const (
	nextRun = `
	select o.id, o.max_attempts from (
		select o.id, o.max_attempts, o.river_job_id from {s}dataflow_run o
		where o.flow_id = r.flow_id and o.state = 'pending' and length(o.queue) > 0 and o.run_after <= {now} and o.id <> r.id
			and (o.scope <> '' and r.backfills > 0) = (r.scope <> '' and r.backfills > 0)
		order by o.scheduled_for, o.id limit 1
	) o left join lateral (select j.state, j.scheduled_at from {s}river_job j where j.id = o.river_job_id limit 1) j on true
	where j.state is null or j.state <> 'available' or j.scheduled_at > now()`

	sqlRunNext = `select w.id, w.max_attempts from (select $1::bigint as id, $2::bigint as flow_id, $3::text as scope, $4::integer as backfills) r, lateral (` + nextRun + `) w`
)
