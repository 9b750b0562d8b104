package dataflowpgx

import (
	"context"
	"embed"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
	"github.com/activedataflow/dataflow/internal/migration"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

//go:embed migration/*.sql
var migrationFiles embed.FS

// migrationLock is the key of the advisory lock that keeps two processes from
// migrating at once. It is "dataflow" in ASCII.
const migrationLock = 0x64617461666c6f77

const sqlMigrationTable = `
create table if not exists {s}dataflow_migration (
	version integer primary key,
	name text not null,
	created_at timestamptz not null default now()
)`

const sqlMigrationVersion = `select coalesce(max(version), 0) from {s}dataflow_migration`

const sqlMigrationAdd = `insert into {s}dataflow_migration (version, name) values ($1, $2)`

const sqlMigrationLock = `lock table {s}dataflow_migration in share row exclusive mode`

const sqlMigrationList = `select version, created_at from {s}dataflow_migration`

const sqlMigrationRemove = `delete from {s}dataflow_migration where version = $1`

// Migrate brings River's tables and ours up to the newest version.
func (s *store) Migrate(ctx context.Context) error {
	err := s.locked(ctx, func() error {
		m, err := s.riverMigrator()
		if err != nil {
			return err
		}
		if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
			return fmt.Errorf("migrate River's tables: %w", err)
		}
		return s.migrateUp(ctx)
	})
	if s.schema != "" && sqlstate.Has(err, sqlstate.UndefinedSchema) {
		return fmt.Errorf("%w: create schema %s first", err, pgx.Identifier{s.schema}.Sanitize())
	}
	return sqlstate.Explain(err)
}

func (s *store) migrateUp(ctx context.Context) error {
	all, err := s.tables().Load()
	if err != nil {
		return err
	}
	version, err := s.version(ctx)
	if err != nil {
		return err
	}
	if version == 0 { // otherwise the table is there, and the role may lack the right to make one
		if _, err := s.pool.Exec(ctx, s.text(sqlMigrationTable)); err != nil {
			return fmt.Errorf("create table dataflow_migration: %w", err)
		}
	}
	return driverkit.Each(ctx, migration.Upto(all, version), func(m *migration.Migration) error {
		err := s.step(ctx, m.Version > 1, func(tx pgx.Tx) error {
			if done, err := s.taken(ctx, tx, m.Version); err != nil || done {
				return err
			}
			if _, err := tx.Exec(ctx, s.text(m.Up)); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, s.text(sqlMigrationAdd), m.Version, m.Name)
			return err
		})
		if err != nil {
			return fmt.Errorf("migrate up to %d (%s): %w", m.Version, m.Name, err)
		}
		return nil
	})
}

// taken reports whether another process has taken a step meanwhile. No other one takes a step until
// the transaction has ended.
func (s *store) taken(ctx context.Context, tx pgx.Tx, version int) (bool, error) {
	if _, err := tx.Exec(ctx, s.text(sqlMigrationLock)); err != nil {
		return false, err
	}
	var newest int
	err := tx.QueryRow(ctx, s.text(sqlMigrationVersion)).Scan(&newest)
	return newest >= version, err
}

// MigrateDown migrates our tables down to a version.
func (s *store) MigrateDown(ctx context.Context, to int) error {
	all, err := s.tables().Load()
	if err != nil {
		return err
	}
	return s.locked(ctx, func() error {
		version, err := s.version(ctx)
		if err != nil {
			return err
		}
		undo, err := migration.Downto(all, version, to)
		if err != nil {
			return err
		}
		return driverkit.Each(ctx, undo, func(m *migration.Migration) error {
			err := s.step(ctx, true, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, s.text(m.Down)); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, s.text(sqlMigrationRemove), m.Version)
				return err
			})
			if err != nil {
				return fmt.Errorf("migrate down from %d (%s): %w", m.Version, m.Name, err)
			}
			return nil
		})
	})
}

// CheckSchema compares the versions in the database with those of this program.
func (s *store) CheckSchema(ctx context.Context) error { return s.tables().Check(ctx) }

// Migrations returns our migrations and which of them have been applied.
func (s *store) Migrations(ctx context.Context) (*dataflow.MigrationStatus, error) {
	return s.tables().Status(ctx)
}

