package week_test

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// database is a fresh database of either kind.
type database struct {
	kind   string
	url    string // or the path of the file
	db     *sql.DB
	driver dataflow.Driver
}

const (
	onPostgres = "Postgres"
	onSQLite   = "SQLite"
)

// onBoth runs a test on a fresh database of either kind.
func onBoth(t *testing.T, fn func(t *testing.T, d *database)) {
	t.Helper()
	t.Run(onPostgres, func(t *testing.T) {
		t.Parallel()
		url := dbtest.PostgresURL(t)
		pool, err := pgxpool.New(t.Context(), url)
		require.NoError(t, err)
		db := stdlib.OpenDBFromPool(pool)
		t.Cleanup(func() { require.NoError(t, db.Close()); pool.Close() })
		fn(t, &database{onPostgres, url, db, dataflowpgx.New(pool)})
	})
	t.Run(onSQLite, func(t *testing.T) {
		t.Parallel()
		path := dbtest.SQLitePath(t)
		db := dbtest.OpenSQLite(t, path)
		_, err := db.ExecContext(t.Context(), "pragma synchronous = normal") // no power fails here
		require.NoError(t, err)
		fn(t, &database{onSQLite, path, db, dataflowsqlite.New(db)})
	})
}

// at scans a time from either database.
type at struct{ t *time.Time }

func (a at) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*a.t = time.Time{}
	case time.Time:
		*a.t = v.UTC()
	case string:
		t, err := time.Parse("2006-01-02 15:04:05.999999999", v)
		if err != nil {
			return err
		}
		*a.t = t
	default:
		return errors.New("neither a time nor its text")
	}
	return nil
}

// activeRuns reads the runs that have not ended, by a statement of the test's own.
func (d *database) activeRuns(ctx context.Context) ([]*active, error) {
	rows, err := d.db.QueryContext(ctx, `
		select r.id, f.name, r.state = 'in_progress', r.trigger, r.scheduled_for, r.run_after, r.lease_no, r.queue, r.worker,
			r.cancel_requested_at is not null, r.rescues
		from dataflow_run r join dataflow_flow f on f.id = r.flow_id
		where r.state in ('pending', 'in_progress') order by r.id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // only to be read
	var runs []*active
	for rows.Next() {
		var r active
		if err := rows.Scan(&r.id, &r.flow, &r.progress, &r.trigger, at{&r.scheduled}, at{&r.after}, &r.lease, &r.queue, &r.worker, &r.cancel, &r.rescues); err != nil {
			return nil, err
		}
		runs = append(runs, &r)
	}
	return runs, rows.Err()
}

// mortal is the driver of a process that may die. A dead process changes nothing.
type mortal struct {
	dataflow.Driver
	dead *atomic.Bool
}

func (m mortal) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	s, err := m.Driver.Store(opts)
	return mortalStore{s, m.dead}, err
}

type mortalStore struct {
	dataflow.Store
	dead *atomic.Bool
}

func (m mortalStore) InTx(ctx context.Context, fn func(ctx context.Context, tx dataflow.Tx) error) error {
	if m.dead.Load() {
		return errors.New("this process is dead")
	}
	return m.Store.InTx(ctx, fn)
}

func (m mortalStore) RunRenew(ctx context.Context, claims []dataflow.LeaseRef, lease time.Duration) ([]dataflow.LeaseStatus, error) {
	if m.dead.Load() {
		return nil, errors.New("this process is dead")
	}
	return m.Store.RunRenew(ctx, claims, lease)
}
