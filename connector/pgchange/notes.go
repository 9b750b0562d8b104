package pgchange

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
)

const (
	// keptQuery reads how much of the log the slot keeps, and what it has confirmed.
	keptQuery = `
select s.confirmed_flush_lsn::text, pg_catalog.pg_wal_lsn_diff(case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() else pg_catalog.pg_current_wal_lsn() end, s.restart_lsn)::bigint,
	s.active, coalesce(to_jsonb(s) ->> 'wal_status', '')
from pg_catalog.pg_replication_slots s
where s.slot_name = $1 and s.confirmed_flush_lsn is not null`
	lagTold     = 1 << 20 // bytes
	lagToldTime = 30 * time.Second
)

// Notes says how far the target lags, and what the slot costs the server.
func (s *source[T]) Notes(ctx context.Context, r dataflow.Request[Position]) ([]string, error) {
	var confirmed, status string
	var kept int64
	var active bool
	err := s.pool.QueryRow(ctx, keptQuery, s.options.Slot).Scan(&confirmed, &kept, &active, &status)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil // it is not made yet, or the run says that it is gone
	case err != nil:
		return nil, err
	}
	if !r.Resumed || r.From.Creating {
		if err := r.From.LSN.UnmarshalText([]byte(confirmed)); err != nil {
			return nil, err
		}
		r.From.At = time.Time{}
	}
	bytes, age, err := s.lag(ctx, &r.From)
	if err != nil {
		return nil, err
	}
	if r.From.At.IsZero() {
		age = 0
	}
	var notes []string
	if bytes >= lagTold || age >= lagToldTime {
		note := fmt.Sprintf("slot %q has %s of the log still to apply, and keeps %s of it on the server's disk", s.options.Slot, size(bytes), size(kept))
		if age > 0 {
			note += fmt.Sprintf("; the target is as the source was %s ago, at %s, or later", age.Round(time.Second), r.From.At.Format(time.RFC3339))
		}
		if !active {
			note += "; nobody reads it: while no run works, the server keeps more and more"
		}
		notes = append(notes, note)
	}
	if status == "unreserved" {
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
