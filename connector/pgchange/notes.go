package pgchange

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
)

// keptQuery reads how much of the log the slot keeps, what it has confirmed, and who reads it.
// Another role's connection is hidden without pg_read_all_stats.
const keptQuery = `
select s.confirmed_flush_lsn::text, coalesce(pg_catalog.pg_wal_lsn_diff(case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() else pg_catalog.pg_current_wal_lsn() end, s.restart_lsn), 0)::bigint,
	coalesce(to_jsonb(s) ->> 'wal_status', ''), ` + reasonSQL + `,
	coalesce(s.active_pid, 0), coalesce(a.application_name, ''), coalesce(host(a.client_addr), 'this machine'), a.backend_start, a.query_start,
	coalesce((select 'that of process ' || o.pid || ' of the server (application "' || o.application_name || '"), since ' || to_char(o.xact_start at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
		from pg_catalog.pg_stat_activity o where s.confirmed_flush_lsn is null and o.pid = any(pg_catalog.pg_blocking_pids(s.active_pid)) order by o.xact_start limit 1),
		(select 'the prepared transaction ' || quote_literal(p.gid) || ' of role "' || p.owner || '", since ' || to_char(p.prepared at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || ', which "commit prepared" or "rollback prepared" ends'
		from pg_catalog.pg_locks l join pg_catalog.pg_prepared_xacts p on p.transaction = l.transactionid
		where s.confirmed_flush_lsn is null and l.pid = s.active_pid and not l.granted limit 1), ''),
	case when a.wait_event = 'WaitForStandbyConfirmation' then coalesce(current_setting('synchronized_standby_slots', true), '') else '' end
from pg_catalog.pg_replication_slots s left join pg_catalog.pg_stat_activity a on a.pid = s.active_pid
where s.slot_name = $1`

const (
	lagTold     = 1 << 20 // bytes
	lagToldTime = 30 * time.Second
)

// kept is what keptQuery reads.
type kept struct {
	confirmed            *string // nil: the slot is being created, or is lost
	bytes                int64
	status, reason       string
	pid                  int32 // that reads it; 0: nobody does
	application, address string
	since, asked         *time.Time // since when it is connected, and does what it does
	blocks               string     // what the creation of the slot waits for
	standbys             string     // whose slots the server waits for before it sends more
}

// Notes says what keeps the stream from its changes, how far the target lags, and what the slot costs the
// server.
func (s *source[T]) Notes(ctx context.Context, r dataflow.Request[Position]) ([]string, error) {
	var k kept
	isNew := !r.Resumed || r.From.Creating
	err := s.pool.QueryRow(ctx, keptQuery, s.options.Slot).Scan(&k.confirmed, &k.bytes, &k.status, &k.reason, &k.pid, &k.application, &k.address, &k.since, &k.asked, &k.blocks, &k.standbys)
	switch {
	case errors.Is(err, pgx.ErrNoRows) && isNew:
		return s.missing(ctx)
	case errors.Is(err, pgx.ErrNoRows):
		return []string{fmt.Sprintf("slot %q is gone, and with it changes: the next read says what to do", s.options.Slot)}, nil
	case err != nil:
		return nil, err
	case invalidated(k.status, k.reason) != "":
		return []string{fmt.Sprintf("Postgres has invalidated slot %q (%s), and changes are lost: the next read says what to do", s.options.Slot, invalidated(k.status, k.reason))}, nil
	case k.confirmed == nil:
		return s.creating(&k), nil
	}
	notes, err := s.missing(ctx)
	if err != nil {
		return nil, err
	}
	if k.pid != 0 && !s.isOurs(k.application) {
		notes = append(notes, fmt.Sprintf("slot %q is in use by process %d of the server (application %q, from %s)%s: a slot is for one flow, whose read waits for it", s.options.Slot, k.pid, k.application, k.address, sinceText(k.since)))
	}
	if k.standbys != "" {
		notes = append(notes, fmt.Sprintf("slot %q: the server sends no changes before its standbys have confirmed them (synchronized_standby_slots = '%s'): see pg_replication_slots for one that nobody reads, and start its standby, or take the name of one that is gone for good out of the setting", s.options.Slot, k.standbys))
	}
	lag, err := s.lagNotes(ctx, r.From, &k, isNew)
	return append(notes, lag...), err
}

// isOurs reports whether a connection of this name is a stream's of this slot, or may be.
func (s *stream) isOurs(application string) bool {
	return application == "" || application == s.application() || application == s.loader()
}

func sinceText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return " since " + t.UTC().Format(time.RFC3339)
}

// missing says what the publication lacks.
func (s *stream) missing(ctx context.Context) ([]string, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	if _, err = s.lookUp(ctx, conn.Conn()); dataflow.IsPermanent(err) {
		return []string{err.Error()}, nil
	}
	return nil, err
}

// creating says what the creation of the slot waits for.
func (s *stream) creating(k *kept) []string {
	if k.pid == 0 {
		return nil
	}
	note := fmt.Sprintf("slot %q is being created%s: Postgres waits until all transactions have ended that write", s.options.Slot, sinceText(k.asked))
	if k.blocks != "" {
		note += ": now for " + k.blocks
	}
	return []string{note}
}

// lagNotes says how far the target lags.
func (s *stream) lagNotes(ctx context.Context, from Position, k *kept, isNew bool) ([]string, error) {
	if isNew {
		from = Position{}
		if err := from.LSN.UnmarshalText([]byte(*k.confirmed)); err != nil {
			return nil, err
		}
	}
	bytes, age, err := s.lag(ctx, &from)
	if err != nil {
		return nil, err
	}
	if from.At.IsZero() {
		age = 0
	}
	var notes []string
	if bytes >= lagTold || age >= lagToldTime {
		note := fmt.Sprintf("slot %q has %s of the log still to apply, and keeps %s of it on the server's disk", s.options.Slot, size(bytes), size(k.bytes))
		if age > 0 {
			note += fmt.Sprintf("; the target is as the source was %s ago, at %s, or later", age.Round(time.Second), from.At.Format(time.RFC3339))
		}
		if k.pid == 0 {
			note += "; nobody reads it: while no run works, the server keeps more and more"
		}
		notes = append(notes, note)
	}
	if k.status == "unreserved" {
		notes = append(notes, fmt.Sprintf("slot %q keeps more than max_slot_wal_keep_size allows: at the next checkpoint of the server it is lost, and with it changes", s.options.Slot))
	}
	return notes, nil
}

// size returns a number of bytes as people read it.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%d KiB", n>>10)
	}
}
