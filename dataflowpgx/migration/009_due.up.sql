-- The place of a flow's last change in the order of changes, by which processes find what has
-- changed. It does not move when a tick is planned or a run ends.
alter table {s}dataflow_flow add column changed bigint not null default 0;
create index dataflow_flow_changed on {s}dataflow_flow (changed);

-- The due runs that need no River job, in the order in which they are taken up.
create index dataflow_run_loop on {s}dataflow_run (run_after, id) where state = 'pending' and queue = '';
