-- The flows that follow another one, by its name, and the last success of it for which they were
-- started.
create table dataflow_after (
    flow_id integer primary key references dataflow_flow (id),
    upstream text not null,
    only_if_rows integer not null,
    seen_run integer not null,
    seen_rows integer not null
);
