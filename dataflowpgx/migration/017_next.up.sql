-- The runs of a flow that wait, in the order of their ticks: the next one is found at once, however
-- many wait, and however many have ended.
create index dataflow_run_next on {s}dataflow_run (flow_id, scheduled_for, id) where state = 'pending';

-- The waiting runs that lost a worker, which go before those of ticks.
create index dataflow_run_rescued on {s}dataflow_run (flow_id) where state = 'pending' and rescues > 0;

-- Whether the run's River job names the run. If not, the job finds its run by its own id, and only
-- then does the run need an entry in the index of jobs.
alter table {s}dataflow_run add column named_in_job boolean not null default false;
drop index {s}dataflow_run_job;
create index dataflow_run_job on {s}dataflow_run (river_job_id) where river_job_id is not null and not named_in_job;

-- The index of the slots has all runs in progress, which are few. Without this one, the renewal of a
-- lease changes no index at all.
drop index {s}dataflow_run_lease;

-- Each run changes a row of these, in no column that is indexed. With room on its page, the new
-- version of the row needs no entries in the indexes.
alter table {s}dataflow_flow set (fillfactor = 50);
alter table {s}dataflow_checkpoint set (fillfactor = 50);
