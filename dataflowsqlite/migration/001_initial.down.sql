drop table dataflow_tick;
drop table dataflow_dead_letter;
drop table dataflow_checkpoint;
drop table dataflow_run;
drop table dataflow_flow;
