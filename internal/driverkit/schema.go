package driverkit

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/riverqueue/river/rivermigrate"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/migration"
	"github.com/activedataflow/dataflow/internal/notes"
)

// The names of the two sets of tables in errors.
const (
	ourTables   = "dataflow's tables"
	riverTables = "River's tables"
)

// Schema compares the tables of a database with those that this program needs.
type Schema[TTx any] struct {
	// Files holds the driver's migrations in its directory "migration".
	Files fs.FS
	// Version returns the version of our tables, or 0 if there are none.
	Version func(ctx context.Context) (int, error)
	// Applied returns when each version was applied. It is called only if there are tables.
	Applied func(ctx context.Context) (map[int]time.Time, error)
	// Script returns the SQL of a migration as an operator can run it by hand.
	Script func(m *migration.Migration) (up, down string)
	// River returns the migrator of River's tables.
	River func() (*rivermigrate.Migrator[TTx], error)
}

// Load returns the driver's migrations.
func (s *Schema[TTx]) Load() ([]migration.Migration, error) {
	return migration.Load(s.Files, "migration")
}

// Each does something for each migration, one after the other, and says which one it is.
func Each(ctx context.Context, all []migration.Migration, do func(m *migration.Migration) error) error {
	for i := range all {
		m := &all[i]
		notes.Progress(ctx, notes.Step{What: "migrations", Done: int64(i), Total: int64(len(all)), Now: fmt.Sprintf("%d, %s", m.Version, m.Name)})
		if err := do(m); err != nil {
			return err
		}
	}
	return nil
}

// Check implements CheckSchema of [dataflow.Store].
func (s *Schema[TTx]) Check(ctx context.Context) error {
	all, err := s.Load()
	if err != nil {
		return err
	}
	version, err := s.Version(ctx)
	if err != nil {
		return err
	}
	if err := migration.Check(ourTables, version, len(all)); err != nil {
		return err
	}
	version, newest, err := s.riverVersion(ctx)
	if err != nil {
		return err
	}
	return migration.Check(riverTables, version, newest)
}

// Status implements Migrations of [dataflow.Store].
func (s *Schema[TTx]) Status(ctx context.Context) (*dataflow.MigrationStatus, error) {
	all, err := s.Load()
	if err != nil {
		return nil, err
	}
	status := &dataflow.MigrationStatus{Migrations: make([]dataflow.Migration, len(all))}
	if status.Version, err = s.Version(ctx); err != nil {
		return nil, err
	}
	applied := make(map[int]time.Time)
	if status.Version > 0 {
		if applied, err = s.Applied(ctx); err != nil {
			return nil, err
		}
	}
	for i := range all {
		m := &all[i]
		up, down := s.Script(m)
		status.Migrations[i] = dataflow.Migration{Version: m.Version, Name: m.Name, Up: up, Down: down}
		if at, ok := applied[m.Version]; ok {
			status.Migrations[i].AppliedAt = &at
		}
	}
	if status.RiverVersion, status.RiverNewest, err = s.riverVersion(ctx); err != nil {
		return nil, err
	}
	return status, nil
}

// riverVersion returns the version of River's tables, and the newest that this program knows.
func (s *Schema[TTx]) riverVersion(ctx context.Context) (version, newest int, err error) {
	m, err := s.River()
	if err != nil {
		return 0, 0, err
	}
	existing, err := m.ExistingVersions(ctx)
	if err != nil {
		return 0, 0, migration.Unreadable(riverTables, err)
	}
	return len(existing), len(m.AllVersions()), nil
}
