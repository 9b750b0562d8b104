package pgtable

import "time"

// Change is what a transaction has done to one row of a table, or to all of them. Package
// pgchange reads changes from Postgres' log. [Apply] does the same to another table.
type Change[T any] struct {
	// Op says what was done.
	Op ChangeOp
	// Table is the changed table, with its schema, such as "public.orders".
	Table string
	// New is the row after an insert or an update. It is the zero value otherwise.
	New T
	// Old is the row before a delete, or before an update that changed its key. Without
	// "replica identity full", only the key's columns are set. With it, Old is set for every
	// update. It is nil otherwise.
	Old *T
	// Identity are the columns by which the source tells its rows apart (its replica identity).
	// Nil stands for all columns. Old holds at least these.
	Identity []string
	// Absent are the columns of T that New lacks, nil for none. A log does not carry a large
	// value (TOAST) that an update leaves unchanged, nor a column that was dropped. The fields
	// are zero.
	Absent []string
	// Loading is true for a row of the first load, and for changes of a table until it is
	// loaded. The row that is changed may not be in the target yet.
	Loading bool
	// LSN is the place of the transaction's commit in the log. It is 0 for a row of the first
	// load.
	LSN uint64
	// CommittedAt is when the transaction was committed, by the clock of the source's server.
	// It is zero for a row of the first load.
	CommittedAt time.Time
}

// ChangeOp is what a [Change] has done.
type ChangeOp string

// The kinds of changes.
const (
	ChangeInsert   ChangeOp = "insert"
	ChangeUpdate   ChangeOp = "update"
	ChangeDelete   ChangeOp = "delete"
	ChangeTruncate ChangeOp = "truncate" // all rows were removed
)
