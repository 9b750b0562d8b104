-- What became of a dead letter, when, by whom and why: its state is open, replayed, resolved or
-- discarded. identity names the record, so that it is open once only; empty: nothing names it.
-- times counts how often it was kept, and original is the record before somebody edited it.
alter table dataflow_dead_letter rename column replayed_at to closed_at;
alter table dataflow_dead_letter add column state text not null default 'open';
alter table dataflow_dead_letter add column closed_by text not null default '';
alter table dataflow_dead_letter add column reason text not null default '';
alter table dataflow_dead_letter add column identity text not null default '';
alter table dataflow_dead_letter add column times integer not null default 1;
alter table dataflow_dead_letter add column last_at text;
alter table dataflow_dead_letter add column original text;
alter table dataflow_dead_letter add column edited_at text;
alter table dataflow_dead_letter add column edited_by text not null default '';
update dataflow_dead_letter set state = 'replayed' where closed_at is not null;

create unique index dataflow_dead_letter_open on dataflow_dead_letter (flow_id, identity) where closed_at is null and identity <> '';
