alter table dataflow_flow add column schedule text not null default '{}';
alter table dataflow_flow add column schedule_at text not null default '1970-01-01 00:00:00.000';
alter table dataflow_flow add column pause_after integer not null default 0;
alter table dataflow_flow add column probe_after text not null default '0';
alter table dataflow_flow add column tripped_at text;
alter table dataflow_flow add column tripped_reason text not null default '';
alter table dataflow_flow add column probe_at text;

-- Paused flows are included: their ticks are accounted for.
drop index dataflow_flow_next_run;
create index dataflow_flow_next_run on dataflow_flow (next_run_at) where next_run_at is not null;
create index dataflow_flow_probe on dataflow_flow (probe_at) where probe_at is not null;

-- At most one run for each tick, for ever.
create unique index dataflow_run_tick on dataflow_run (flow_id, scheduled_for) where trigger = 'schedule';

-- The processes that work runs, and until when they count as alive.
create table dataflow_process (
    id text primary key,
    code_version text not null default '',
    flows text not null,
    queues text,
    started_at text not null,
    seen_at text not null,
    until text not null
);
