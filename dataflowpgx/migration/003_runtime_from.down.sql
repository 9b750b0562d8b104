alter table {s}dataflow_checkpoint drop column updated;
alter table {s}dataflow_run drop column updated;
alter table {s}dataflow_flow drop column runtime_from;
