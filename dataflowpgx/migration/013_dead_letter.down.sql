drop index {s}dataflow_dead_letter_open;
alter table {s}dataflow_dead_letter
    drop column edited_by,
    drop column edited_at,
    drop column original,
    drop column last_at,
    drop column times,
    drop column identity,
    drop column reason,
    drop column closed_by,
    drop column state;
alter table {s}dataflow_dead_letter rename column closed_at to replayed_at;
