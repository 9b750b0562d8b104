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
