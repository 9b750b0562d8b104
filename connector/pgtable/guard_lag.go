package pgtable

import (
	"context"
	"fmt"
	"time"
)

// Lag leaves the rows to a later read whose key is less than a fixed time
// before the database's clock. It needs no permissions, and it protects the rows
// of the transactions that take less than that time. A transaction that takes
// longer is not noticed, and its rows may be missed.
//
// On a standby, the time counts from the last commit that was replayed there,
// so that a slow replay does no harm. The last rows of all are read when a later
// transaction has been replayed.
type Lag struct {
	// By is the time. It is longer than any transaction that writes the table,
	// and than any writer's clock may be late. It must be given.
	By time.Duration

	// UTC says that a key column of the type timestamp, which has no time zone,
	// holds times in UTC. Without it such a column is refused.
	UTC bool
}

// lagQuery returns the clock's time, or that of the last commit that a standby
// has replayed, if there was one.
const lagQuery = `
select (extract(epoch from case when pg_is_in_recovery() then pg_last_xact_replay_timestamp() else clock_timestamp() end) * 1000000)::bigint`

func (g Lag) String() string { return fmt.Sprintf("lag %v", g.By) }

func (g Lag) validate([]string) error {
	if g.By <= 0 {
		return badGuard("Lag.By %v protects nothing: give the longest time that a transaction writes to the table", g.By)
	}
	return nil
}

func (g Lag) cast(first keyColumn) (string, error) { return timeCast("Lag", first, g.UTC) }

func (g Lag) horizon(ctx context.Context, r readStart) (horizon, error) {
	var clock *int64
	if err := r.pool.QueryRow(ctx, lagQuery).Scan(&clock); err != nil {
		return horizon{}, fmt.Errorf("ask for the time: %w", err)
	}
	if clock == nil {
		return horizon{limit: negativeInfinity}, nil
	}
	return horizon{limit: timeText(time.UnixMicro(*clock).Add(-g.By))}, nil
}
