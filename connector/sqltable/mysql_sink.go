package sqltable

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/pools"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// CheckpointTableMySQL is [CheckpointTable] for MySQL and MariaDB. [InsertTo] and
// [UpsertTo] create the table if their user may; otherwise put the statement into a
// migration.
const CheckpointTableMySQL = `create table if not exists dataflow_sink_checkpoint (
	flow varchar(500) primary key,
	fence bigint not null,
	state longtext,
	updated_at timestamp(6) not null default current_timestamp(6) on update current_timestamp(6)
) engine = InnoDB character set utf8mb4 collate utf8mb4_bin`

// otherSink is a fencedSink for either kind of database.
type otherSink[T any] struct {
	*fencedSink[T]
	kind  *database
	mysql *mysqlSink[T]
}

func newOtherSink[T any](db *sql.DB, s *sink[T]) *otherSink[T] {
	return &otherSink[T]{fencedSink: &fencedSink[T]{sink: s, db: db}, kind: &database{DB: db}, mysql: &mysqlSink[T]{sink: s, db: db}}
}

// Claim stores the fence and returns the stored state. It returns
// [dataflow.ErrFenced] if a higher fence is stored.
func (s *otherSink[T]) Claim(ctx context.Context, flow string, fence int64) (json.RawMessage, error) {
	mysql, err := s.kind.isMySQL(ctx)
	switch {
	case err != nil:
		return nil, s.wrap(flow, err)
	case mysql:
		return s.mysql.Claim(ctx, flow, fence)
	default:
		return s.fencedSink.Claim(ctx, flow, fence)
	}
}

// WriteFenced writes a batch and its state in one transaction.
func (s *otherSink[T]) WriteFenced(ctx context.Context, b dataflow.FencedBatch[T]) error {
	mysql, err := s.kind.isMySQL(ctx)
	switch {
	case err != nil:
		return s.wrap(b.Flow, err)
	case mysql:
		return s.mysql.WriteFenced(ctx, b)
	default:
		return s.fencedSink.WriteFenced(ctx, b)
	}
}

// mysqlSink writes rows and their checkpoint to MySQL in its own transactions.
type mysqlSink[T any] struct {
	sink *sink[T]
	db   *sql.DB

	packet  atomic.Int64               // the server's max_allowed_packet, in bytes
	ready   atomic.Bool                // true if the checkpoint table exists
	checked atomic.Bool                // true if the table was checked without an error
	table   atomic.Pointer[mysqlTable] // as it was when it was checked
	enum    atomic.Bool                // true if rows are compared by an enum, see OnlyIfNewer
}

// checkpoint returns the checkpoint table's name, in the database of the rows.
func (s *mysqlSink[T]) checkpoint() string {
	name := append([]string{}, s.sink.name...)
	name[len(name)-1] = checkpointName
	return rowmap.BacktickAll(name, ".")
}

func (s *mysqlSink[T]) wrap(flow string, err error) error {
	return fmt.Errorf("checkpoint of flow %q for table %s: %w", flow, s.sink.table, err)
}

// Claim stores the fence and returns the stored state. It returns
// [dataflow.ErrFenced] if a higher fence is stored.
func (s *mysqlSink[T]) Claim(ctx context.Context, flow string, fence int64) (json.RawMessage, error) {
	if err := s.prepare(ctx); err != nil {
		return nil, passing(ctx, err)
	}
	var state *string
	err := s.inTx(ctx, func(tx sqlTx) error {
		_, err := tx.ExecContext(ctx, "insert into "+s.checkpoint()+" (flow, fence) values (?, ?) on duplicate key update fence = greatest(fence, values(fence))", flow, fence)
		if err != nil {
			return s.wrap(flow, err)
		}
		state, err = s.held(ctx, tx, flow, fence)
		return err
	})
	if err != nil || state == nil {
		return nil, err // a nil state means that nothing was written yet
	}
	return json.RawMessage(*state), nil
}

