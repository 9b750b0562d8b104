package sqltable

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/driverkit"
	"github.com/activedataflow/dataflow/internal/rowmap"
	"github.com/activedataflow/dataflow/internal/rowparts"
)

// CheckpointTable is the statement that creates, in SQLite, the table in which
// [InsertTo] and [UpsertTo] keep their flows' checkpoints. They create it
// themselves if it does not exist, in the database of the rows: an attached one if
// the table's name has its schema. It has one row for each flow, by name: flows of
// two applications that write to one database must have different names.
const CheckpointTable = `create table if not exists dataflow_sink_checkpoint (
	flow text primary key,
	fence integer not null,
	state text,
	updated_at text not null default (strftime('%Y-%m-%d %H:%M:%fZ', 'now'))
)`

const checkpointName = "dataflow_sink_checkpoint"

// InsertTo is [Insert] into a table of a database other than the client's, which
// may be Postgres too. The table is in SQLite, MySQL or MariaDB. It is exactly
// once, because that database also keeps the flow's checkpoint; see
// [CheckpointTable]. The caller closes db after the client has stopped.
//
// SQLite has one writer at a time. A write waits for other writers up to the
// driver's busy timeout, and is then tried again. With modernc.org/sqlite,
// _pragma=busy_timeout(5000) in the DSN sets the timeout. A process that is
// stopped, not killed, while it writes blocks all others.
func InsertTo[T any](db *sql.DB, table string) dataflow.Target[T] {
	return dataflow.ToFenced[T](newOtherSink(db, newSink[T](table, false, nil)))
}

// UpsertTo is [Upsert] into a table of a database other than the client's; see
// [InsertTo]. It does not detect unchanged rows: all rows count as written. The
// caller closes db after the client has stopped.
func UpsertTo[T any](db *sql.DB, table string, key ...string) dataflow.Target[T] {
	return dataflow.ToFenced[T](newOtherSink(db, newSink[T](table, true, key)))
}

// fencedSink writes rows and their checkpoint in its own transactions.
type fencedSink[T any] struct {
	sink *sink[T]
	db   *sql.DB

	ready atomic.Bool // true if the checkpoint table exists
}

// AppendOnly is true for InsertTo.
func (s *fencedSink[T]) AppendOnly() bool { return s.sink.AppendOnly() }

func (s *fencedSink[T]) Validate() error {
	var errs []error
	if s.db == nil {
		errs = append(errs, &dataflow.ConfigError{Field: "db", Reason: "it is nil: create it with sql.Open"})
	}
	return errors.Join(append(errs, s.sink.Validate())...)
}

func (s *fencedSink[T]) Describe() dataflow.Description {
	d := s.sink.Describe()
	d.Type += "_to"
	return d
}

// checkpoint returns the checkpoint table's name, in the database of the rows.
func (s *fencedSink[T]) checkpoint() string {
	if len(s.sink.name) == 2 {
		return rowmap.Quote(s.sink.name[0]) + "." + checkpointName
	}
	return checkpointName
}

// Claim stores the fence and returns the stored state. It returns
// [dataflow.ErrFenced] if a higher fence is stored.
func (s *fencedSink[T]) Claim(ctx context.Context, flow string, fence int64) (json.RawMessage, error) {
	var state *string
	err := s.ensureTable(ctx)
	if err == nil {
		err = s.inTx(ctx, func(tx sqlTx) error {
			err := tx.QueryRowContext(ctx, "insert into "+s.checkpoint()+" as c (flow, fence) values (?, ?)"+`
				on conflict (flow) do update set fence = excluded.fence, updated_at = strftime('%Y-%m-%d %H:%M:%fZ', 'now')
				where c.fence <= excluded.fence returning state`, flow, fence).Scan(&state)
			if errors.Is(err, sql.ErrNoRows) {
				err = dataflow.ErrFenced
			}
			return s.wrap(flow, err)
		})
	}
	if err != nil || state == nil {
		return nil, err // a nil state means that nothing was written yet
	}
	return json.RawMessage(*state), nil
}

func (s *fencedSink[T]) wrap(flow string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("checkpoint of flow %q for table %s: %w", flow, s.sink.table, err)
}

// ensureTable creates the checkpoint table if it does not exist. It looks first, so
// that it need not wait for another writer if the table exists.
func (s *fencedSink[T]) ensureTable(ctx context.Context) error {
	if s.ready.Load() {
		return nil
	}
	name := slices.Clone(s.sink.name)
	name[len(name)-1] = checkpointName
	var columns []string
	err := s.inTx(ctx, func(tx sqlTx) (err error) {
		columns, err = tableColumns(ctx, tx, name)
		return err
	})
	if err != nil {
		return fmt.Errorf("look for table %s: %w", s.checkpoint(), err)
	}
	if len(columns) == 0 {
		const start = "create table if not exists "
		// Use a new transaction: one that has read cannot wait for a writer.
		err := s.inTx(ctx, func(tx sqlTx) error {
			_, err := tx.ExecContext(ctx, start+s.checkpoint()+CheckpointTable[len(start+checkpointName):])
			return err
		})
		if err != nil {
			return fmt.Errorf("create the checkpoint table: %w: create it yourself: %s", err, CheckpointTable)
		}
	}
	s.ready.Store(true)
	return nil
}

