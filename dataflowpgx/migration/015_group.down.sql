-- The flows' definitions lose something here: the next registration stores them anew.
update {s}dataflow_flow set definition_hash = '';
alter table {s}dataflow_run drop column group_asked_at;
drop index {s}dataflow_flow_group;
alter table {s}dataflow_flow drop column group_name;
drop table {s}dataflow_group;
