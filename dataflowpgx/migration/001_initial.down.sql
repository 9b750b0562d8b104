drop table {s}dataflow_tick;
drop table {s}dataflow_dead_letter;
drop table {s}dataflow_checkpoint;
drop table {s}dataflow_run;
drop table {s}dataflow_flow;
