drop index {s}dataflow_run_due;
create index dataflow_run_due on {s}dataflow_run (run_after) where state = 'pending';