// held locks a flow's checkpoint and returns its state, or ErrFenced if it has
// another fence. Unlike a plain select, it reads the last committed row, and so
// sees an earlier claim.
func (s *mysqlSink[T]) held(ctx context.Context, tx sqlTx, flow string, fence int64) (state *string, err error) {
	var stored int64
	err = tx.QueryRowContext(ctx, "select fence, state from "+s.checkpoint()+" where flow = ? for update", flow).Scan(&stored, &state)
	if errors.Is(err, sql.ErrNoRows) || (err == nil && stored != fence) {
		err = dataflow.ErrFenced
	}
	if err != nil {
		return nil, s.wrap(flow, err)
	}
	return state, nil
}

// WriteFenced writes a batch and its state in one transaction. It returns
// [dataflow.ErrFenced] if the flow was claimed by another fence. If rows are refused, it
// writes nothing, and returns a [dataflow.RowError] for each of them.
func (s *mysqlSink[T]) WriteFenced(ctx context.Context, b dataflow.FencedBatch[T]) error {
	if len(b.Rows) > 0 {
		if err := s.check(ctx); err != nil {
			return passing(ctx, fmt.Errorf("table %s: %w", s.sink.table, err))
		}
	}
	if size := s.db.Stats().MaxOpenConnections; s.sink.remove != nil && size > 0 {
		end, err := pools.Process.Begin(ctx, s.db, size) // the source, which may have the same pool, is asked meanwhile
		if err != nil {
			return err
		}
		defer end()
	}
	return writeFenced(ctx, s.sink, b.Rows, ofMySQLRows, func(write writeRows[T]) error { return s.writeIn(ctx, b, write) }, s.writeRows)
}

// writeIn writes a batch in the transaction that moves the checkpoint.
func (s *mysqlSink[T]) writeIn(ctx context.Context, b dataflow.FencedBatch[T], write writeRows[T]) error {
	return s.inTx(ctx, func(tx sqlTx) error {
		// Lock the checkpoint first: this waits only for another claim, and blocks later
		// ones.
		if _, err := s.held(ctx, tx, b.Flow, b.Fence); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "update "+s.checkpoint()+" set state = ? where flow = ?", string(b.State), b.Flow); err != nil {
			return s.wrap(b.Flow, err)
		}
		err := write(ctx, tx, b.Rows)
		if err == nil && len(b.Rows) > 0 {
			err = s.checkStillUnique(ctx, tx)
		}
		if err == nil && len(b.Rows) > 0 {
			err = s.checkStillTyped(ctx, tx)
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", s.sink.table, err)
		}
		return nil
	})
}

// prepare checks the session, and creates the checkpoint table if it does not
// exist. It runs outside of transactions, because creating a table commits them. It
// looks first, because a user who may write need not be allowed to create.
func (s *mysqlSink[T]) prepare(ctx context.Context) error {
	var mode, client, connection string
	var packet int64
	if err := s.db.QueryRowContext(ctx, "select @@sql_mode, @@max_allowed_packet, @@character_set_client, @@character_set_connection").Scan(&mode, &packet, &client, &connection); err != nil {
		return fmt.Errorf("read the session's settings: %w", err)
	}
	s.packet.Store(packet)
	if !strings.Contains(mode, "STRICT_TRANS_TABLES") && !strings.Contains(mode, "STRICT_ALL_TABLES") {
		return dataflow.Permanent(fmt.Errorf("the session's sql_mode is %q, in which MySQL silently cuts values that do not fit: add sql_mode=%%27STRICT_TRANS_TABLES%%27 to the DSN, or set it on the server", mode))
	}
	if !strings.HasPrefix(client, "utf8") || !strings.HasPrefix(connection, "utf8") {
		return dataflow.Permanent(fmt.Errorf("the session's character set is %s, in which MySQL would store other characters than the records have: add charset=utf8mb4 to the DSN", client))
	}
	if s.ready.Load() {
		return nil
	}
	there, err := tableOf(ctx, s.db, s.schema(), checkpointName)
	if err != nil {
		return fmt.Errorf("look for table %s: %w", s.checkpoint(), err)
	}
	if len(there.columns) == 0 {
		const start = "create table if not exists "
		if _, err := s.db.ExecContext(ctx, start+s.checkpoint()+CheckpointTableMySQL[len(start+checkpointName):]); err != nil {
			return fmt.Errorf("create the checkpoint table: %w: create it yourself: %s", err, CheckpointTableMySQL)
		}
	} else if !there.transactions {
		return dataflow.Permanent(fmt.Errorf("table %s has an engine without transactions (%s): alter table %[1]s engine = InnoDB", s.checkpoint(), there.engine))
	}
	s.ready.Store(true)
	return nil
}

