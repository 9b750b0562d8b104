-- Dead letters that are tried again by themselves: until when, how many tries are left, and
-- how many were made. sink_key names the rows that the record makes in the sink.
alter table dataflow_dead_letter add column retry_until text;
alter table dataflow_dead_letter add column tries_left integer not null default 0;
alter table dataflow_dead_letter add column tries integer not null default 0;
alter table dataflow_dead_letter add column sink_key text not null default '';

create index dataflow_dead_letter_held on dataflow_dead_letter (flow_id, id) where retry_until is not null;
