drop index {s}dataflow_dead_letter_held;
alter table {s}dataflow_dead_letter
    drop column sink_key,
    drop column tries,
    drop column tries_left,
    drop column retry_until;
