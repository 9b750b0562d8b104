-- What somebody did to flows and runs. Null as before or after: there is nothing to tell.
create table {s}dataflow_audit (
    id bigint generated always as identity primary key,
    at timestamptz not null,
    actor text collate "C" not null,
    action text not null,
    flow_id bigint not null references {s}dataflow_flow (id),
    run_id bigint,
    reason text not null,
    before json,
    after json
);

create index dataflow_audit_flow on {s}dataflow_audit (flow_id, id);
create index dataflow_audit_actor on {s}dataflow_audit (actor, id);
create index dataflow_audit_at on {s}dataflow_audit (at);

-- Flows that somebody should look at.
create index dataflow_flow_trouble on {s}dataflow_flow (name) where failures > 0 or tripped_at is not null or last_error <> '';

-- Pages of dead letters in a state, of a flow or of all, and of a run, newest first.
create index dataflow_dead_letter_state on {s}dataflow_dead_letter (state, id);
create index dataflow_dead_letter_flow_state on {s}dataflow_dead_letter (flow_id, state, id);
drop index {s}dataflow_dead_letter_run;
create index dataflow_dead_letter_run on {s}dataflow_dead_letter (run_id, id);
