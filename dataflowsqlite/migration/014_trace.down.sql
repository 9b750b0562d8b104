drop index dataflow_dead_letter_unclosed;
alter table dataflow_run drop column trace_parent;
