// Package pooler finds out whether a pooler in transaction mode, such as PgBouncer, is between
// a pool and its server. Such a pooler runs each transaction of a client in any free server
// process. A client loses what it prepared there, and the notifications that it listens for.
package pooler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
)

// Found is what is between a pool and its server. The zero value is a direct connection, or a
// pooler that keeps one server process for each client.
type Found struct {
	Transaction bool // a pooler in transaction mode
	Prepared    bool // it keeps prepared statements for its clients, as PgBouncer can from 1.21 on
}

// Refuse returns an error if pgx must not execute statements in a mode. It is a
// *dataflow.ConfigError.
func (f Found) Refuse(mode pgx.QueryExecMode) error {
	const remedy = "add default_query_exec_mode=cache_describe to the connection string"
	switch {
	case !f.Transaction:
		return nil
	case mode == pgx.QueryExecModeCacheStatement && !f.Prepared:
		return &dataflow.ConfigError{Field: "pool", Reason: "a pooler in transaction mode, such as PgBouncer, is between this process and Postgres, " +
			"and keeps no prepared statements, which pgx uses by default: " + remedy +
			"; or use PgBouncer 1.21 or later with max_prepared_statements"}
	case mode == pgx.QueryExecModeDescribeExec:
		return &dataflow.ConfigError{Field: "pool", Reason: "a pooler in transaction mode, such as PgBouncer, is between this process and Postgres: " +
			"with default_query_exec_mode=describe_exec, it can execute another client's statement in place of ours: " + remedy}
	default:
		return nil
	}
}

// Guard finds the pooler of one pool once, and remembers it. Its zero value is ready to use.
type Guard struct {
	mu      sync.Mutex  // held while the pooler is looked for
	known   atomic.Bool // true once found and refused are set for good
	later   time.Time   // when to look again, after it was not found out
	found   Found
	refused error
}

// Check returns an error if the pool must not be used as it is configured. At the first call
// it asks the server. It returns nil if the server cannot be reached, and asks again at the
// next call.
func (g *Guard) Check(ctx context.Context, pool *pgxpool.Pool) error {
	if g.known.Load() {
		return g.refused
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known.Load() {
		return g.refused
	}
	direct, err := isDirect(ctx, pool)
	if err != nil {
		return startup(err)
	}
	if !direct {
		if time.Now().Before(g.later) { //nolint:forbidigo // how long to wait, not what time it is
			return nil
		}
		g.found, err = probe(ctx, pool)
		switch {
		case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) && pool.Config().ConnConfig.DefaultQueryExecMode != pgx.QueryExecModeDescribeExec:
			// Such as a pooler in session mode whose processes are all in use. A mode that
			// fails there fails with an error of its own; only describe_exec must not be tried.
			g.later = time.Now().Add(probePause) //nolint:forbidigo // see above
			return nil
		case err != nil:
			return fmt.Errorf("look for a pooler before Postgres: %w", err)
		}
	}
	g.refused = g.found.Refuse(pool.Config().ConnConfig.DefaultQueryExecMode)
	g.known.Store(true)
	return g.refused
}

// startup returns an error if a pooler refuses the parameters of the connection string. It
// returns nil for other errors: the caller's statement fails too, and says more.
func startup(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || !strings.Contains(pg.Message, "unsupported startup parameter") {
		return nil
	}
	return &dataflow.ConfigError{Field: "pool", Reason: fmt.Sprintf("a pooler refuses the connection string: %s: "+
		"take it out and use `alter role … set …`, or name it in PgBouncer's ignore_startup_parameters, which drops its value", pg.Message)}
}

// Found returns what was found. It is the zero value as long as nothing is known.
func (g *Guard) Found() Found {
	if !g.known.Load() {
		return Found{}
	}
	return g.found
}

// Find looks for a pooler.
func Find(ctx context.Context, pool *pgxpool.Pool) (Found, error) {
	direct, err := isDirect(ctx, pool)
	if err != nil || direct {
		return Found{}, err
	}
	return probe(ctx, pool)
}

// isDirect reports whether the server process of a connection has the number that it had told
// when it connected. A pooler tells a number of its own. This costs one round trip.
func isDirect(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	pid, err := process(ctx, conn.Conn())
	return err == nil && pid == conn.Conn().PgConn().PID(), err
}

// process returns the number of the server process. All poolers know the simple protocol.
func process(ctx context.Context, db interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
},
) (pid uint32, err error) {
	err = db.QueryRow(ctx, "select pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&pid)
	return pid, err
}

const (
	probeTimeout = 3 * time.Second
	probePause   = time.Minute
	probes       = 5 // a pooler may use the same process again by chance
)

// probe finds out whether two connections share a server process. It uses connections of its
// own, because those of the pool may all be in use.
func probe(ctx context.Context, pool *pgxpool.Pool) (found Found, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	first, err := connect(ctx, pool)
	if err != nil {
		return Found{}, err
	}
	defer first.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it was only to be asked
	second, err := connect(ctx, pool)
	if err != nil {
		return Found{}, err
	}
	defer second.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it was only to be asked
	for range probes {
		shared, err := share(ctx, first, second)
		if err != nil {
			return Found{}, err
		}
		found.Transaction = found.Transaction || shared
	}
	if found.Transaction {
		found.Prepared, err = prepared(ctx, first, second)
	}
	return found, err
}

func connect(ctx context.Context, pool *pgxpool.Pool) (*pgx.Conn, error) {
	config := pool.Config()
	if config.BeforeConnect != nil {
		if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
			return nil, err
		}
	}
	config.ConnConfig.OnNotification = nil
	return pgx.ConnectConfig(ctx, config.ConnConfig)
}

// share reports whether two connections use one server process, or one connection changed its
// process.
func share(ctx context.Context, first, second *pgx.Conn) (bool, error) {
	earlier, err := process(ctx, first)
	if err != nil {
		return false, err
	}
	before, err := process(ctx, first)
	if err != nil || before != earlier { // the pooler's processes take turns
		return err == nil, err
	}
	tx, err := second.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // it was only to be asked
	other, err := process(ctx, tx)
	if err != nil || other == before {
		return err == nil, err // with a single process, the first would wait for it
	}
	after, err := process(ctx, first)
	return after != before, err
}

// statementName is the same for all clients, so that a process keeps one at most.
const statementName = "dataflow_probe"

// prepared reports whether two clients can both prepare a statement of the same name in the
// same process: only if the pooler keeps the statements of its clients apart. It is false if
// the two have not met in a process.
func prepared(ctx context.Context, first, second *pgx.Conn) (bool, error) {
	where, ok, err := prepareIn(ctx, second, 0)
	for range probes {
		if err != nil || !ok {
			return false, err
		}
		var there uint32
		if there, ok, err = prepareIn(ctx, first, where); there == where {
			return ok, err
		}
	}
	return false, err
}

// prepareIn prepares the statement, if the server process is the wanted one or any is. It
// returns the process, and false if the process has a statement of that name.
func prepareIn(ctx context.Context, conn *pgx.Conn, wanted uint32) (pid uint32, ok bool, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return 0, false, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // it was only to be asked
	if pid, err = process(ctx, tx); err != nil || wanted != 0 && pid != wanted {
		return pid, true, err
	}
	_, err = conn.PgConn().Prepare(ctx, statementName, "select 1", nil)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "42P05" {
		return pid, false, nil
	}
	return pid, err == nil, err
}
