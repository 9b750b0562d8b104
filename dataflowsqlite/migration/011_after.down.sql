drop table dataflow_after;
