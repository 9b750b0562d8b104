package dataflowsqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"time"

	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
	"github.com/activedataflow/dataflow/internal/migration"
)

//go:embed migration/*.sql
var migrationFiles embed.FS

const sqlMigrationTable = `
create table if not exists dataflow_migration (
	version integer primary key,
	name text not null,
	created_at text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now'))
)`

const sqlMigrationTableExists = `select count(*) from sqlite_master where type = 'table' and name = 'dataflow_migration'`

const sqlMigrationVersion = `select coalesce(max(version), 0) from dataflow_migration`

const sqlMigrationAdd = `insert into dataflow_migration (version, name) values (?, ?)`

const sqlMigrationList = `select version, created_at from dataflow_migration`

const sqlMigrationRemove = `delete from dataflow_migration where version = ?`

// Migrate brings River's tables and ours up to the newest version. It uses one
// transaction, so that a second process waits for the first.
func (s *store) Migrate(ctx context.Context) error {
	rivers, err := s.riverMigrator()
	if err != nil {
		return err
	}
	all, err := s.tables().Load()
	if err != nil {
		return err
	}
	if _, err := s.db.ExecContext(ctx, sqlMigrationTable); err != nil {
		return fmt.Errorf("create table dataflow_migration: %w", err)
	}
	return s.migrate(ctx, func(tx *sql.Tx, version int) error {
		if _, err := rivers.MigrateTx(ctx, tx, rivermigrate.DirectionUp, nil); err != nil { //nolint:staticcheck // deprecated for the sake of Postgres's enums; the suite shows that SQLite's steps fit in one transaction
			return fmt.Errorf("migrate River's tables: %w", err)
		}
		return driverkit.Each(ctx, migration.Upto(all, version), func(m *migration.Migration) error {
			if err := step(ctx, tx, m.Up, sqlMigrationAdd, m.Version, m.Name); err != nil {
				return fmt.Errorf("migrate up to %d (%s): %w", m.Version, m.Name, err)
			}
			return nil
		})
	})
}

// MigrateDown migrates our tables down to a version.
func (s *store) MigrateDown(ctx context.Context, to int) error {
	all, err := s.tables().Load()
	if err != nil {
		return err
	}
	version, err := s.version(ctx, s.db)
	if err != nil {
		return err
	}
	// Without our tables, nothing is to be undone, and InTx could not take its lock.
	if undo, err := migration.Downto(all, version, to); err != nil || len(undo) == 0 {
		return err
	}
	return s.migrate(ctx, func(tx *sql.Tx, version int) error {
		undo, err := migration.Downto(all, version, to)
		if err != nil {
			return err
		}
		return driverkit.Each(ctx, undo, func(m *migration.Migration) error {
			if err := step(ctx, tx, m.Down, sqlMigrationRemove, m.Version); err != nil {
				return fmt.Errorf("migrate down from %d (%s): %w", m.Version, m.Name, err)
			}
			return nil
		})
	})
}

// migrate runs fn in a transaction that holds the write lock, with the version that our
// tables have under the lock.
func (s *store) migrate(ctx context.Context, fn func(tx *sql.Tx, version int) error) error {
	return s.InTx(ctx, func(ctx context.Context, handle dataflow.Tx) error {
		tx, ok := TxFrom(ctx)
		if !ok {
			return dataflow.ErrTxMismatch
		}
		version, err := s.version(ctx, tx)
		if err != nil {
			return err
		}
		return fn(tx, version)
	})
}

func step(ctx context.Context, tx *sql.Tx, ddl, note string, args ...any) error {
	if _, err := tx.ExecContext(ctx, ddl); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, note, args...)
	return err
}

// CheckSchema compares the versions in the database with those of this program.
func (s *store) CheckSchema(ctx context.Context) error {
	if err := s.checkShared(ctx); err != nil {
		return err
	}
	return s.tables().Check(ctx)
}

// Migrations returns our migrations and which of them have been applied.
func (s *store) Migrations(ctx context.Context) (*dataflow.MigrationStatus, error) {
	return s.tables().Status(ctx)
}

func (s *store) tables() *driverkit.Schema[*sql.Tx] {
	return &driverkit.Schema[*sql.Tx]{
		Files: migrationFiles, Version: func(ctx context.Context) (int, error) { return s.version(ctx, s.db) }, Applied: s.applied, River: s.riverMigrator,
		Script: func(m *migration.Migration) (up, down string) {
			return m.UpStep(sqlMigrationTable, "dataflow_migration"), m.DownStep("dataflow_migration")
		},
	}
}

// version returns the version of our tables, or 0 if there are none.
func (s *store) version(ctx context.Context, db querier) (int, error) {
	var tables, version int
	err := db.QueryRowContext(ctx, sqlMigrationTableExists).Scan(&tables)
	if err == nil && tables > 0 {
		err = db.QueryRowContext(ctx, sqlMigrationVersion).Scan(&version)
	}
	if err != nil {
		return 0, fmt.Errorf("read version of dataflow's tables: %w", err)
	}
	return version, nil
}

func (s *store) riverMigrator() (*rivermigrate.Migrator[*sql.Tx], error) {
	return rivermigrate.New(riversqlite.New(s.db), &rivermigrate.Config{Logger: s.log})
}

// applied returns when each version was applied.
func (s *store) applied(ctx context.Context) (map[int]time.Time, error) {
	type row struct {
		version int
		at      time.Time
	}
	rows, err := collect(ctx, &s.queries, func(r scanner) (row, error) {
		var v row
		err := r.Scan(&v.version, timeText{&v.at})
		return v, err
	}, sqlMigrationList)
	if err != nil {
		return nil, fmt.Errorf("read migrations of dataflow's tables: %w", err)
	}
	applied := make(map[int]time.Time, len(rows))
	for _, r := range rows {
		applied[r.version] = r.at
	}
	return applied, nil
}
