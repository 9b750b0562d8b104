-- What somebody did to flows and runs. Null as before or after: there is nothing to tell.
create table dataflow_audit (
    id integer primary key autoincrement,
    at text not null,
    actor text not null,
    action text not null,
    flow_id integer not null references dataflow_flow (id),
    run_id integer,
    reason text not null,
    before text,
    after text
);

create index dataflow_audit_flow on dataflow_audit (flow_id, id);
create index dataflow_audit_actor on dataflow_audit (actor, id);
create index dataflow_audit_at on dataflow_audit (at);

-- Flows that somebody should look at.
create index dataflow_flow_trouble on dataflow_flow (name) where failures > 0 or tripped_at is not null or last_error <> '';

-- Pages of dead letters in a state, of a flow or of all, and of a run, newest first.
create index dataflow_dead_letter_state on dataflow_dead_letter (state, id);
create index dataflow_dead_letter_flow_state on dataflow_dead_letter (flow_id, state, id);
drop index dataflow_dead_letter_run;
create index dataflow_dead_letter_run on dataflow_dead_letter (run_id, id);
