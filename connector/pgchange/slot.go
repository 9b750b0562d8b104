package pgchange

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

const (
	slotPatience = 10 * time.Second // for another process to leave the slot
	slotStale    = 2 * time.Second  // after which a stalled worker of ours is ended
	slotAgain    = 100 * time.Millisecond
)

// settings make the text of values the same in every session.
func settings(params map[string]string, name string) {
	params["application_name"] = name
	params["datestyle"], params["intervalstyle"], params["timezone"] = "ISO", "postgres", "UTC"
	params["extra_float_digits"], params["bytea_output"], params["client_encoding"] = "3", "hex", "UTF8"
}

// application is the name of a connection that holds the slot.
func (s *stream) application() string { return clip("dataflow "+s.options.Slot, 63) }

// loader is the name of a connection for queries beside the stream.
func (s *stream) loader() string { return clip("dataflow load "+s.options.Slot, 63) }

func clip(text string, n int) string { return text[:min(len(text), n)] }

// config returns the settings of the pool for a connection of the stream's own.
func (s *stream) config(ctx context.Context) (*pgx.ConnConfig, error) {
	pool := s.pool.Config()
	c := pool.ConnConfig.Copy()
	if pool.BeforeConnect != nil {
		if err := pool.BeforeConnect(ctx, c); err != nil {
			return nil, err
		}
	}
	if c.RuntimeParams == nil {
		c.RuntimeParams = make(map[string]string)
	}
	return c, nil
}

// control connects for queries beside the stream.
func (s *stream) control(ctx context.Context) (*pgx.Conn, error) {
	c, err := s.config(ctx)
	if err != nil {
		return nil, err
	}
	settings(c.RuntimeParams, s.loader())
	c.RuntimeParams["synchronous_commit"] = "local" // a watermark must reach the log at once, and no standby
	c.RuntimeParams["row_security"] = "off"         // rows that a policy hides are an error: the log has their changes
	conn, err := pgx.ConnectConfig(ctx, c)
	if sqlstate.Has(err, "08P01") { // as PgBouncer refuses the settings
		return nil, fmt.Errorf("connect for the tables (a pooler is in the way: the pool must have the server's own address): %w", err)
	}
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, patientQuery); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("set the session's time limits to none: %w", err)
	}
	return conn, nil
}

// patientQuery lifts the time limits that a role or a database may set for its sessions: a slot is
// created once all transactions have ended that write, and meanwhile, and between two looks at the
// publication, a connection is idle. Their names differ between versions.
const patientQuery = `
select pg_catalog.set_config(name, '0', false) from pg_catalog.pg_settings
where name in ('statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout')`

// replication connects for replication.
func (s *stream) replication(ctx context.Context) (*pgconn.PgConn, error) {
	c, err := s.config(ctx)
	if err != nil {
		return nil, err
	}
	settings(c.RuntimeParams, s.application())
	c.RuntimeParams["replication"] = "database"
	for _, name := range []string{"default_transaction_read_only", "statement_timeout", "idle_in_transaction_session_timeout"} {
		delete(c.RuntimeParams, name)
	}
	conn, err := pgconn.ConnectConfig(ctx, &c.Config)
	if err != nil {
		return nil, fmt.Errorf("connect for replication (the role needs the attribute replication, pg_hba.conf must allow it, and a pooler is in the way): %w", err)
	}
	if _, err := conn.Exec(ctx, patientQuery).ReadAll(); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("set the session's time limits to none: %w", err)
	}
	return conn, nil
}

// reasonSQL is why a slot was invalidated, empty if that is not known. Postgres 16 says only that a standby's
// slot conflicts with its primary.
const reasonSQL = `coalesce(to_jsonb(s) ->> 'invalidation_reason',
	case when (to_jsonb(s) ->> 'conflicting')::boolean then 'it conflicts with the primary, which needs wal_level = logical, as this standby needs hot_standby_feedback = on and a primary_slot_name' end, '')`

