package dataflow

import (
	"encoding/json"
	"time"
)

// FlowCursor is where a flow goes on. It is that of the flow's own runs: a backfill
// has one of its own. See [Client.Cursor].
type FlowCursor struct {
	FlowID   int64
	FlowName string
	// Cursor is the source's, as JSON. Nil: the next run begins at the beginning.
	Cursor json.RawMessage
	// Seq is the sequence number of the flow's checkpoint. It moves whenever the cursor
	// may have moved, and when a run is taken up.
	Seq int64
	// At is when the cursor was moved or set last, nil if it never was.
	At *time.Time
	// RunID is the run that has moved it last. 0: none, or somebody has set it.
	RunID int64
	// Change is how somebody has set it last, nil if a run has moved it since.
	Change *CursorChange
}

// CursorChange is a cursor that somebody has set. See [Client.SetCursor].
type CursorChange struct {
	ID       int64
	FlowID   int64
	FlowName string
	// From is the cursor before, To the one after it. Nil is the beginning.
	From json.RawMessage
	To   json.RawMessage
	// Seq is the sequence number that the change has led to.
	Seq int64
	// Actor and Reason say who has done it and why.
	Actor  string
	Reason string
	At     time.Time
}

// DeadLetterRecord is a bad record that a flow's [Policy] has kept.
type DeadLetterRecord struct {
	ID       int64
	FlowID   int64
	FlowName string
	RunID    int64
	// Stage is where the record failed, Key names it, and Error says why.
	Stage Stage
	Key   string
	Error string
	// Payload is the record, as far as it was known: as JSON, or as a JSON text if it
	// is none. It is nil if nothing was known.
	Payload   json.RawMessage
	CreatedAt time.Time
	// ReplayedAt is when it was written after all, nil if it was not.
	ReplayedAt *time.Time
}

// Process is a started client, in this process or another one, that has been seen
// alive a moment ago.
type Process struct {
	// ID is its Config.ID.
	ID string
	// CodeVersion is its Config.CodeVersion.
	CodeVersion string
	// Flows are the names of the flows whose code it has.
	Flows []string
	// Queues are the River queues that it works; nil if it has joined a River client
	// of the service's own, whose queues it does not know.
	Queues []string
	// StartedAt is when it was first seen, SeenAt when it was last. It counts as alive
	// until Until.
	StartedAt time.Time
	SeenAt    time.Time
	Until     time.Time
}

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
