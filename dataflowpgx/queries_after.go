package dataflowpgx

// The statements of flows that follow others.

// Keeps others from changing which flow follows which, so that two at once cannot close a circle.
const sqlAfterLock = `lock table {s}dataflow_after in share row exclusive mode`

// A flow that follows the same one as before keeps its place.
const sqlAfterSet = `
insert into {s}dataflow_after as a (flow_id, upstream, only_if_rows, seen_run, seen_rows)
select $1::bigint, $2::text, $3::boolean, coalesce(u.last_success_run, 0), coalesce(` + rowsWritten + `, 0)
from (select) one left join {s}dataflow_flow u on u.name = $2::text
on conflict (flow_id) do update set upstream = excluded.upstream, only_if_rows = excluded.only_if_rows,
	seen_run = case when a.upstream = excluded.upstream then a.seen_run else excluded.seen_run end,
	seen_rows = case when a.upstream = excluded.upstream then a.seen_rows else excluded.seen_rows end`

const sqlAfterDelete = `delete from {s}dataflow_after where flow_id = $1`

const sqlAfterChain = `
with recursive up (name, n) as (
	select a.upstream, 1 from {s}dataflow_after a join {s}dataflow_flow f on f.id = a.flow_id where f.name = $1
	union all
	select a.upstream, up.n + 1 from up join {s}dataflow_flow f on f.name = up.name join {s}dataflow_after a on a.flow_id = f.id
	where up.name <> $1 and up.n < 10000
)
select name from up order by n`

// The rows that the runs and the dead letters of flow u have written, except the runs of backfills.
const rowsWritten = `(select sum(c.written) from {s}dataflow_checkpoint c where c.flow_id = u.id and c.scope = '')`

// The success of a run is in its flow's row, in the commit that ended the run.
const sqlAfterDue = `
select a.flow_id, a.upstream, u.last_success_run, coalesce(` + rowsWritten + `, 0)::bigint
from {s}dataflow_after a join {s}dataflow_flow f on f.id = a.flow_id join {s}dataflow_flow u on u.name = a.upstream
where ($1 = 0 and f.state = 'active' or a.flow_id = $1) and u.last_success_run <> a.seen_run
	and (not a.only_if_rows or coalesce(` + rowsWritten + `, 0) > a.seen_rows)
order by a.flow_id`

const sqlAfterDone = `update {s}dataflow_after set seen_run = $2, seen_rows = $3 where flow_id = $1`

const sqlAfterWrote = `
insert into {s}dataflow_checkpoint as c (flow_id, written, updated_at) values ($1, $2, {now})
on conflict (flow_id, scope, partition) do update set written = c.written + excluded.written`

const sqlAfterGet = `
select a.upstream, a.only_if_rows, u.id is not null, coalesce(u.last_success_run, 0)
from {s}dataflow_after a left join {s}dataflow_flow u on u.name = a.upstream where a.flow_id = $1`
