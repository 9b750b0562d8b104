-- The order of a flow's columns makes no difference to an older version.
alter table {s}dataflow_run reset (fillfactor);
