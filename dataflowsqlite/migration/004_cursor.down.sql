drop index dataflow_run_scope;
alter table dataflow_run drop column until_cursor;
drop table dataflow_cursor_change;
alter table dataflow_checkpoint drop column set_seq;
alter table dataflow_checkpoint drop column moved_at;
alter table dataflow_checkpoint drop column run_id;
