drop index dataflow_run_loop;
drop index dataflow_flow_changed;
alter table dataflow_flow drop column changed;
