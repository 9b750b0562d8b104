-- Times are text in UTC, such as 2026-01-02 03:04:05.678; JSON is text.

create table dataflow_flow (
    id integer primary key autoincrement,
    name text not null unique,
    source text not null,
    sink text not null,
    runtime text not null,
    guarantee text not null,
    state text not null default 'active' check (state in ('active', 'inactive')),
    state_by text not null default '',
    state_reason text not null default '',
    state_at text,
    next_run_at text,
    last_run_at text,
    last_success_at text,
    last_error text not null default '',
    failures integer not null default 0,
    code_version text not null default '',
    definition_hash text not null default '',
    created_at text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    updated_at text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    check (length(name) between 1 and 200)
);

create index dataflow_flow_next_run on dataflow_flow (next_run_at) where state = 'active';

create table dataflow_run (
    id integer primary key autoincrement,
    flow_id integer not null references dataflow_flow (id),
    state text not null default 'pending'
        check (state in ('pending', 'in_progress', 'success', 'failed', 'cancelled')),
    trigger text not null,
    unique_key text,
    scope text not null default '',
    params text,
    scheduled_for text not null,
    run_after text not null,
    created_at text not null,
    started_at text,
    ended_at text,
    attempt integer not null default 0,
    max_attempts integer not null,
    rescues integer not null default 0,
    slot integer,
    lease_no integer not null default 0,
    lease_until text,
    worker text not null default '',
    queue text not null default '',
    river_job_id integer,
    read integer not null default 0,
    written integer not null default 0,
    redundant integer not null default 0,
    filtered integer not null default 0,
    dropped integer not null default 0,
    dead_lettered integer not null default 0,
    total integer,
    from_cursor text,
    to_cursor text,
    error text not null default '',
    errors text not null default '[]',
    actor text not null default '',
    reason text not null default '',
    cancel_requested_at text,
    cancelled_by text not null default '',
    cancel_reason text not null default '',
    code_version text not null default '',
    check ((state = 'in_progress') = (slot is not null)),
    check ((state in ('success', 'failed', 'cancelled')) = (ended_at is not null))
);

-- At most one run of a flow in progress in each slot.
create unique index dataflow_run_slot on dataflow_run (flow_id, slot) where state = 'in_progress';

-- At most one waiting run for each key.
create unique index dataflow_run_waiting on dataflow_run (flow_id, unique_key) where state = 'pending';

-- Due work and lapsed leases: their size does not grow with finished runs.
create index dataflow_run_due on dataflow_run (run_after) where state = 'pending';
create index dataflow_run_lease on dataflow_run (lease_until) where state = 'in_progress';

create index dataflow_run_flow on dataflow_run (flow_id, id);
create index dataflow_run_job on dataflow_run (river_job_id) where river_job_id is not null;
create index dataflow_run_ended on dataflow_run (ended_at) where ended_at is not null;

create table dataflow_checkpoint (
    flow_id integer not null references dataflow_flow (id),
    scope text not null default '',
    partition text not null default '',
    cursor text,
    seq integer not null default 0,
    read integer not null default 0,
    written integer not null default 0,
    redundant integer not null default 0,
    filtered integer not null default 0,
    dropped integer not null default 0,
    dead_lettered integer not null default 0,
    done integer not null default 0,
    updated_at text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    primary key (flow_id, scope, partition)
);

create table dataflow_dead_letter (
    id integer primary key autoincrement,
    flow_id integer not null references dataflow_flow (id),
    run_id integer not null references dataflow_run (id) on delete cascade,
    stage text not null,
    key text not null,
    payload text,
    error text not null,
    created_at text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    replayed_at text
);

create index dataflow_dead_letter_flow on dataflow_dead_letter (flow_id, id);
create index dataflow_dead_letter_run on dataflow_dead_letter (run_id);

create table dataflow_tick (
    id integer primary key autoincrement,
    flow_id integer not null references dataflow_flow (id),
    first_at text not null,
    last_at text not null,
    ticks integer not null default 1,
    reason text not null,
    created_at text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now'))
);

create index dataflow_tick_flow on dataflow_tick (flow_id, last_at);
