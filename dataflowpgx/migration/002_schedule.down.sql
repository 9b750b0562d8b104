drop table {s}dataflow_process;
drop index {s}dataflow_run_tick;
drop index {s}dataflow_flow_probe;
drop index {s}dataflow_flow_next_run;
create index dataflow_flow_next_run on {s}dataflow_flow (next_run_at) where state = 'active';
alter table {s}dataflow_flow
    drop column probe_at,
    drop column tripped_reason,
    drop column tripped_at,
    drop column probe_after,
    drop column pause_after,
    drop column schedule_at,
    drop column schedule;
