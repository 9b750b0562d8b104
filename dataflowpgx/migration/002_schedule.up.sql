alter table {s}dataflow_flow
    add column schedule jsonb not null default '{}',
    add column schedule_at timestamptz not null default now(),
    add column pause_after integer not null default 0,
    add column probe_after bigint not null default 0,
    add column tripped_at timestamptz,
    add column tripped_reason text not null default '',
    add column probe_at timestamptz;

-- Paused flows are included: their ticks are accounted for.
drop index {s}dataflow_flow_next_run;
create index dataflow_flow_next_run on {s}dataflow_flow (next_run_at) where next_run_at is not null;
create index dataflow_flow_probe on {s}dataflow_flow (probe_at) where probe_at is not null;

-- At most one run for each tick, for ever.
create unique index dataflow_run_tick on {s}dataflow_run (flow_id, scheduled_for) where trigger = 'schedule';

-- The processes that work runs, and until when they count as alive.
create table {s}dataflow_process (
    id text primary key,
    code_version text not null default '',
    flows text[] not null,
    queues text[],
    started_at timestamptz not null,
    seen_at timestamptz not null,
    until timestamptz not null
);
