-- How often a process looks for new runs, and why it is not told of them; empty: it is told.
alter table dataflow_process add column polls text not null default '';
