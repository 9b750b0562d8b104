create index dataflow_run_lease on {s}dataflow_run (lease_until) where state = 'in_progress';
alter table {s}dataflow_checkpoint reset (fillfactor);
alter table {s}dataflow_flow reset (fillfactor);
drop index {s}dataflow_run_job;
alter table {s}dataflow_run drop column named_in_job;
create index dataflow_run_job on {s}dataflow_run (river_job_id) where river_job_id is not null;
drop index {s}dataflow_run_rescued;
drop index {s}dataflow_run_next;
