drop index dataflow_dead_letter_run;
create index dataflow_dead_letter_run on dataflow_dead_letter (run_id);
drop index dataflow_dead_letter_flow_state;
drop index dataflow_dead_letter_state;
drop index dataflow_flow_trouble;
drop table dataflow_audit;
