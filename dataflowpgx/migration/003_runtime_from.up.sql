-- The Runtime that the code declared when an operator migrated the flow to another.
alter table {s}dataflow_flow add column runtime_from jsonb;

-- How many of the records written replaced a row.
alter table {s}dataflow_run add column updated bigint not null default 0;
alter table {s}dataflow_checkpoint add column updated bigint not null default 0;
