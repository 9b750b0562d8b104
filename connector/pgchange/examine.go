package pgchange

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
)

// serverQuery reads what a stream needs of its server.
const serverQuery = `
select current_setting('wal_level'), pg_catalog.pg_is_in_recovery(), current_user::text,
	coalesce((select r.rolreplication or r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user), false)
		or exists (select from pg_catalog.pg_roles r where r.rolname = 'rds_replication' and pg_catalog.pg_has_role(current_user, r.oid, 'usage')),
	current_setting('max_replication_slots')::bigint, (select count(*) from pg_catalog.pg_replication_slots),
	current_setting('max_wal_senders')::bigint, (select count(*) from pg_catalog.pg_stat_get_wal_senders()),
	coalesce((select setting::bigint from pg_catalog.pg_settings where name = 'max_slot_wal_keep_size'), -1),
	coalesce((select setting || coalesce(unit, '') from pg_catalog.pg_settings where name = 'idle_replication_slot_timeout' and setting <> '0'), '')`

// slotStateQuery reads the state of a slot. safe_wal_size is what may still be written before the slot is lost.
const slotStateQuery = `
select s.active, coalesce(to_jsonb(s) ->> 'wal_status', ''), coalesce((to_jsonb(s) ->> 'safe_wal_size')::bigint, -1),
	coalesce(pg_catalog.pg_wal_lsn_diff(case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() else pg_catalog.pg_current_wal_lsn() end, s.restart_lsn), 0)::bigint,
	coalesce((to_jsonb(s) ->> 'failover')::boolean, false)
from pg_catalog.pg_replication_slots s where s.slot_name = $1`

// examiner collects what it finds.
type examiner struct {
	*stream
	found []dataflow.Finding
}

func (e *examiner) add(level dataflow.FindingLevel, format string, args ...any) {
	e.found = append(e.found, dataflow.Finding{Level: level, Text: fmt.Sprintf(format, args...)})
}

func (e *examiner) problem(format string, args ...any) {
	e.add(dataflow.FindingProblem, format, args...)
}

func (e *examiner) warning(format string, args ...any) {
	e.add(dataflow.FindingWarning, format, args...)
}

// Examine looks at the server, the publication and its tables, and the slot.
func (s *source[T]) Examine(ctx context.Context) ([]dataflow.Finding, error) {
	return s.examine(ctx, nil)
}

// ExamineFrom also looks whether the slot still has all changes after the cursor.
func (s *source[T]) ExamineFrom(ctx context.Context, r dataflow.Request[Position]) ([]dataflow.Finding, error) {
	return s.examine(ctx, &r)
}

