package pgchange

import (
	"context"
	"time"

	"github.com/activedataflow/dataflow"
)

// endQuery reads where the log ends, and the server's clock.
const endQuery = `
select (case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() else pg_catalog.pg_current_wal_lsn() end)::text, pg_catalog.clock_timestamp()`

// LagBytes returns how much of the log is after the cursor. Other databases and tables have
// their part in it.
func (s *source[T]) LagBytes(ctx context.Context, r dataflow.Request[Position]) (int64, bool, error) {
	if !r.Resumed || r.From.Creating {
		return 0, false, nil
	}
	bytes, _, err := s.lag(ctx, &r.From)
	return bytes, err == nil, err
}

// Lag returns at most how old the state is that the target has: the time since the last commit
// that was read, unless the cursor is at the end of the log. It does not tell while tables are
// loaded.
func (s *source[T]) Lag(ctx context.Context, r dataflow.Request[Position]) (time.Duration, bool, error) {
	if !r.Resumed || r.From.Creating || r.From.At.IsZero() || r.From.Table != "" || len(r.From.Loaded) == 0 {
		return 0, false, nil
	}
	_, age, err := s.lag(ctx, &r.From)
	return age, err == nil, err
}

func (s *stream) lag(ctx context.Context, from *Position) (bytes int64, age time.Duration, err error) {
	var text string
	var now time.Time
	if err := s.pool.QueryRow(ctx, endQuery).Scan(&text, &now); err != nil {
		return 0, 0, err
	}
	var end LSN
	if err := end.UnmarshalText([]byte(text)); err != nil {
		return 0, 0, err
	}
	if end <= from.LSN {
		return 0, 0, nil
	}
	return int64(end - from.LSN), now.Sub(from.At), nil
}
