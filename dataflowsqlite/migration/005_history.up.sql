-- Lists of ended runs. A run enters these indexes once, when it ends.
drop index dataflow_run_flow;
drop index dataflow_run_ended;
create index dataflow_run_flow_ended on dataflow_run (flow_id, state, trigger, id) where ended_at is not null;
create index dataflow_run_all_ended on dataflow_run (state, trigger, id) where ended_at is not null;
create index dataflow_run_ended on dataflow_run (state, ended_at, id) where ended_at is not null;

-- The last success of a flow's own runs, which is never removed.
alter table dataflow_flow add column last_success_run integer;
update dataflow_flow set last_success_run = (
    select id from dataflow_run r where r.flow_id = dataflow_flow.id and r.state = 'success' and r.scope = ''
    order by r.ended_at desc, r.id desc limit 1);

-- What the removed runs of a day did. Days are in UTC.
create table dataflow_total (
    flow_id integer not null references dataflow_flow (id),
    day text not null,
    state text not null,
    runs integer not null,
    read integer not null,
    written integer not null,
    redundant integer not null,
    filtered integer not null,
    dropped integer not null,
    dead_lettered integer not null,
    updated integer not null,
    busy_us integer not null,
    primary key (flow_id, day, state)
);

-- The work that one process at a time does for all.
create table dataflow_upkeep (
    task text primary key,
    worker text not null,
    until text not null,
    next_at text not null
);
