-- The local time that next_run_at stands for. By it, processes with different zone data agree
-- which tick that is.
alter table dataflow_flow add column next_run_local text not null default '';

-- The zone data of a process: where it is from, and what it says about the zones of its flows.
alter table dataflow_process add column zone_data text;
