-- Until when the ends of a flow's runs are kept for Config.OnRunEnded; null: no process has asked for
-- them.
alter table dataflow_flow add column callback_until text;

-- When the end of a run is to be told next; null: there is nothing to tell. The year 9999: it was
-- given up. The number of tries tells the process that has a try from the one before it.
alter table dataflow_run add column callback_at text;
alter table dataflow_run add column callback_tries integer not null default 0;
alter table dataflow_run add column callback_error text not null default '';

create index dataflow_run_callback on dataflow_run (callback_at, id) where callback_at is not null;
