package cli

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// pooler finds out whether a pooler in transaction mode is between this program and Postgres.
// Such a pooler sends each statement to any free server process. A direct connection, and a
// pooler in session mode, keep one process for each client.
func (s *session) pooler(ctx context.Context) finding {
	for range 3 { // a pooler may use the same process again by chance
		shared, err := s.shared(ctx)
		if err != nil { // such as a server without a second free connection
			return warning("pooler", "the check for a pooler failed: %v", err)
		}
		if shared {
			return warning("pooler", "a pooler in transaction mode, such as PgBouncer, is between this program and Postgres, and loses LISTEN: "+
				"let started clients connect directly or in session mode, or set PollOnly in Config.River")
		}
	}
	return ok("pooler", "each connection keeps its session")
}

// shared reports whether two connections shared a server process, or one connection changed
// its process. The second connects while the first is idle. The first is queried again while
// the second is in a transaction.
func (s *session) shared(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	config := s.db.Postgres.Config().ConnConfig
	// A pooler in any mode supports the simple protocol.
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	first, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false, err
	}
	defer first.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it was only to be asked
	second, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false, err
	}
	defer second.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it was only to be asked

	earlier, err := serverProcess(ctx, first)
	if err != nil {
		return false, err
	}
	before, err := serverProcess(ctx, first)
	if err != nil || before != earlier { // the pooler's processes take turns
		return err == nil, err
	}
	tx, err := second.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // it was only to be asked
	other, err := serverProcess(ctx, tx)
	if err != nil || other == before {
		return err == nil, err // with a pool of one process, the first would wait
	}
	after, err := serverProcess(ctx, first)
	return after != before, err
}

func serverProcess(ctx context.Context, db interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
},
) (pid int64, err error) {
	err = db.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid)
	return pid, err
}
