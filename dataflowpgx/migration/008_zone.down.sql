alter table {s}dataflow_process drop column zone_data;
alter table {s}dataflow_flow drop column next_run_local;
