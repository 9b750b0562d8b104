-- The Runtime that the code declared when an operator migrated the flow to another.
alter table {s}dataflow_flow add column runtime_from jsonb;

-- Of the records written, those that replaced a row.
alter table {s}dataflow_run add column updated bigint not null default 0;
alter table {s}dataflow_checkpoint add column updated bigint not null default 0;
