drop index dataflow_dead_letter_held;
alter table dataflow_dead_letter drop column sink_key;
alter table dataflow_dead_letter drop column tries;
alter table dataflow_dead_letter drop column tries_left;
alter table dataflow_dead_letter drop column retry_until;
