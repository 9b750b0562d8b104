package dataflowpgx

import (
	"context"
	"embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/activedataflow/dataflow/internal/migration"
)

//go:embed migration/*.sql
var migrationFiles embed.FS

// migrationLock is the advisory lock that keeps two processes from migrating at
// once. It is "dataflow" in ASCII.
const migrationLock = 0x64617461666c6f77

const sqlMigrationTable = `
create table if not exists {s}dataflow_migration (
	version integer primary key,
	name text not null,
	created_at timestamptz not null default now()
)`

const sqlMigrationVersion = `select coalesce(max(version), 0) from {s}dataflow_migration`

const sqlMigrationAdd = `insert into {s}dataflow_migration (version, name) values ($1, $2)`

const sqlMigrationRemove = `delete from {s}dataflow_migration where version = $1`

// Migrate brings River's tables and ours up to the newest version.
func (s *store) Migrate(ctx context.Context) error {
	return s.locked(ctx, func() error {
		m, err := s.riverMigrator()
		if err != nil {
			return err
		}
		if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
			return fmt.Errorf("migrate River's tables: %w", err)
		}
		return s.migrateUp(ctx)
	})
}

func (s *store) migrateUp(ctx context.Context) error {
	all, err := migration.Load(migrationFiles, "migration")
	if err != nil {
		return err
	}
	if _, err := s.pool.Exec(ctx, s.text(sqlMigrationTable)); err != nil {
		return fmt.Errorf("create table dataflow_migration: %w", err)
	}
	version, err := s.version(ctx)
	if err != nil {
		return err
	}
	for _, m := range migration.Upto(all, version) {
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, s.text(m.Up)); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, s.text(sqlMigrationAdd), m.Version, m.Name)
			return err
		})
		if err != nil {
			return fmt.Errorf("migrate up to %d (%s): %w", m.Version, m.Name, err)
		}
	}
	return nil
}

// MigrateDown takes our tables down to a version.
func (s *store) MigrateDown(ctx context.Context, to int) error {
	all, err := migration.Load(migrationFiles, "migration")
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
		for _, m := range undo {
			err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, s.text(m.Down)); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, s.text(sqlMigrationRemove), m.Version)
				return err
			})
			if err != nil {
				return fmt.Errorf("migrate down from %d (%s): %w", m.Version, m.Name, err)
			}
		}
		return nil
	})
}

// CheckSchema compares the versions in the database with those of this program.
func (s *store) CheckSchema(ctx context.Context) error {
	all, err := migration.Load(migrationFiles, "migration")
	if err != nil {
		return err
	}
	version, err := s.version(ctx)
	if err != nil {
		return err
	}
	if err := migration.Check("dataflow's tables", version, len(all)); err != nil {
		return err
	}
	m, err := s.riverMigrator()
	if err != nil {
		return err
	}
	existing, err := m.ExistingVersions(ctx)
	if err != nil {
		return fmt.Errorf("read version of River's tables: %w", err)
	}
	return migration.Check("River's tables", len(existing), len(m.AllVersions()))
}

// version returns the version of our tables, 0 if there are none.
func (s *store) version(ctx context.Context) (int, error) {
	var version int
	err := s.pool.QueryRow(ctx, s.text(sqlMigrationVersion)).Scan(&version)
	var pe *pgconn.PgError
	if errors.As(err, &pe) && (pe.Code == "42P01" || pe.Code == "3F000") { // no such table, or schema
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read version of dataflow's tables: %w", err)
	}
	return version, nil
}

func (s *store) riverMigrator() (*rivermigrate.Migrator[pgx.Tx], error) {
	return rivermigrate.New(riverpgxv5.New(s.pool), &rivermigrate.Config{Schema: s.schema, Logger: s.log})
}

// locked runs fn while this process alone migrates. A pool of one connection
// has none to spare for the lock.
func (s *store) locked(ctx context.Context, fn func() error) error {
	if s.pool.Config().MaxConns < 2 {
		return fn()
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `select pg_advisory_lock($1)`, int64(migrationLock)); err != nil {
		return fmt.Errorf("lock migrations: %w", err)
	}
	defer conn.Exec(context.WithoutCancel(ctx), `select pg_advisory_unlock($1)`, int64(migrationLock)) //nolint:errcheck // closing the connection unlocks too
	return fn()
}
