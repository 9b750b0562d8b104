alter table {s}dataflow_run
    drop column waits_since,
    drop column waits_for;