// slotQuery reads a slot. Its columns differ between versions.
const slotQuery = `
select coalesce(s.plugin, ''), coalesce(s.database, ''), coalesce(s.confirmed_flush_lsn::text, '0/0'), coalesce(to_jsonb(s) ->> 'wal_status', ''), ` + reasonSQL + `, current_database()::text,
	coalesce((to_jsonb(s) ->> 'synced')::boolean, false) and pg_catalog.pg_is_in_recovery()
from pg_catalog.pg_replication_slots s where s.slot_name = $1`

// slot returns the position that the slot has confirmed, and whether there is one.
func (s *stream) slot(ctx context.Context, conn *pgx.Conn) (confirmed LSN, exists bool, err error) {
	var plugin, database, at, status, reason, here string
	var kept bool
	err = conn.QueryRow(ctx, slotQuery, s.options.Slot).Scan(&plugin, &database, &at, &status, &reason, &here, &kept)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("look up slot %q: %w", s.options.Slot, err)
	case plugin != "pgoutput":
		return 0, true, dataflow.Permanent(fmt.Errorf("slot %q exists and is not for pgoutput, but %q: name another one", s.options.Slot, plugin))
	case database != here:
		return 0, true, dataflow.Permanent(fmt.Errorf("slot %q exists and is for database %q, not %q: name another one", s.options.Slot, database, here))
	case kept:
		return 0, true, s.standby("the server keeps the slot for its primary, and nobody can read it here")
	}
	if why := invalidated(status, reason); why != "" {
		return 0, true, s.lost("Postgres has invalidated it (" + why + ")")
	}
	return confirmed, true, confirmed.UnmarshalText([]byte(at))
}

// invalidated returns why Postgres has invalidated a slot of this wal_status and
// invalidation_reason, "" if it has not. Versions before 17 have no reason.
func invalidated(status, reason string) string {
	if status == "lost" || reason != "" {
		return cmp.Or(reason, "max_slot_wal_keep_size was too small")
	}
	return ""
}

// ownSlot returns the position of a slot that must be there.
func (s *stream) ownSlot(ctx context.Context, conn *pgx.Conn) (LSN, error) {
	confirmed, exists, err := s.slot(ctx, conn)
	if err != nil || exists {
		return confirmed, err
	}
	var recovers bool
	if err := conn.QueryRow(ctx, "select pg_catalog.pg_is_in_recovery()").Scan(&recovers); err != nil {
		return 0, err
	}
	if recovers {
		return 0, s.standby("the slot is not there")
	}
	return 0, s.lost("it is gone: somebody has dropped it, or the server is another one, such as a promoted standby without the slot (on Postgres 17 and later, a standby keeps the slot with Options.Failover and sync_replication_slots)")
}

// checkMoved returns an error if the slot is after the cursor.
func (s *stream) checkMoved(confirmed, cursor LSN) error {
	if confirmed <= cursor {
		return nil
	}
	return s.lost(fmt.Sprintf("it has confirmed %s, which is after the cursor %s: somebody else has read it, or it was made anew", confirmed, cursor))
}

// otherLog is the error of a server whose log was another one when the cursor passed it: the data went back
// to a copy of the disk, and the server has written past the cursor since.
func (s *stream) otherLog(commit LSN, how string) error {
	return s.lost(fmt.Sprintf("the server's log before the cursor is not the one that was read (the transaction with the commit %s %s): the server was restored from a snapshot of its disk", commit, how))
}

// notOurs is the error of a slot that is there before the flow has made it.
func (s *stream) notOurs(confirmed LSN) error {
	return dataflow.Permanent(fmt.Errorf("slot %q exists already, and the flow has no cursor: it may be another reader's, from which the flow would take changes. Name another slot. "+
		"Or, if nobody reads it any more, drop it: select pg_drop_replication_slot('%[1]s'). Or, if it was made for this flow, say where it begins: dataflow cursor set FLOW '{\"lsn\":\"%s\"}'", s.options.Slot, confirmed))
}

