package pgtable

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/pooler"
)

// server is what a source or a target knows about the server of its pool. The copies of a
// source share it.
type server struct {
	pooler  pooler.Guard
	primary atomic.Bool // true once a guard has read from a primary
}

// check returns an error if the pool must not be used as it is configured.
func (s *server) check(ctx context.Context, pool *pgxpool.Pool) error {
	err := s.pooler.Check(ctx, pool)
	var bad *dataflow.ConfigError
	if errors.As(err, &bad) {
		return dataflow.Permanent(err)
	}
	return err
}

// standby returns an error if the server was a primary earlier: after a fail-over, it has
// become a standby, and new connections may reach the new primary.
func (s *server) standby(pool *pgxpool.Pool) error {
	if !s.primary.Load() {
		return nil
	}
	pool.Reset()
	return dataflow.Transient(errors.New("the server was a primary when this flow read from it before, and is a standby now: " +
		"reconnecting to find the new primary"))
}

// isReadOnly reports whether the server refused to write.
func isReadOnly(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "25006"
}

const readOnlyMark = "dataflow_read_only"

// leaveAgain is how long a pool keeps a connection that was made to a server after that had
// turned read-only, before it looks for another one again.
const leaveAgain = time.Second

// left knows the pools that leave has closed the connections of, and when: *pgxpool.Pool →
// time.Time.
var left sync.Map //nolint:gochecknoglobals // several sources and targets share a pool

// leave closes the connections of a pool when the server turned read-only after this
// connection was made. Such a server may have been the primary before a fail-over: it still
// answers, but never has new rows. It goes on to do so while the address still leads there, and
// once more when it no longer does. From version 14 on, servers report the setting.
func leave(pool *pgxpool.Pool, conn *pgx.Conn) {
	if conn == nil {
		return
	}
	now := conn.PgConn().ParameterStatus("default_transaction_read_only")
	marks := conn.PgConn().CustomData()
	before, known := marks[readOnlyMark].(string)
	if !known {
		marks[readOnlyMark] = now
		before = now
	}
	at, again := left.Load(pool)
	switch {
	case now != "on":
		if again {
			left.Delete(pool)
			pool.Reset()
		}
	case before == "off", again && time.Since(at.(time.Time)) >= leaveAgain: //nolint:forcetypeassert // only leave stores there
		left.Store(pool, time.Now()) //nolint:forbidigo // how long it takes, not what time it is
		pool.Reset()
	}
}
