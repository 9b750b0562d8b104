package dataflowpgx

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// Clients work while the tables are migrated. A step locks whole tables, and their statements queue
// after it. So it takes its locks in the order of the clients' transactions, gives up after a
// moment, and tries again.
const (
	// stepPatience is shorter than the time after which Postgres looks for deadlocks, and than the
	// shortest lease.
	stepPatience = 500 * time.Millisecond
	// stepPause is the time that the clients have until the next try.
	stepPause = 500 * time.Millisecond
)

const sqlStepLock = `lock table {s}dataflow_run, {s}dataflow_flow in access exclusive mode`

// step does a step of a migration in a transaction, again and again if other transactions are in
// the way. locked says that there are tables to lock.
func (s *store) step(ctx context.Context, locked bool, do func(tx pgx.Tx) error) error {
	again := time.NewTicker(stepPause)
	defer again.Stop()
	for {
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, fmt.Sprintf("set local lock_timeout = %d", stepPatience.Milliseconds())); err != nil {
				return err
			}
			if locked {
				if _, err := tx.Exec(ctx, s.text(sqlStepLock)); err != nil {
					return err
				}
			}
			return do(tx)
		})
		if !sqlstate.Is(err, sqlstate.Conflict) {
			return err
		}
		again.Reset(stepPause)
		s.log.WarnContext(ctx, "dataflow: the migration waits for transactions that use the tables; trying again", slog.String("error", err.Error()))
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, while it waited for transactions that use the tables: %w", ctx.Err(), err)
		case <-again.C:
		}
	}
}
