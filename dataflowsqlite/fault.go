package dataflowsqlite

import (
	"strings"

	"github.com/activedataflow/dataflow"
)

// What kind of error it is, is asked of the message, because each SQLite library
// has an error type of its own, and this package links none. The messages are
// SQLite's.

func isUniqueViolation(err error) bool {
	return err != nil && strings.Contains(err.Error(), "UNIQUE constraint failed")
}

// Classify tells what kind of failure of the database an error is.
func (s *store) Classify(err error) dataflow.Fault {
	text := err.Error()
	switch {
	case strings.Contains(text, "database is locked"), strings.Contains(text, "database table is locked"):
		return dataflow.FaultConflict
	case strings.Contains(text, "disk I/O error"), strings.Contains(text, "database or disk is full"):
		return dataflow.FaultUnavailable
	case strings.Contains(text, "constraint failed"), strings.Contains(text, "datatype mismatch"), strings.Contains(text, "string or blob too big"):
		return dataflow.FaultData
	default:
		return dataflow.FaultOther
	}
}
