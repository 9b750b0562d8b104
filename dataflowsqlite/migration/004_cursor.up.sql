-- The last run that moved the cursor, the time of the last move, and the sequence number
-- after somebody last set the cursor.
alter table dataflow_checkpoint add column run_id integer;
alter table dataflow_checkpoint add column moved_at text;
alter table dataflow_checkpoint add column set_seq integer not null default 0;

-- Cursors that somebody has set. Null is the beginning.
create table dataflow_cursor_change (
    id integer primary key autoincrement,
    flow_id integer not null references dataflow_flow (id),
    from_cursor text,
    to_cursor text,
    seq integer not null,
    actor text not null default '',
    reason text not null default '',
    created_at text not null
);

create index dataflow_cursor_change_flow on dataflow_cursor_change (flow_id, id);

-- Where the run of a backfill ends. The scope of a backfill is the id of its first run;
-- the flow's own runs have none.
alter table dataflow_run add column until_cursor text;

create index dataflow_run_scope on dataflow_run (flow_id, scope) where scope <> '';
