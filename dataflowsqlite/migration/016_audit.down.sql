drop table dataflow_audit;
