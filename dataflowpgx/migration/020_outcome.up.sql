-- The end of a run changes these three columns. Postgres logs a changed row from the first changed byte to the last
-- one, so they stand side by side now, and what was between them is no longer logged. They stay where they are if
-- somebody's view needs them, or if they have privileges of their own: only their place in the row would change.
do $$
begin
	if exists (select from pg_attribute where attrelid = (select tableoid from {s}dataflow_flow limit 1)
			and attname in ('last_run_at', 'last_success_at', 'last_success_run') and attacl is not null) then
		return;
	end if;
	alter table {s}dataflow_flow add column run_at timestamptz, add column success_at timestamptz, add column success_run bigint;
	update {s}dataflow_flow set run_at = last_run_at, success_at = last_success_at, success_run = last_success_run;
	alter table {s}dataflow_flow drop column last_run_at, drop column last_success_at, drop column last_success_run;
	alter table {s}dataflow_flow rename column run_at to last_run_at;
	alter table {s}dataflow_flow rename column success_at to last_success_at;
	alter table {s}dataflow_flow rename column success_run to last_success_run;
exception when dependent_objects_still_exist then
	null;
end $$;

-- A run is changed twice. If its new version is on the same page, Postgres logs only what has changed.
alter table {s}dataflow_run set (fillfactor = 80);
