drop index dataflow_run_callback;
alter table dataflow_run drop column callback_at;
alter table dataflow_run drop column callback_tries;
alter table dataflow_run drop column callback_error;
alter table dataflow_flow drop column callback_until;
