drop index {s}dataflow_run_scope;
alter table {s}dataflow_run drop column until_cursor;
drop table {s}dataflow_cursor_change;
alter table {s}dataflow_checkpoint
    drop column set_seq,
    drop column moved_at,
    drop column run_id;
