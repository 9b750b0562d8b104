-- The W3C trace context of whoever asked for the run; empty: none.
alter table dataflow_run add column trace_parent text not null default '';

-- The open ones, which may be few of those that there are.
create index dataflow_dead_letter_unclosed on dataflow_dead_letter (flow_id) where closed_at is null;
