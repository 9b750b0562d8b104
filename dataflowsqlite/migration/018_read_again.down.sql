alter table dataflow_total drop column read_again;
alter table dataflow_checkpoint drop column read_again;
alter table dataflow_run drop column read_again;
