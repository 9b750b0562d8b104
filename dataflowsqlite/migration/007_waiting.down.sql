alter table dataflow_run drop column waits_since;
alter table dataflow_run drop column waits_for;
