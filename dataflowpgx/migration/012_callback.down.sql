drop index {s}dataflow_run_callback;
alter table {s}dataflow_run drop column callback_at, drop column callback_tries, drop column callback_error;
alter table {s}dataflow_flow drop column callback_until;
