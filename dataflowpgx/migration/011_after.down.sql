-- The flows' definitions lose something here: the next registration stores them anew.
update {s}dataflow_flow set definition_hash = '';
drop table {s}dataflow_after;
