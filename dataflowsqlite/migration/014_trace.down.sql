drop index dataflow_dead_letter_open;
alter table dataflow_run drop column trace_parent;
