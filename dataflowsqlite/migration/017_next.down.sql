drop index dataflow_run_job;
alter table dataflow_run drop column named_in_job;
create index dataflow_run_job on dataflow_run (river_job_id) where river_job_id is not null;
drop index dataflow_run_rescued;
drop index dataflow_run_next;
