package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
)

// writable finds a server on which nothing can be written: a standby, or one that is read-only.
func (s *session) writable(ctx context.Context) ([]finding, error) {
	var standby, readOnly bool
	err := s.db.Postgres.QueryRow(ctx, `select pg_is_in_recovery(), current_setting('transaction_read_only')::bool`).Scan(&standby, &readOnly)
	switch {
	case err != nil:
		return nil, err
	case standby:
		return []finding{problem("server", "it is a standby, on which nothing can be written: connect to the primary, as by target_session_attrs=read-write with all hosts in the connection string")}, nil
	case readOnly:
		return []finding{problem("server", "its transactions are read-only: run alter database %s reset default_transaction_read_only, the same with alter role, or look at the options of the connection string", s.databaseName())}, nil
	}
	return []finding{ok("server", "it can be written")}, nil
}

// databaseName is the name of the database, to be written in a statement.
func (s *session) databaseName() string {
	return pgx.Identifier{s.db.Postgres.Config().ConnConfig.Database}.Sanitize()
}

// role finds a role that may not see the transactions of others, which the default guard of
// pgtable.Keyset waits for.
func (s *session) role(ctx context.Context) ([]finding, error) {
	reads := slices.ContainsFunc(s.config.Flows, func(f *dataflow.Flow) bool { return strings.Contains(string(f.Source), `"pgtable.keyset`) })
	if !reads {
		flows, err := s.flows(ctx, dataflow.FlowActive)
		if err != nil {
			return nil, err
		}
		reads = slices.ContainsFunc(flows, func(f *dataflow.Flow) bool { return strings.Contains(string(f.Source), `"pgtable.keyset`) })
	}
	var me string
	var sees bool
	err := s.db.Postgres.QueryRow(ctx, `select current_user, pg_has_role(current_user, 'pg_read_all_stats', 'usage')`).Scan(&me, &sees)
	if err != nil || sees || !reads {
		return nil, err
	}
	return []finding{warning("role", "role %q may not see the transactions of other roles, and the guard OpenTransactions of pgtable.Keyset fails while one is open: "+
		"run grant pg_read_all_stats to %s, or set Query.LateCommits to pgtable.Lag or pgtable.XID8", me, pgx.Identifier{me}.Sanitize())}, nil
}

// shortTimeout is a timeout of the server that batches may well exceed.
const shortTimeout = 10 * time.Second

// endedBy are words in the errors of what a timeout of the server has ended.
var endedBy = map[string]string{ //nolint:gochecknoglobals // a constant
	"statement_timeout":                   "statement timeout",
	"idle_in_transaction_session_timeout": "idle-in-transaction timeout",
	"transaction_timeout":                 "transaction timeout", // from Postgres 17 on
}

// timeouts finds timeouts of the server that ended runs, or may.
func (s *session) timeouts(ctx context.Context) ([]finding, error) {
	rows, err := s.db.Postgres.Query(ctx, `select name, setting::bigint from pg_settings where name = any($1) and setting::bigint > 0 order by name`, slices.Collect(maps.Keys(endedBy)))
	if err != nil {
		return nil, err
	}
	set := make(map[string]time.Duration)
	var name string
	var ms int64
	if _, err := pgx.ForEachRow(rows, []any{&name, &ms}, func() error {
		set[name] = time.Duration(ms) * time.Millisecond
		return nil
	}); err != nil || len(set) == 0 {
		return nil, err
	}
	runs, err := s.client.Runs(ctx, &dataflow.RunListParams{Limit: 200})
	if err != nil {
		return nil, err
	}
	var found []finding
	for _, name := range slices.Sorted(maps.Keys(set)) {
		mend := fmt.Sprintf("run alter role %s set %s = 0 for the role of the flows, or make their batches smaller by BatchSize", pgx.Identifier{s.db.Postgres.Config().ConnConfig.User}.Sanitize(), name)
		ended := endedRun(runs, endedBy[name])
		switch {
		case ended != nil:
			found = append(found, warning("timeout", "%s is %s, and has ended attempts, such as of run %d of flow %s: %s", name, set[name], ended.ID, ended.FlowName, mend))
		case set[name] < shortTimeout:
			found = append(found, warning("timeout", "%s is %s, which a batch may exceed: %s", name, set[name], mend))
		default:
			found = append(found, ok("timeout", "%s is %s", name, set[name]))
		}
	}
	return found, nil
}

// endedRun is the first run of which an attempt ended with words in its error, nil if there is none.
func endedRun(runs []*dataflow.Run, words string) *dataflow.Run {
	for _, run := range runs {
		if slices.ContainsFunc(run.Errors, func(e dataflow.AttemptError) bool { return strings.Contains(e.Error, words) }) {
			return run
		}
	}
	return nil
}

// besidePool is how many connections a started client may open beside its pool: see docs/pools.md.
const besidePool = 3

