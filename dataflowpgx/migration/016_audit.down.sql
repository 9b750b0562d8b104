drop table {s}dataflow_audit;
