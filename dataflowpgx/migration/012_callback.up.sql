-- Until when the ends of a flow's runs are kept for Config.OnRunEnded; null: no process has asked for
-- them.
alter table {s}dataflow_flow add column callback_until timestamptz;

-- When the end of a run is to be told next; null: there is nothing to tell. The year 9999: it was
-- given up. The number of tries tells the process that has a try from the one before it.
alter table {s}dataflow_run
    add column callback_at timestamptz,
    add column callback_tries integer not null default 0,
    add column callback_error text not null default '';

create index dataflow_run_callback on {s}dataflow_run (callback_at, id) where callback_at is not null;
