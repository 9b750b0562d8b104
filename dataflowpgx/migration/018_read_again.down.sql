alter table {s}dataflow_total drop column read_again;
alter table {s}dataflow_checkpoint drop column read_again;
alter table {s}dataflow_run drop column read_again;
