-- How many of the records that were read an earlier run had read, as those of a lookback.
alter table dataflow_run add column read_again integer not null default 0;
alter table dataflow_checkpoint add column read_again integer not null default 0;
alter table dataflow_total add column read_again integer not null default 0;
