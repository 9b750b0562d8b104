alter table dataflow_process drop column polls;
