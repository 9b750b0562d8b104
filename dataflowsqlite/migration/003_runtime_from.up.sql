-- The Runtime that the code declared when an operator migrated the flow to another.
alter table dataflow_flow add column runtime_from text;

-- How many of the records written replaced a row.
alter table dataflow_run add column updated integer not null default 0;
alter table dataflow_checkpoint add column updated integer not null default 0;
