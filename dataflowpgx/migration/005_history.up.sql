-- Lists of ended runs. A run enters these indexes once, when it ends.
drop index {s}dataflow_run_flow;
drop index {s}dataflow_run_ended;
create index dataflow_run_flow_ended on {s}dataflow_run (flow_id, state, trigger, id) where ended_at is not null;
create index dataflow_run_all_ended on {s}dataflow_run (state, trigger, id) where ended_at is not null;
create index dataflow_run_ended on {s}dataflow_run (state, ended_at, id) where ended_at is not null;

-- The last success of a flow's own runs, which is never removed.
alter table {s}dataflow_flow add column last_success_run bigint;
update {s}dataflow_flow f set last_success_run = r.id
from (select distinct on (flow_id) flow_id, id from {s}dataflow_run
    where state = 'success' and scope = '' order by flow_id, ended_at desc, id desc) r
where r.flow_id = f.id;

-- What the removed runs of a day did. Days are in UTC.
create table {s}dataflow_total (
    flow_id bigint not null references {s}dataflow_flow (id),
    day date not null,
    state text not null,
    runs bigint not null,
    read bigint not null,
    written bigint not null,
    redundant bigint not null,
    filtered bigint not null,
    dropped bigint not null,
    dead_lettered bigint not null,
    updated bigint not null,
    busy_us bigint not null,
    primary key (flow_id, day, state)
);

-- The work that one process at a time does for all.
create table {s}dataflow_upkeep (
    task text primary key,
    worker text not null,
    until timestamptz not null,
    next_at timestamptz not null
);
