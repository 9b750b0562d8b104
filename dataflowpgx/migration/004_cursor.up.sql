-- The last run that moved the cursor, the time of the last move, and the sequence number
-- after somebody last set the cursor.
alter table {s}dataflow_checkpoint
    add column run_id bigint,
    add column moved_at timestamptz,
    add column set_seq bigint not null default 0;

-- Cursors that somebody has set. Null is the beginning.
create table {s}dataflow_cursor_change (
    id bigint generated always as identity primary key,
    flow_id bigint not null references {s}dataflow_flow (id),
    from_cursor json,
    to_cursor json,
    seq bigint not null,
    actor text not null default '',
    reason text not null default '',
    created_at timestamptz not null
);

create index dataflow_cursor_change_flow on {s}dataflow_cursor_change (flow_id, id);

-- Where the run of a backfill ends. The scope of a backfill is the id of its first run;
-- the flow's own runs have none.
alter table {s}dataflow_run add column until_cursor json;

create index dataflow_run_scope on {s}dataflow_run (flow_id, scope) where scope <> '';
