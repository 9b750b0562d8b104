// Package pooler finds out whether a pooler in transaction mode, such as PgBouncer, is between
// a pool and its server. Such a pooler runs each transaction of a client in any free server
// process. A client loses what it prepared there, and the notifications that it listens for.
package pooler

import (
	"cmp"
	"context"
	"crypto/rand"
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
	Unsure      bool // whether it does was not found out: it was busy
}

// Refuse returns an error if pgx must not execute statements in a mode. It is a
// *dataflow.ConfigError.
func (f Found) Refuse(mode pgx.QueryExecMode) error {
	const remedy = "add default_query_exec_mode=cache_describe to the connection string"
	switch {
	case !f.Transaction:
		return nil
	case mode == pgx.QueryExecModeCacheStatement && !f.Prepared && !f.Unsure:
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
	// Pause is how long to wait before something is asked again. 0: a minute.
	Pause time.Duration

	mu    sync.Mutex // held while the pooler is looked for
	later time.Time  // when to look again, after something was not found out
	known atomic.Pointer[known]
}

// known is what a guard knows.
type known struct {
	found   Found
	refused error
	unsure  error // why it is asked again; nil: it is known for good
}

// Check returns an error if the pool must not be used as it is configured. At the first call
// it asks the server. It returns nil if that could not be found out, and asks again later.
func (g *Guard) Check(ctx context.Context, pool *pgxpool.Pool) error {
	if g.Known() {
		return g.known.Load().refused
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	k := g.known.Load()
	if k != nil && (k.unsure == nil || time.Now().Before(g.later)) { //nolint:forbidigo // how long to wait, not what time it is
		return k.refused
	}
	direct, err := isDirect(ctx, pool)
	if err != nil {
		return startup(err)
	}
	k = &known{}
	if !direct {
		k.found, k.unsure = probe(ctx, pool)
		if ctx.Err() != nil && k.unsure != nil {
			return fmt.Errorf("look for a pooler before Postgres: %w", k.unsure)
		}
		if k.unsure == nil && k.found.Unsure {
			k.unsure = errBusy
		}
	}
	mode := pool.Config().ConnConfig.DefaultQueryExecMode
	k.refused = k.found.Refuse(mode)
	if k.unsure != nil && k.refused == nil && mode == pgx.QueryExecModeDescribeExec {
		// A mode that fails through a pooler fails with an error of its own. Only this one must
		// not be tried.
		return fmt.Errorf("look for a pooler before Postgres: %w", k.unsure)
	}
	g.later = time.Now().Add(cmp.Or(g.Pause, probePause)) //nolint:forbidigo // see above
	g.known.Store(k)
	return k.refused
}

// Known reports whether nothing is left to be asked.
func (g *Guard) Known() bool {
	k := g.known.Load()
	return k != nil && k.unsure == nil
}

// errBusy says that two clients did not meet in a server process.
var errBusy = errors.New("it was busy")

// Note says what is not known yet. It is empty if there is nothing to say.
func (g *Guard) Note() string {
	k := g.known.Load()
	switch {
	case k == nil || k.unsure == nil:
		return ""
	case k.found.Transaction:
		return fmt.Sprintf("a pooler in transaction mode, such as PgBouncer, is between this process and Postgres. Whether it keeps prepared statements is not known: %v. It is asked again every %s", k.unsure, probePause)
	default:
		return fmt.Sprintf("a pooler is between this process and Postgres. Whether it is in transaction mode is not known: %v. It is asked again every %s", k.unsure, probePause)
	}
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
	if k := g.known.Load(); k != nil {
		return k.found
	}
	return Found{}
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
	if !found.Transaction {
		return found, nil
	}
	found.Unsure = true
	keeps, sure, err := prepared(ctx, first, second)
	if err != nil {
		return found, err
	}
	return Found{Transaction: true, Prepared: keeps, Unsure: !sure}, nil
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

// prepared reports whether the pooler keeps the statements of its clients apart, and prepares
// them in each server process that a client comes to. second prepares a statement. Then one of
// these happens, on a busy pooler after some tries:
//
//   - first comes to the same process, and can or cannot prepare a statement of that name.
//   - second comes to another process, and can or cannot execute its statement there.
//
// sure is false if neither did.
func prepared(ctx context.Context, first, second *pgx.Conn) (keeps, sure bool, err error) {
	var where uint32
	mark := rand.Text()
	keeps, err = in(ctx, second, func(pid uint32) error {
		where = pid
		return prepare(ctx, second, mark)
	})
	if err != nil || !keeps {
		return false, err == nil, err
	}
	for range meetings {
		keeps, err = in(ctx, first, func(pid uint32) error {
			if pid == where {
				sure = true
				return prepare(ctx, first, mark)
			}
			// While first has another process, second may get neither that one nor the first.
			there, err := in(ctx, second, func(pid uint32) error {
				if pid == where {
					return nil
				}
				sure = true
				return execute(ctx, second, mark)
			})
			if err == nil && !there {
				err = errNotKept
			}
			return err
		})
		if err != nil || sure {
			return keeps, err == nil, err
		}
	}
	return false, false, nil
}

// meetings is how often two clients try to meet in a process.
const meetings = 50

// errNotKept says that a server process has a statement of another client, or lacks ours.
var errNotKept = errors.New("the statement is not kept")

// prepare prepares the statement, which returns the mark.
func prepare(ctx context.Context, conn *pgx.Conn, mark string) error {
	_, err := conn.PgConn().Prepare(ctx, statementName, "select '"+mark+"'", nil)
	return err
}

// execute executes the statement. A process may have one that another probe has left there.
func execute(ctx context.Context, conn *pgx.Conn, mark string) error {
	result := conn.PgConn().ExecPrepared(ctx, statementName, nil, nil, nil).Read()
	if result.Err == nil && (len(result.Rows) != 1 || string(result.Rows[0][0]) != mark) {
		return errNotKept
	}
	return result.Err
}

// in runs fn in a transaction, with the number of its server process. It reports whether
// prepared statements are kept, as far as fn has met one.
func in(ctx context.Context, conn *pgx.Conn, fn func(pid uint32) error) (keeps bool, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // it was only to be asked
	pid, err := process(ctx, tx)
	if err == nil {
		err = fn(pid)
	}
	var pg *pgconn.PgError
	if errors.Is(err, errNotKept) || errors.As(err, &pg) && (pg.Code == "42P05" || pg.Code == "26000") {
		return false, nil
	}
	return err == nil, err
}