func (s *store) tables() *driverkit.Schema[pgx.Tx] {
	return &driverkit.Schema[pgx.Tx]{
		Files: migrationFiles, Version: s.version, Applied: s.applied, River: s.riverMigrator,
		Script: func(m *migration.Migration) (up, down string) {
			return s.text(m.UpStep(sqlMigrationTable, "{s}dataflow_migration")), s.text(m.DownStep("{s}dataflow_migration"))
		},
	}
}

// version returns the version of our tables, or 0 if there are none.
func (s *store) version(ctx context.Context) (int, error) {
	var version int
	err := s.pool.QueryRow(ctx, s.text(sqlMigrationVersion)).Scan(&version)
	if sqlstate.Has(err, sqlstate.UndefinedTable, sqlstate.UndefinedSchema) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read version of dataflow's tables: %w", err)
	}
	return version, nil
}

func (s *store) riverMigrator() (*rivermigrate.Migrator[pgx.Tx], error) {
	return rivermigrate.New(riverpgxv5.New(s.pool.Pool), &rivermigrate.Config{Schema: s.schema, Logger: s.log})
}

// lockInterval is how often a process checks whether another process's migration
// has ended.
const lockInterval = 50 * time.Millisecond

// locked runs fn while no other process migrates. It keeps no connection while it
// waits, because fn of another store may need one of the same pool. With a pool of one
// connection it takes no lock, because fn needs that connection. Each of our steps then looks
// whether another process has taken it.
func (s *store) locked(ctx context.Context, fn func() error) error {
	if err := s.pool.look(ctx); err != nil {
		return err
	}
	if s.pool.Config().MaxConns < 2 {
		return fn()
	}
	tick := time.NewTicker(lockInterval)
	defer tick.Stop()
	for {
		done, err := s.tryLocked(ctx, fn)
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lock migrations: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// tryLocked runs fn if no other process migrates, and else returns false.
func (s *store) tryLocked(ctx context.Context, fn func() error) (done bool, err error) {
	if s.pool.pooler.Found().Transaction {
		return s.tryLockedTx(ctx, fn)
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return false, fmt.Errorf("connect: %w", err)
	}
	defer conn.Release()
	if err := conn.QueryRow(ctx, `select pg_try_advisory_lock($1)`, int64(migrationLock)).Scan(&done); err != nil {
		return false, fmt.Errorf("lock migrations: %w", err)
	}
	if !done {
		return false, nil
	}
	defer conn.Exec(context.WithoutCancel(ctx), `select pg_advisory_unlock($1)`, int64(migrationLock)) //nolint:errcheck // closing the connection unlocks too
	return true, fn()
}

// secondWait is how long a pooler may take to give a second connection.
var secondWait = 10 * time.Second //nolint:gochecknoglobals // a test makes it short

// tryLockedTx is tryLocked for a pooler in transaction mode, where a session's lock would stay
// with a server process of the pooler's. With a pooler that has one connection to the server, it
// runs fn after the transaction, without the lock, as locked does with a pool of one.
func (s *store) tryLockedTx(ctx context.Context, fn func() error) (done bool, err error) {
	second := true
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `select pg_try_advisory_xact_lock($1)`, int64(migrationLock)).Scan(&done); err != nil {
			return fmt.Errorf("lock migrations: %w", err)
		}
		if !done {
			return nil
		}
		if second = s.hasSecond(ctx); !second {
			return nil
		}
		return fn()
	})
	if second || err != nil {
		return done, err
	}
	s.log.WarnContext(ctx, "dataflow: the pooler gave no second connection to migrate with, so that nothing keeps another process from migrating at the same time: raise its default_pool_size, which runs need too", slog.Duration("waited", secondWait))
	return true, fn()
}

// hasSecond reports whether there is a connection beside one that is in use.
func (s *store) hasSecond(ctx context.Context) bool {
	within, cancel := context.WithTimeout(ctx, secondWait)
	defer cancel()
	_, err := s.pool.Exec(within, "select 1")
	return err == nil || within.Err() == nil || ctx.Err() != nil
}

// applied returns when each version was applied.
func (s *store) applied(ctx context.Context) (map[int]time.Time, error) {
	rows, err := s.pool.Query(ctx, s.text(sqlMigrationList))
	if err != nil {
		return nil, fmt.Errorf("read migrations of dataflow's tables: %w", err)
	}
	applied := make(map[int]time.Time)
	var version int
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&version, &at}, func() error {
		applied[version] = at.UTC()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read migrations of dataflow's tables: %w", err)
	}
	return applied, nil
}
