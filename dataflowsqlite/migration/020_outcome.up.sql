-- Postgres has columns in another order from here on.
select 1;
