drop index {s}dataflow_run_loop;
alter table {s}dataflow_flow drop column changed;
