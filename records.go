package dataflow

import (
	"context"
	"time"
)

// Migration is one step of our tables' schema.
type Migration struct {
	Version int
	Name    string
	// AppliedAt is when it was applied to the database, nil if it was not.
	AppliedAt *time.Time
	// Up and Down are the whole step as SQL for this database and schema, with the
	// note in dataflow_migration. Each is meant for a transaction of its own.
	Up   string
	Down string
}

// MigrationStatus is the state of the tables in a database. Versions count
// migrations: 0 is a database without the tables.
type MigrationStatus struct {
	// Migrations are those of this library, oldest first.
	Migrations []Migration
	// Version is that of our tables in the database, which is greater than
	// len(Migrations) if a newer program has migrated them.
	Version int
	// RiverVersion is that of River's tables in the database, RiverNewest that of the
	// River that this program has.
	RiverVersion int
	RiverNewest  int
}

// Migrations returns the migrations of our tables, which of them the database has,
// and their SQL. It changes nothing, and works on an empty database too.
func (c *Client) Migrations(ctx context.Context) (*MigrationStatus, error) {
	s, err := c.store.Migrations(ctx)
	return s, public(err)
}
