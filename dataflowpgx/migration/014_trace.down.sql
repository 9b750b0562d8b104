drop index {s}dataflow_dead_letter_unclosed;
alter table {s}dataflow_run drop column trace_parent;
