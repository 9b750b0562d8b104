package pgtable

import (
	"context"
	"fmt"
	"time"
)

// Lag reads only rows whose key is at least a fixed time before the database's
// clock. It needs no permissions. It protects the rows of transactions shorter than
// that time. A longer transaction is not noticed, and its rows may be missed.
//
// On a standby, the time counts from the last commit replayed there, so a slow
// replay does no harm. The very last rows are read once a later transaction has
// been replayed.
type Lag struct {
	// By is the fixed time. It must be longer than any transaction that writes to
	// the table, plus the most that a writer's clock may be slow. Required.
	By time.Duration

	// UTC says that a key column of type timestamp, without time zone, holds times
	// in UTC. Without it such a column is an error.
	UTC bool
}

// lagQuery returns the clock's time. On a standby it returns the time of the last
// replayed commit, or null if there was none.
const lagQuery = `
select (extract(epoch from case when pg_is_in_recovery() then pg_last_xact_replay_timestamp() else clock_timestamp() end) * 1000000)::bigint, ` + serverID

func (g Lag) String() string { return fmt.Sprintf("lag %v", g.By) }

func (g Lag) validate([]string) error {
	if g.By <= 0 {
		return badGuard("Lag.By %v protects no rows: give more than the longest time that a transaction writes to the table", g.By)
	}
	return nil
}

func (g Lag) cast(first keyColumn) (string, error) { return timeCast("Lag", first, g.UTC) }

func (g Lag) horizon(ctx context.Context, r readStart) (horizon, error) {
	var clock *int64
	var server int64
	if err := r.pool.QueryRow(ctx, lagQuery).Scan(&clock, &server); err != nil {
		return horizon{}, inTheWay(fmt.Errorf("ask for the time: %w", err))
	}
	if clock == nil {
		return horizon{limit: negativeInfinity, server: server}, nil
	}
	now := time.UnixMicro(*clock)
	return horizon{limit: timeText(now.Add(-g.By)), server: server, clock: now}, nil
}
