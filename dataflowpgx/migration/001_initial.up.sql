create table {s}dataflow_flow (
    id bigint generated always as identity primary key,
    name text collate "C" not null unique,
    source jsonb not null,
    sink jsonb not null,
    runtime jsonb not null,
    guarantee text not null,
    state text not null default 'active' check (state in ('active', 'inactive')),
    state_by text not null default '',
    state_reason text not null default '',
    state_at timestamptz,
    next_run_at timestamptz,
    last_run_at timestamptz,
    last_success_at timestamptz,
    last_error text not null default '',
    failures integer not null default 0,
    code_version text not null default '',
    definition_hash text not null default '',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (length(name) between 1 and 200)
);

create index dataflow_flow_next_run on {s}dataflow_flow (next_run_at) where state = 'active';

create table {s}dataflow_run (
    id bigint generated always as identity primary key,
    flow_id bigint not null references {s}dataflow_flow (id),
    state text not null default 'pending'
        check (state in ('pending', 'in_progress', 'success', 'failed', 'cancelled')),
    trigger text not null,
    unique_key text,
    scope text not null default '',
    params json,
    scheduled_for timestamptz not null,
    run_after timestamptz not null,
    created_at timestamptz not null,
    started_at timestamptz,
    ended_at timestamptz,
    attempt integer not null default 0,
    max_attempts integer not null,
    rescues integer not null default 0,
    slot integer,
    lease_no bigint not null default 0,
    lease_until timestamptz,
    worker text not null default '',
    queue text not null default '',
    river_job_id bigint,
    read bigint not null default 0,
    written bigint not null default 0,
    redundant bigint not null default 0,
    filtered bigint not null default 0,
    dropped bigint not null default 0,
    dead_lettered bigint not null default 0,
    total bigint,
    from_cursor json,
    to_cursor json,
    error text not null default '',
    errors jsonb not null default '[]',
    actor text not null default '',
    reason text not null default '',
    cancel_requested_at timestamptz,
    cancelled_by text not null default '',
    cancel_reason text not null default '',
    code_version text not null default '',
    check ((state = 'in_progress') = (slot is not null)),
    check ((state in ('success', 'failed', 'cancelled')) = (ended_at is not null))
);

-- At most one run of a flow in progress in each slot.
create unique index dataflow_run_slot on {s}dataflow_run (flow_id, slot) where state = 'in_progress';

-- At most one waiting run for each key.
create unique index dataflow_run_waiting on {s}dataflow_run (flow_id, unique_key) where state = 'pending';

-- Due work and lapsed leases: their size does not grow with finished runs.
create index dataflow_run_due on {s}dataflow_run (run_after) where state = 'pending';
create index dataflow_run_lease on {s}dataflow_run (lease_until) where state = 'in_progress';

create index dataflow_run_flow on {s}dataflow_run (flow_id, id);
create index dataflow_run_job on {s}dataflow_run (river_job_id) where river_job_id is not null;
create index dataflow_run_ended on {s}dataflow_run (ended_at) where ended_at is not null;

create table {s}dataflow_checkpoint (
    flow_id bigint not null references {s}dataflow_flow (id),
    scope text not null default '',
    partition text not null default '',
    cursor json,
    seq bigint not null default 0,
    read bigint not null default 0,
    written bigint not null default 0,
    redundant bigint not null default 0,
    filtered bigint not null default 0,
    dropped bigint not null default 0,
    dead_lettered bigint not null default 0,
    done boolean not null default false,
    updated_at timestamptz not null default now(),
    primary key (flow_id, scope, partition)
);

create table {s}dataflow_dead_letter (
    id bigint generated always as identity primary key,
    flow_id bigint not null references {s}dataflow_flow (id),
    run_id bigint not null references {s}dataflow_run (id) on delete cascade,
    stage text not null,
    key text not null,
    payload json,
    error text not null,
    created_at timestamptz not null default now(),
    replayed_at timestamptz
);

create index dataflow_dead_letter_flow on {s}dataflow_dead_letter (flow_id, id);
create index dataflow_dead_letter_run on {s}dataflow_dead_letter (run_id);

create table {s}dataflow_tick (
    id bigint generated always as identity primary key,
    flow_id bigint not null references {s}dataflow_flow (id),
    first_at timestamptz not null,
    last_at timestamptz not null,
    ticks bigint not null default 1,
    reason text not null,
    created_at timestamptz not null default now()
);

create index dataflow_tick_flow on {s}dataflow_tick (flow_id, last_at);
