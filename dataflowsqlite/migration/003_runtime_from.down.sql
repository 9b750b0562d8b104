alter table dataflow_checkpoint drop column updated;
alter table dataflow_run drop column updated;
alter table dataflow_flow drop column runtime_from;
