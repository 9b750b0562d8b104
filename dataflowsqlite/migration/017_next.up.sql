-- The runs of a flow that wait, in the order of their ticks: the next one is found at once, however
-- many wait, and however many have ended.
create index dataflow_run_next on dataflow_run (flow_id, scheduled_for, id) where state = 'pending';

-- The waiting runs that lost a worker, which go before those of ticks.
create index dataflow_run_rescued on dataflow_run (flow_id) where state = 'pending' and rescues > 0;

-- Whether the run's River job names the run. If not, the job finds its run by its own id, and only
-- then does the run need an entry in the index of jobs.
alter table dataflow_run add column named_in_job integer not null default 0;
drop index dataflow_run_job;
create index dataflow_run_job on dataflow_run (river_job_id) where river_job_id is not null and not named_in_job;
