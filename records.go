package dataflow

import (
	"encoding/json"
	"time"
)

// FlowCursor is where a flow goes on. It belongs to the flow's own runs: each backfill
// has a cursor of its own. See [Client.Cursor].
type FlowCursor struct {
	FlowID   int64
	FlowName string
	// Cursor is the source's, as JSON. Nil: the next run begins at the beginning.
	Cursor json.RawMessage
	// Seq is the sequence number of the flow's checkpoint. It moves whenever the cursor
	// may have moved, and at each claim of a run.
	Seq int64
	// At is when the cursor was last moved or set, nil if it never was.
	At *time.Time
	// RunID is the run that moved it last. 0: no run did, or somebody has set it since.
	RunID int64
	// Change is how somebody last set it, nil if a run has moved it since.
	Change *CursorChange
}

// CursorChange is a cursor that somebody has set. See [Client.SetCursor].
type CursorChange struct {
	ID       int64
	FlowID   int64
	FlowName string
	// From is the cursor before the change, To the one after it. Nil is the beginning.
	From json.RawMessage
	To   json.RawMessage
	// Seq is the sequence number of the checkpoint after the change.
	Seq int64
	// Actor and Reason say who made the change and why.
	Actor  string
	Reason string
	At     time.Time
}

// DeadLetterRecord is a dead letter: a bad record that a flow's [Policy] kept.
type DeadLetterRecord struct {
	ID       int64
	FlowID   int64
	FlowName string
	RunID    int64
	// Stage is where the record failed, Key names it, and Error says why.
	Stage Stage
	Key   string
	Error string
	// Payload is the record, as far as it was known. A record that is not JSON is kept
	// as a JSON text. Nil: nothing was known.
	Payload   json.RawMessage
	CreatedAt time.Time
	// ReplayedAt is when the record was written after all, nil if it was not.
	ReplayedAt *time.Time
}

// Process is a started client, in this process or another one, that was recently seen
// alive.
type Process struct {
	// ID is its Config.ID.
	ID string
	// CodeVersion is its Config.CodeVersion.
	CodeVersion string
	// Flows are the names of the flows whose code it has.
	Flows []string
	// Queues are the River queues that it works. Nil: it joined the service's own River
	// client, whose queues it does not know.
	Queues []string
	// StartedAt is when it was first seen, SeenAt when it was last seen. It counts as
	// alive until Until.
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
	// Up and Down are the whole step as SQL for this database and schema, including its
	// entry in dataflow_migration. Run each in a transaction of its own.
	Up   string
	Down string
}

// MigrationStatus is the state of the tables in a database. Versions count
// migrations: 0 is a database without the tables.
type MigrationStatus struct {
	// Migrations are those of this library, oldest first.
	Migrations []Migration
	// Version is the version of our tables in the database. It is greater than
	// len(Migrations) if a newer program has migrated them.
	Version int
	// RiverVersion is the version of River's tables in the database. RiverNewest is the
	// version that this program's River needs.
	RiverVersion int
	RiverNewest  int
}
