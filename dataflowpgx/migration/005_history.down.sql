drop table {s}dataflow_upkeep;
drop table {s}dataflow_total;
alter table {s}dataflow_flow drop column last_success_run;
drop index {s}dataflow_run_ended;
drop index {s}dataflow_run_all_ended;
drop index {s}dataflow_run_flow_ended;
create index dataflow_run_ended on {s}dataflow_run (ended_at) where ended_at is not null;
create index dataflow_run_flow on {s}dataflow_run (flow_id, id);
