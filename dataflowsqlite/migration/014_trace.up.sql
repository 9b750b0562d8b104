-- The W3C trace context of whoever asked for the run; empty: none.
alter table dataflow_run add column trace_parent text not null default '';

-- What was not replayed, which may be little of what there is.
create index dataflow_dead_letter_open on dataflow_dead_letter (flow_id) where replayed_at is null;