// WriteFenced writes a batch and its state in one transaction. It returns
// [dataflow.ErrFenced] if the flow was claimed by another fence. If rows are refused, it
// writes nothing, and returns a [dataflow.RowError] for each of them.
func (s *fencedSink[T]) WriteFenced(ctx context.Context, b dataflow.FencedBatch[T]) error {
	return writeFenced(ctx, s.sink, b.Rows, s.ofRows, func(write writeRows[T]) error { return s.writeIn(ctx, b, write) }, s.sink.writeBatch)
}

// writeRows writes rows in a transaction.
type writeRows[T any] func(ctx context.Context, tx sqlTx, rows []T) error

// writeFenced writes rows in the transaction of inTx. If some are refused, it writes them once more, in parts.
// One that removes rows has named them itself.
func writeFenced[T any](ctx context.Context, s *sink[T], rows []T, ofRows func(error) bool, inTx func(writeRows[T]) error, write writeRows[T]) error {
	err := inTx(write)
	if err == nil || len(rows) == 0 || s.remove != nil || !rowparts.Divisible(err, ofRows) {
		return err
	}
	apart := rowparts.Config[T]{OfRows: ofRows}
	return rowparts.Again(ctx, &apart, rows, err, func(divide func() error) error {
		return inTx(func(ctx context.Context, tx sqlTx, _ []T) error {
			apart.Write = func(ctx context.Context, rows []T) error {
				return withSavepoint(ctx, tx, func() error { return write(ctx, tx, rows) })
			}
			return divide()
		})
	})
}

// withSavepoint calls f. If f fails, the transaction is as it was, or the error is a [rowparts.EndedError]: SQLite
// ends it for "on conflict rollback", and if a trigger raises a rollback.
func withSavepoint(ctx context.Context, tx sqlTx, f func() error) error {
	if _, err := tx.ExecContext(ctx, "savepoint dataflow_part"); err != nil {
		return err
	}
	err := f()
	if err != nil {
		if _, rerr := tx.ExecContext(ctx, "rollback to savepoint dataflow_part"); rerr != nil {
			return ofEnded(err, rerr)
		}
	}
	if _, rerr := tx.ExecContext(ctx, "release savepoint dataflow_part"); rerr != nil {
		return ofEnded(err, rerr)
	}
	return err
}

// ofEnded is the error of a transaction that has ended, as rerr says, perhaps because of err.
func ofEnded(err, rerr error) error {
	return &rowparts.EndedError{Err: errors.Join(err, fmt.Errorf("this ended the whole transaction, so that no other record of the batch can be tried: let the table use abort in place of rollback: %w", rerr))}
}

// ofRows reports whether SQLite refuses what rows hold.
func (s *fencedSink[T]) ofRows(err error) bool {
	store, serr := dataflowsqlite.New(s.db).Store(dataflow.StoreOptions{})
	return serr == nil && store.Classify(err) == dataflow.FaultData
}

// writeIn writes a batch in the transaction that moves the checkpoint.
func (s *fencedSink[T]) writeIn(ctx context.Context, b dataflow.FencedBatch[T], write writeRows[T]) error {
	return s.inTx(ctx, func(tx sqlTx) error {
		// Update the checkpoint first: this takes the writer's lock and blocks later claims.
		result, err := tx.ExecContext(ctx, "update "+s.checkpoint()+" set state = ?, updated_at = strftime('%Y-%m-%d %H:%M:%fZ', 'now') where flow = ? and fence = ?",
			string(b.State), b.Flow, b.Fence)
		if err != nil {
			return s.wrap(b.Flow, err)
		}
		if n, err := result.RowsAffected(); err != nil || n != 1 {
			return s.wrap(b.Flow, errors.Join(err, dataflow.ErrFenced))
		}
		if err := write(ctx, tx, b.Rows); err != nil {
			return fmt.Errorf("table %s: %w", s.sink.table, err)
		}
		return nil
	})
}

// inTx runs f in a transaction. An error caused by another writer is transient.
func (s *fencedSink[T]) inTx(ctx context.Context, f func(tx sqlTx) error) error {
	err := s.tryTx(ctx, f)
	if err == nil || ctx.Err() != nil {
		return driverkit.Ended(ctx, err)
	}
	if sqlitePasses(err) {
		return dataflow.Transient(err)
	}
	return err
}

func (s *fencedSink[T]) tryTx(ctx context.Context, f func(tx sqlTx) error) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer conn.Close() //nolint:errcheck // this returns it to the pool
	// The statements use ctx, but the transaction must not: database/sql would roll it back
	// in the background, possibly after this function has returned.
	tx, err := conn.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // an earlier error says more; after a commit this does nothing
	if err := f(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		// Without a write-ahead log, a reader may block the commit and leave the transaction open.
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "rollback")
		return fmt.Errorf("commit transaction: %w", err)
	}
	return nil
}