// room finds a server, a database or a role that has too few connections left for another process
// of this program, such as the next one of a rolling deploy.
func (s *session) room(ctx context.Context) ([]finding, error) {
	if len(s.config.Flows) == 0 { // the pool is not that of the service
		return nil, nil
	}
	rows, err := s.db.Postgres.Query(ctx, `
		with open as (select sum(numbackends)::int as n, sum(numbackends) filter (where datname = current_database())::int as here from pg_stat_database)
		select 'the server', current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
			- coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0), n, 'raise max_connections' from open
		union all
		select 'database ' || quote_ident(datname), datconnlimit, here, 'run alter database ' || quote_ident(datname) || ' connection limit -1'
			from pg_database, open where datname = current_database() and datconnlimit >= 0 and not (select rolsuper from pg_roles where rolname = current_user)
		union all
		select 'role ' || quote_ident(rolname), rolconnlimit, (select count(*) from pg_stat_activity where usesysid = pg_roles.oid)::int, 'run alter role ' || quote_ident(rolname) || ' connection limit -1'
			from pg_roles where rolname = current_user and rolconnlimit >= 0 and not rolsuper`)
	if err != nil {
		return nil, err
	}
	size := int(s.db.Postgres.Config().MaxConns)
	var found []finding
	var what, mend string
	var most, open int
	_, err = pgx.ForEachRow(rows, []any{&what, &most, &open, &mend}, func() error {
		if most-open < size+besidePool {
			found = append(found, warning("connections", "%s takes %s, and %d are open: another process of this program, as in a deploy, opens up to %d (its pool has %d, and %d may be beside it): %s, or let the pools be smaller (pool_max_conns)",
				what, plural(most, "connection", "connections"), open, size+besidePool, size, besidePool, mend))
		}
		return nil
	})
	return found, err
}

// Tables with fewer rows than this, and with fewer dead rows, are quick in any state.
const smallTable = 10_000

// tables finds our tables that were never analysed, or that hold more dead rows than live ones.
func (s *session) tables(ctx context.Context) ([]finding, error) {
	rows, err := s.db.Postgres.Query(ctx, `
		select c.relname::text, n_live_tup, n_dead_tup, coalesce(greatest(last_analyze, last_autoanalyze) is null, true),
			current_setting('autovacuum')::bool and not coalesce('autovacuum_enabled=false' = any(c.reloptions), false)
		from pg_stat_user_tables t join pg_class c on c.oid = t.relid
		where (c.relname like 'dataflow\_%' or c.relname = 'river_job') and c.relnamespace = `+inSchema+` order by 1`, nullable(s.schemaName()))
	if err != nil {
		return nil, err
	}
	var found []finding
	var name string
	var live, dead int64
	var unanalysed, auto bool
	_, err = pgx.ForEachRow(rows, []any{&name, &live, &dead, &unanalysed, &auto}, func() error {
		table := pgx.Identifier{name}
		if schema := s.schemaName(); schema != "" {
			table = pgx.Identifier{schema, name}
		}
		why := "see whether a transaction or a slot that is open for long keeps vacuum from removing them"
		if !auto {
			why = "autovacuum is off for it: turn it on"
		}
		switch {
		case dead > live && dead > smallTable:
			found = append(found, warning("tables", "%s has %d dead rows and %d live ones, which makes the search for due runs slow: run vacuum analyze %s, and %s", name, dead, live, table.Sanitize(), why))
		case unanalysed && live > smallTable:
			found = append(found, warning("tables", "%s was never analysed, so that Postgres plans as if it were small: run analyze %s", name, table.Sanitize()))
		}
		return nil
	})
	if err == nil && found == nil {
		found = []finding{ok("tables", "they are analysed, and have few dead rows")}
	}
	return found, err
}

// slotHolds is how much of the log an unused slot may hold.
const slotHolds = 256 << 20

// slots finds replication slots that nobody reads, and for which the server keeps its log.
func (s *session) slots(ctx context.Context) ([]finding, error) {
	rows, err := s.db.Postgres.Query(ctx, `
		select slot_name::text, coalesce(wal_status, ''), coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint
		from pg_replication_slots where not active`)
	if err != nil {
		return nil, err
	}
	var found []finding
	var name, status string
	var holds int64
	_, err = pgx.ForEachRow(rows, []any{&name, &status, &holds}, func() error {
		drop := fmt.Sprintf("start its reader, or run select pg_drop_replication_slot('%s')", strings.ReplaceAll(name, "'", "''"))
		switch {
		case status == "lost":
			found = append(found, warning("slots", "slot %q has lost a part of the log that its reader needs: the reader must begin anew: drop the slot", name))
		case holds > slotHolds:
			found = append(found, warning("slots", "slot %q is not read, and holds %d MB of the server's log, until its disk is full: %s", name, holds>>20, drop))
		}
		return nil
	})
	return found, err
}

// collations finds a database or an index that was sorted by another version of a collation.
func (s *session) collations(ctx context.Context) ([]finding, error) {
	var number int
	if err := s.db.Postgres.QueryRow(ctx, `select current_setting('server_version_num')::int`).Scan(&number); err != nil {
		return nil, err
	}
	var found []finding
	if number >= 150000 { // the versions of databases are as old as that
		var was, is *string
		err := s.db.Postgres.QueryRow(ctx, `select datcollversion, pg_database_collation_actual_version(oid) from pg_database where datname = current_database()`).Scan(&was, &is)
		if err != nil {
			return nil, err
		}
		if was != nil && is != nil && *was != *is {
			found = append(found, warning("collation", "the database was made with version %s of its collation, and the server has %s: its indexes on texts may miss rows: run reindex database %s, and then alter database %s refresh collation version",
				*was, *is, s.databaseName(), s.databaseName()))
		}
	}
	rows, err := s.db.Postgres.Query(ctx, `
		select quote_ident(n.nspname) || '.' || quote_ident(c.collname), c.collversion, pg_collation_actual_version(c.oid)
		from pg_collation c join pg_namespace n on n.oid = c.collnamespace
		where c.collversion is distinct from pg_collation_actual_version(c.oid) and c.collversion is not null
			and exists (select from pg_index i where c.oid = any(i.indcollation)) order by 1`)
	if err != nil {
		return nil, err
	}
	var name, was string
	var is *string
	_, err = pgx.ForEachRow(rows, []any{&name, &was, &is}, func() error {
		found = append(found, warning("collation", "an index uses collation %s of version %s, and the server has %s: the index may miss rows: reindex it, and then run alter collation %s refresh version",
			name, was, orDash(deref(is)), name))
		return nil
	})
	return found, err
}

func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
