package pgtable

import "github.com/activedataflow/dataflow/internal/rowmap"

// Cursor is the place directly after a row: the values of its key columns in the
// order of [Query.Key]. The text means the same in every session, whatever its time
// zone and other settings. A time is in UTC.
//
// A cursor of [Keyset] goes on with the types that the columns had, one for each:
// Cursor{"17", "type: bigint"}. They show when a type has changed since. A cursor
// that you make needs none: Cursor{"17"}.
type Cursor []string

// String names the last row before the cursor: "17", or "(2024-01-01T00:00:00Z,
// 17)".
func (c Cursor) String() string { return rowmap.Text(c) }