// schema returns the database in the table's name, or nil.
func (s *mysqlSink[T]) schema() any {
	if len(s.sink.name) == 2 {
		return s.sink.name[0]
	}
	return nil
}

// limitSilence makes the server close the connection of a process that is silent in
// a transaction for 10 s, the default length of a lease. Such a process was stopped
// or lost its network. It holds the lock on the checkpoint, and the worker that
// takes its run over would wait for that lock for hours.
const (
	limitSilence   = `set @dataflow_wait_timeout = @@session.wait_timeout, session wait_timeout = 10`
	unlimitSilence = `set session wait_timeout = @dataflow_wait_timeout`
)

// keepValues makes the server store values as they are: strict mode refuses those that do not fit, also on a connection
// that is newer than the look of [mysqlSink.prepare], and an empty text is not NULL. An upsert adds keepZero, for a key
// of 0 in a column with auto_increment. Without it, each upsert of that record would add a row with the next number.
const (
	keepValues   = `, @dataflow_sql_mode = @@session.sql_mode, session sql_mode = concat(replace(@@session.sql_mode, 'EMPTY_STRING_IS_NULL', 'STRICT_TRANS_TABLES'), ',STRICT_TRANS_TABLES%s')`
	keepZero     = `,NO_AUTO_VALUE_ON_ZERO`
	unkeepValues = `, session sql_mode = @dataflow_sql_mode`
)

// inTx runs f in a transaction. An error that should go away by itself is
// transient.
func (s *mysqlSink[T]) inTx(ctx context.Context, f func(tx sqlTx) error) error {
	return passing(ctx, s.tryTx(ctx, f))
}

func (s *mysqlSink[T]) tryTx(ctx context.Context, f func(tx sqlTx) error) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer conn.Close() //nolint:errcheck // this returns it to the pool
	mode := ""
	if s.sink.upsert {
		mode = keepZero
	}
	if _, err := conn.ExecContext(ctx, limitSilence+fmt.Sprintf(keepValues, mode)); err != nil {
		return fmt.Errorf("set the session's variables for the transaction: %w", err)
	}
	// A commit is not broken off when the context ends, but it does not wait for a silent network either. A
	// *sql.Tx would: it commits and rolls back without a context.
	ending, cancel := outlast(ctx, endTimeout)
	defer cancel()
	open := false
	defer func() {
		var err error
		if open {
			_, err = conn.ExecContext(ending, "rollback")
		}
		if err == nil {
			_, err = conn.ExecContext(ending, unlimitSilence+unkeepValues)
		}
		if err != nil {
			_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // the pool discards the connection
		}
	}()
	open = true
	if _, err := conn.ExecContext(ctx, "start transaction"); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	if err := f(conn); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ending, "commit"); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	open = false
	return nil
}

// endTimeout is how long a transaction may take to end after its context has ended.
const endTimeout = 5 * time.Second

// outlast returns a context that ends some time after another.
func outlast(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(by, cancel)
		context.AfterFunc(longer, func() { timer.Stop() })
	})
	return longer, func() { stop(); cancel() }
}
