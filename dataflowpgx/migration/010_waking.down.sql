alter table {s}dataflow_process drop column polls;
