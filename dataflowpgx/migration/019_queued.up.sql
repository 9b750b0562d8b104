-- Only runs of River jobs: the others have dataflow_run_loop. With all runs that wait in one index, a plan that was made
-- for few of them looked for the runs of one flow among those of all flows.
drop index {s}dataflow_run_due;
create index dataflow_run_due on {s}dataflow_run (run_after) where state = 'pending' and queue <> '';
