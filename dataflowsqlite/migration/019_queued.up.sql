-- Postgres has another dataflow_run_due from here on. SQLite is told which index to use.
select 1;
