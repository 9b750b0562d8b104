package pgtable

import "github.com/activedataflow/dataflow/internal/rowmap"

// Cursor is the place behind a row: the values of its key columns in the order
// of [Query.Key], as text that means the same to every session, whatever its
// time zone and other settings. A time is in UTC.
type Cursor []string

// String names the row: "17", or "(2024-01-01T00:00:00Z, 17)".
func (c Cursor) String() string { return rowmap.Text(c) }
