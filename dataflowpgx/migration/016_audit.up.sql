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
