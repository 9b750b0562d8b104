package pgchange

import (
	"context"
	"fmt"
	"time"

	"github.com/activedataflow/dataflow"
)

const (
	// lagQuery reads how much of the log the slot keeps, and how long the target takes to commit
	// what it gets. Postgres knows the latter only while somebody reads the slot.
	lagQuery = `
select pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.confirmed_flush_lsn)::bigint,
	pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::bigint,
	coalesce(extract(epoch from r.flush_lag), 0)::double precision, s.active, coalesce(to_jsonb(s) ->> 'wal_status', '')
from pg_catalog.pg_replication_slots s left join pg_catalog.pg_stat_replication r on r.pid = s.active_pid
where s.slot_name = $1 and s.confirmed_flush_lsn is not null`
	lagTold     = 1 << 20 // bytes
	lagToldTime = time.Second
)

// Notes says how far the target lags, and what the slot costs the server.
func (s *source[T]) Notes(ctx context.Context, _ dataflow.Request[Position]) ([]string, error) {
	var behind, kept int64
	var seconds float64
	var active bool
	var status string
	rows, err := s.pool.Query(ctx, lagQuery, s.options.Slot)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err() // it is not made yet, or the run says that it is gone
	}
	if err := rows.Scan(&behind, &kept, &seconds, &active, &status); err != nil {
		return nil, err
	}
	var notes []string
	if lag := time.Duration(seconds * float64(time.Second)); behind >= lagTold || lag >= lagToldTime {
		note := fmt.Sprintf("slot %q has %s of the log still to apply, and keeps %s of it on the server's disk", s.options.Slot, size(behind), size(kept))
		if lag > 0 {
			note += fmt.Sprintf("; the target lags by %s", lag.Round(time.Millisecond))
		}
		if !active {
			note += "; nobody reads it: while no run works, the server keeps more and more"
		}
		notes = append(notes, note)
	}
	if status == "unreserved" {
		notes = append(notes, fmt.Sprintf("slot %q keeps more than max_slot_wal_keep_size allows: at the next checkpoint of the server it is lost, and with it changes", s.options.Slot))
	}
	return notes, rows.Err()
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
