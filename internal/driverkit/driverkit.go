// Package driverkit holds the rules that all drivers share, so that each is written once.
// Every driver has its own statements, in its own dialect. Only the list of runs is put together
// here, because its shape is a rule: which index answers which filter.
package driverkit

import (
	"encoding/json"
	"strconv"

	"github.com/activedataflow/dataflow"
)

// Checkpoint identifies a run's checkpoint, which is unique for a flow, a scope and a
// partition.
type Checkpoint struct {
	Scope     string
	Partition string
	// From is the cursor that the checkpoint begins at if it does not exist yet. Nil is the
	// beginning.
	From json.RawMessage
}

// CheckpointOf returns the checkpoint of a run. A backfill has the checkpoint of its scope,
// in whatever slot it is worked. The flow's own runs have one for each slot; that of the
// first slot is the flow's cursor.
func CheckpointOf(run *dataflow.Run) Checkpoint {
	switch {
	case run.Scope != "":
		return Checkpoint{Scope: run.Scope, From: run.FromCursor}
	case run.Slot == 0:
		return Checkpoint{}
	default:
		return Checkpoint{Partition: "slot " + strconv.Itoa(run.Slot)}
	}
}

// DeadLettersCounted is up to how many dead letters of a flow FlowStats counts.
const DeadLettersCounted = 10_000
