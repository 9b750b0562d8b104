drop index {s}dataflow_dead_letter_run;
create index dataflow_dead_letter_run on {s}dataflow_dead_letter (run_id);
drop index {s}dataflow_dead_letter_flow_state;
drop index {s}dataflow_dead_letter_state;
drop index {s}dataflow_flow_trouble;
drop table {s}dataflow_audit;
