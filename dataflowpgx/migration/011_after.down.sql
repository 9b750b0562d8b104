drop table {s}dataflow_after;
