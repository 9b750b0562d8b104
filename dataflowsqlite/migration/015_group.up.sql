-- How many runs of the flows of a group may be in progress at once, and who has set that last.
create table dataflow_group (
    name text primary key,
    max_runs integer not null check (max_runs > 0),
    set_by text not null,
    set_at text not null
);

alter table dataflow_flow add column group_name text not null default '';
create index dataflow_flow_group on dataflow_flow (group_name) where group_name <> '';

-- When a process last wanted to work the run and found no place in its group.
alter table dataflow_run add column group_asked_at text;
