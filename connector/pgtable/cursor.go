package pgtable

import "github.com/activedataflow/dataflow/internal/rowmap"

// Cursor is the place directly after a row: the values of its key columns in the
// order of [Query.Key]. The text means the same in every session, whatever its time
// zone and other settings. A time is in UTC.
type Cursor []string

// String names the last row before the cursor: "17", or "(2024-01-01T00:00:00Z,
// 17)".
func (c Cursor) String() string { return rowmap.Text(c) }
