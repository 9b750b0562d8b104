-- The flows' definitions lose something here: the next registration stores them anew.
update dataflow_flow set definition_hash = '';
alter table dataflow_run drop column group_asked_at;
drop index dataflow_flow_group;
alter table dataflow_flow drop column group_name;
drop table dataflow_group;
