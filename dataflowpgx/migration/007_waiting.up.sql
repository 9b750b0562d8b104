-- What a run waits for, and since when: a pending one for connections, one in progress for its
-- source. Empty: for nothing that is known.
alter table {s}dataflow_run
    add column waits_for text not null default '',
    add column waits_since timestamptz;