// lost is the error of a slot that has not all changes any more.
func (s *stream) lost(why string) error {
	return dataflow.Permanent(fmt.Errorf("slot %q: %s. Changes are lost, so that the target cannot follow any more. "+
		"Begin anew: drop the slot if it exists (select pg_drop_replication_slot('%[1]s')), empty the target, and begin at the beginning: dataflow cursor set FLOW --beginning, or a new name for the flow", s.options.Slot, why))
}

// reserve sees that of several flows with one slot, only one says that it is about to create it. The
// lock stays until the connection is closed.
func (s *stream) reserve(ctx context.Context, conn *pgx.Conn) error {
	var ours bool
	err := conn.QueryRow(ctx, "select pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('dataflow slot ' || $1, 0))", s.options.Slot).Scan(&ours)
	switch {
	case err != nil:
		return fmt.Errorf("reserve slot %q: %w", s.options.Slot, err)
	case ours:
		return nil
	}
	confirmed, exists, err := s.slot(ctx, conn)
	switch {
	case err != nil:
		return err
	case exists:
		return s.notOurs(confirmed)
	default:
		return dataflow.Transient(fmt.Errorf("slot %q is about to be created by another process or flow: a slot is for one flow", s.options.Slot))
	}
}

func (s *stream) createSlot(ctx context.Context, conn *pgx.Conn) (LSN, error) {
	var level string
	if err := conn.QueryRow(ctx, "show wal_level").Scan(&level); err != nil {
		return 0, fmt.Errorf("look up wal_level: %w", err)
	}
	if level != "logical" {
		return 0, dataflow.Permanent(fmt.Errorf("wal_level is %q: alter system set wal_level = logical, and restart the server", level))
	}
	create := "select lsn::text from pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput')"
	if s.options.Failover {
		create = "select lsn::text from pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput', failover => true)"
	}
	began := time.Now() //nolint:forbidigo // how long it takes, not what time it is
	slow := time.AfterFunc(settleTold, func() {
		s.tell(ctx, fmt.Sprintf("slot %q is being created since %s: Postgres waits until all transactions have ended that write: see pg_stat_activity for the oldest xact_start, and pg_prepared_xacts", s.options.Slot, began.UTC().Format(time.RFC3339)))
	})
	defer slow.Stop()
	var text string
	err := conn.QueryRow(ctx, create, s.options.Slot).Scan(&text)
	switch {
	case sqlstate.Has(err, "53400"):
		return 0, dataflow.Permanent(fmt.Errorf("create slot %q: all slots are in use: alter system set max_replication_slots to a greater number, and restart the server: %w", s.options.Slot, err))
	case s.options.Failover && sqlstate.Has(err, "42883"):
		return 0, dataflow.Permanent(fmt.Errorf("create slot %q: Options.Failover needs Postgres 17 or later: %w", s.options.Slot, err))
	case sqlstate.Has(err, "42710"): // it was not there a moment ago
		return 0, dataflow.Permanent(fmt.Errorf("create slot %q: somebody else has made it just now: a slot is for one flow: %w", s.options.Slot, err))
	case err != nil:
		return 0, fmt.Errorf("create slot %q: %w", s.options.Slot, err)
	}
	at, err := pglogrepl.ParseLSN(text)
	return LSN(at), err
}

