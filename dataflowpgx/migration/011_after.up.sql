-- The flows that follow another one, by its name, and the last success of it for which they were
-- started.
create table {s}dataflow_after (
    flow_id bigint primary key references {s}dataflow_flow (id),
    upstream text collate "C" not null,
    only_if_rows boolean not null,
    seen_run bigint not null,
    seen_rows bigint not null
);
