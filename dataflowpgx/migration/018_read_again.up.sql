-- How many of the records that were read an earlier run had read, as those of a lookback.
alter table {s}dataflow_run add column read_again bigint not null default 0;
alter table {s}dataflow_checkpoint add column read_again bigint not null default 0;
alter table {s}dataflow_total add column read_again bigint not null default 0;
