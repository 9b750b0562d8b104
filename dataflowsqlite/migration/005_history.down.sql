drop table dataflow_upkeep;
drop table dataflow_total;
alter table dataflow_flow drop column last_success_run;
drop index dataflow_run_ended;
drop index dataflow_run_all_ended;
drop index dataflow_run_flow_ended;
create index dataflow_run_ended on dataflow_run (ended_at) where ended_at is not null;
create index dataflow_run_flow on dataflow_run (flow_id, id);