// start begins to stream from a position. If another connection uses the slot, it waits a
// moment, and ends a worker of this flow that has stalled. A preview does neither.
func (s *stream) start(ctx context.Context, conn *pgconn.PgConn, control *pgx.Conn, from LSN, preview bool) error {
	began := time.Now() //nolint:forbidigo // how long it takes, not what time it is
	args := []string{"proto_version '1'", "publication_names " + literal(pgx.Identifier{s.options.Publication}.Sanitize())}
	for {
		err := pglogrepl.StartReplication(ctx, conn, `"`+s.options.Slot+`"`, pglogrepl.LSN(from), pglogrepl.StartReplicationOptions{PluginArgs: args})
		if !sqlstate.Has(err, "55006") {
			return s.startError(ctx, control, err)
		}
		if err := untilReady(ctx, conn); err != nil {
			return err
		}
		holder, err := s.holder(ctx, control, time.Since(began) > slotStale && !preview)
		if err != nil {
			return err
		}
		if preview {
			return fmt.Errorf("slot %q is in use by %s: while a run reads it, nobody else can: there is no preview now", s.options.Slot, holder)
		}
		if time.Since(began) > slotPatience {
			return dataflow.Transient(fmt.Errorf("slot %q is in use by %s: a slot is for one flow: give this flow another one, or end that connection (select pg_terminate_backend(…))", s.options.Slot, holder))
		}
		t := time.NewTimer(slotAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// untilReady reads until the server takes the next command.
func untilReady(ctx context.Context, conn *pgconn.PgConn) error {
	for {
		message, err := conn.ReceiveMessage(ctx)
		if err != nil {
			return err
		}
		if _, ready := message.(*pgproto3.ReadyForQuery); ready {
			return nil
		}
	}
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func (s *stream) startError(ctx context.Context, control *pgx.Conn, err error) error {
	switch {
	case err == nil:
		return nil
	case sqlstate.Has(err, "55000"): // the slot tells why
		if _, why := s.ownSlot(ctx, control); why != nil {
			return why
		}
		fallthrough
	default:
		return fmt.Errorf("start to read slot %q: %w", s.options.Slot, err)
	}
}

// streamError explains an error with which the server ends the stream.
func (s *stream) streamError(ctx context.Context, control *pgx.Conn, err error) error {
	var missing *pgconn.PgError // 42704 may also be of another object, such as a type
	ofPublication := errors.As(err, &missing) && missing.Code == "42704" && missing.Routine == "get_publication_oid"
	err = fmt.Errorf("slot %q: %w", s.options.Slot, err)
	if !ofPublication {
		return err
	}
	if _, why := s.lookUp(ctx, control); why != nil { // there is no such publication now
		return why
	}
	return s.lost(fmt.Sprintf("the log after the cursor has changes from when there was no publication %q: it was dropped and made anew, or renamed for a while. Postgres before 18 cannot send these (%v)", s.options.Publication, err))
}

// holderQuery reads which connection uses a slot. Another role's is hidden without
// pg_read_all_stats.
const holderQuery = `
select s.active_pid, coalesce(a.application_name, ''), coalesce(host(a.client_addr), 'this machine'), coalesce(a.usename = current_user, false)
from pg_catalog.pg_replication_slots s left join pg_catalog.pg_stat_activity a on a.pid = s.active_pid
where s.slot_name = $1 and s.active_pid is not null`

// holder says who uses the slot. If stale, it ends the connection of a worker of this flow,
// whose run this process has.
func (s *stream) holder(ctx context.Context, control *pgx.Conn, stale bool) (string, error) {
	var pid int32
	var name, address string
	var own bool
	err := control.QueryRow(ctx, holderQuery, s.options.Slot).Scan(&pid, &name, &address, &own)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "a process that has just left", nil
	case err != nil:
		return "", fmt.Errorf("look up who uses slot %q: %w", s.options.Slot, err)
	}
	if stale && own && name == s.application() {
		s.tell(ctx, fmt.Sprintf("process %d of the server still reads slot %q for a worker that has lost this run: ending it", pid, s.options.Slot))
		if _, err := control.Exec(ctx, "select pg_catalog.pg_terminate_backend($1)", pid); err != nil {
			return "", fmt.Errorf("end process %d, which uses slot %q: %w", pid, s.options.Slot, err)
		}
	}
	return fmt.Sprintf("process %d of the server (application %q, from %s)", pid, name, address), nil
}