// examine looks at all. r is nil if it is not known where the next read begins.
func (s *source[T]) examine(ctx context.Context, r *dataflow.Request[Position]) ([]dataflow.Finding, error) {
	e := &examiner{stream: &s.stream}
	conn, err := s.control(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the server of slot %q: %w", s.options.Slot, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	exists, err := e.slotState(ctx, conn, r)
	if err != nil {
		return e.found, err
	}
	if err := e.server(ctx, conn, exists); err != nil {
		return e.found, err
	}
	p, err := s.lookUp(ctx, conn)
	switch {
	case dataflow.IsPermanent(err):
		e.problem("%v", err)
		return e.found, nil
	case err != nil:
		return e.found, err
	}
	for _, t := range p.tables {
		missing, err := missingColumns[T](t)
		switch {
		case err != nil:
			e.problem("%v", err)
		case len(missing) > 0:
			e.problem("table %s has no column %q that publication %q sends: alter the publication, or correct the record", t.name, missing, s.options.Publication)
		}
		if err := e.table(ctx, conn, t); err != nil {
			return e.found, err
		}
	}
	if len(e.found) == 0 {
		what := fmt.Sprintf("the server, publication %q and slot %q are as they must be", s.options.Publication, s.options.Slot)
		if !exists {
			what = fmt.Sprintf("the server and publication %q are as they must be, and slot %q is not there: the first run creates it", s.options.Publication, s.options.Slot)
		}
		e.add(dataflow.FindingOK, "%s", what)
	}
	return e.found, nil
}

// server looks at settings and the role.
func (e *examiner) server(ctx context.Context, conn *pgx.Conn, slotExists bool) error {
	var level, role, idle string
	var standby, replicates bool
	var slots, slotsUsed, senders, sendersUsed, keep int64
	err := conn.QueryRow(ctx, serverQuery).Scan(&level, &standby, &role, &replicates, &slots, &slotsUsed, &senders, &sendersUsed, &keep, &idle)
	if err != nil {
		return fmt.Errorf("look at the server's settings: %w", err)
	}
	if level != "logical" {
		e.problem("wal_level is %q: alter system set wal_level = logical, and restart the server", level)
	}
	if standby && !e.options.OnlyChanges {
		e.problem("the server is a standby, from which tables cannot be loaded: connect to the primary, or set Options.OnlyChanges")
	}
	if !replicates {
		e.problem("role %s may not read the log: alter role %s replication", role, pgx.Identifier{role}.Sanitize())
	}
	if !slotExists && slotsUsed >= slots {
		e.problem("all %d slots of the server are in use, and slot %q is not there yet: alter system set max_replication_slots to a greater number, and restart the server", slots, e.options.Slot)
	}
	if sendersUsed >= senders {
		e.problem("all %d wal senders of the server are in use, of which a read needs one: alter system set max_wal_senders to a greater number, and restart the server", senders)
	}
	if keep < 0 {
		e.warning("max_slot_wal_keep_size is -1: while no run reads slot %q, the server keeps its log until the disk is full: alter system set max_slot_wal_keep_size = '20GB', or what the disk has, and select pg_reload_conf()", e.options.Slot)
	}
	if idle != "" {
		e.warning("idle_replication_slot_timeout is %s: if no run reads slot %q for so long, the slot is lost, and the copy begins anew: alter system set idle_replication_slot_timeout = 0, or to longer than any pause of the flow", idle, e.options.Slot)
	}
	return nil
}

// slotState looks at the slot, and reports whether there is one.
func (e *examiner) slotState(ctx context.Context, conn *pgx.Conn, r *dataflow.Request[Position]) (exists bool, err error) {
	confirmed, exists, err := e.slot(ctx, conn)
	if err == nil && r != nil {
		err = e.checkCursor(ctx, conn, r, confirmed, exists)
	}
	switch {
	case dataflow.IsPermanent(err):
		e.problem("%v", err)
		return exists, nil
	case err != nil || !exists:
		return exists, err
	}
	var active, failover bool
	var status string
	var safe, kept int64
	err = conn.QueryRow(ctx, slotStateQuery, e.options.Slot).Scan(&active, &status, &safe, &kept, &failover)
	if err != nil {
		return exists, fmt.Errorf("look at slot %q: %w", e.options.Slot, err)
	}
	switch {
	case status == "unreserved":
		e.problem("slot %q keeps %s of the log, more than max_slot_wal_keep_size allows: at the server's next checkpoint it is lost, and the copy begins anew: let a run read it now, or alter system set max_slot_wal_keep_size to more, and select pg_reload_conf()", e.options.Slot, size(kept))
	case safe >= 0 && safe < kept:
		e.warning("slot %q keeps %s of the log, and after %s more it may be lost: let a run read it, or alter system set max_slot_wal_keep_size to more, and select pg_reload_conf()", e.options.Slot, size(kept), size(safe))
	case !active && kept >= lagKept:
		e.warning("slot %q keeps %s of the log on the server's disk, and nobody reads it: let a run of the flow read it, or drop it: select pg_drop_replication_slot('%[1]s')", e.options.Slot, size(kept))
	}
	if e.options.Failover && !failover {
		e.warning("slot %q has no failover, although Options.Failover is set: a promoted standby lacks it: with no run of the flow at work, connect for replication (psql \"replication=database\") and run ALTER_REPLICATION_SLOT %[1]s (FAILOVER)", e.options.Slot)
	}
	return exists, nil
}

// checkCursor returns an error if a read cannot go on at a cursor.
func (e *examiner) checkCursor(ctx context.Context, conn *pgx.Conn, r *dataflow.Request[Position], confirmed LSN, exists bool) error {
	switch {
	case r.From.Creating:
		return nil
	case !r.Resumed && exists:
		return e.notOurs(confirmed)
	case !r.Resumed:
		return nil
	case !exists:
		_, err := e.ownSlot(ctx, conn)
		return err
	default:
		return e.checkMoved(confirmed, r.From.LSN)
	}
}

// lagKept is how much of the log a slot may keep that nobody reads, without a warning.
const lagKept = 256 << 20

// table looks whether the role may load a table.
func (e *examiner) table(ctx context.Context, conn *pgx.Conn, t *table) error {
	if e.options.OnlyChanges {
		return nil
	}
	var may, hides bool
	err := conn.QueryRow(ctx, `
select pg_catalog.row_security_active($1::oid), coalesce((select bool_and(pg_catalog.has_column_privilege($1::oid, a, 'select')) from unnest($2::text[]) a), true)
	and pg_catalog.has_schema_privilege((select relnamespace from pg_catalog.pg_class where oid = $1::oid), 'usage')`, t.oid, t.columns).Scan(&hides, &may)
	if err != nil {
		return fmt.Errorf("look at the rights on table %s: %w", t.name, err)
	}
	if may && !hides {
		return nil
	}
	role := "the role"
	if err := conn.QueryRow(ctx, "select quote_ident(current_user)").Scan(&role); err != nil {
		return err
	}
	if hides {
		e.problem("row security may hide rows of table %s from the role, which the first load must read: alter role %s bypassrls, or read as the owner of the table if row security is not forced on it", t.name, role)
	}
	if !may {
		schema, _, _ := strings.Cut(t.sql, ".")
		e.problem("the role may not read table %s, which the first load does: grant usage on schema %s to %s, and grant select on %s to %[3]s", t.name, schema, role, t.sql)
	}
	return nil
}
