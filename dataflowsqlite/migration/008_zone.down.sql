alter table dataflow_process drop column zone_data;
alter table dataflow_flow drop column next_run_local;
