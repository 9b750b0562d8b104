package cli

import (
	"context"
	"encoding/json"
	"fmt"
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

// shortTimeout is a statement_timeout that batches may well exceed.
const shortTimeout = 10 * time.Second

// timeout finds a statement_timeout that ended runs, or may.
func (s *session) timeout(ctx context.Context) ([]finding, error) {
	var ms int64
	err := s.db.Postgres.QueryRow(ctx, `select setting::bigint from pg_settings where name = 'statement_timeout'`).Scan(&ms)
	if err != nil || ms == 0 {
		return nil, err
	}
	set := time.Duration(ms) * time.Millisecond
	mend := fmt.Sprintf("run alter role %s set statement_timeout = 0 for the role of the flows, or make their batches smaller by BatchSize", pgx.Identifier{s.db.Postgres.Config().ConnConfig.User}.Sanitize())
	runs, err := s.client.Runs(ctx, &dataflow.RunListParams{Limit: 200})
	if err != nil {
		return nil, err
	}
	for _, run := range runs {
		for _, failed := range run.Errors {
			if strings.Contains(failed.Error, "statement timeout") {
				return []finding{warning("timeout", "statement_timeout is %s, and has ended attempts, such as of run %d of flow %s: %s", set, run.ID, run.FlowName, mend)}, nil
			}
		}
	}
	if set < shortTimeout {
		return []finding{warning("timeout", "statement_timeout is %s, which a batch may exceed: %s", set, mend)}, nil
	}
	return []finding{ok("timeout", "statement_timeout is %s", set)}, nil
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

// retentionLate is how long after its time a clean-up is overdue.
const retentionLate = 24 * time.Hour

// retention finds runs that should have been removed long ago.
func (s *session) retention(ctx context.Context) ([]finding, error) {
	o := s.config.Retention
	later := func(d time.Duration) time.Duration {
		switch {
		case d < 0:
			return d
		case d == 0:
			d = dataflow.DefaultRetention
		}
		return d + retentionLate
	}
	o.Success, o.Failed, o.Cancelled, o.SkippedTicks, o.DeadLetters = later(o.Success), later(o.Failed), later(o.Cancelled), later(o.SkippedTicks), later(o.DeadLetters)
	o.DryRun = true
	due, err := s.client.Cleanup(ctx, &o)
	if err != nil {
		return nil, err
	}
	if due.Total() == 0 {
		return []finding{ok("retention", "nothing is kept for longer than it should be")}, nil
	}
	return []finding{warning("retention", "%d runs, entries of skipped ticks and dead letters should have been removed more than a day ago: a started client does that each hour unless Config.Retention keeps them; run %s cleanup",
		due.Total(), s.program.Name)}, nil
}

// sources asks the sources of this program's flows what they note, such as a key without a unique
// index, or rows that are held back.
func (s *session) sources(ctx context.Context) ([]finding, error) {
	var found []finding
	for _, f := range s.config.Flows {
		why, err := s.client.Why(ctx, f.Name)
		if err != nil {
			found = append(found, warning("sources", "flow %q: %s", f.Name, message(err)))
			continue
		}
		for _, c := range why.Causes {
			if c.Code == dataflow.CauseNoted {
				found = append(found, warning("sources", "flow %q: %s", f.Name, s.inCommands(c.Text, f.Name)))
			}
		}
	}
	return found, ctx.Err()
}

// parts asks the parts of this program's flows what keeps them from working.
func (s *session) parts(ctx context.Context) ([]finding, error) {
	var found []finding
	for _, f := range s.config.Flows {
		ctx, cancel := context.WithTimeout(ctx, partTime)
		some, err := f.Examine(ctx)
		cancel()
		for _, part := range some {
			found = append(found, finding{Check: "flow " + f.Name, State: string(part.Level), Text: s.inCommands(part.Text, f.Name)})
		}
		if err != nil {
			found = append(found, warning("flow "+f.Name, "%s", message(err)))
		}
	}
	return found, ctx.Err()
}

// partTime is how long the parts of a flow may look for faults.
const partTime = 10 * time.Second

// unknownZones finds zones of schedules that this machine does not know.
func (s *session) unknownZones(ctx context.Context) ([]finding, error) {
	flows, err := s.flows(ctx, dataflow.FlowActive)
	if err != nil {
		return nil, err
	}
	var found []finding
	for _, f := range flows {
		var stored struct { // a Runtime with such a zone cannot be read here
			Zone string `json:"time_zone"`
		}
		_ = json.Unmarshal(f.ScheduleJSON, &stored) // the library has written it
		zone := stored.Zone
		if _, err := time.LoadLocation(zone); err != nil {
			found = append(found, warning("zones", "this machine does not know the time zone %q of flow %q, and cannot work its ticks: install its time zone data, such as the package tzdata, or import time/tzdata", zone, f.Name))
		}
	}
	return found, nil
}
