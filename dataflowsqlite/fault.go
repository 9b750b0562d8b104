package dataflowsqlite

import (
	"strings"

	"github.com/activedataflow/dataflow"
)

// Errors are classified by their message: each SQLite library has its own error type,
// and this package links none of them. The messages are SQLite's own.

func isUniqueViolation(err error) bool {
	return err != nil && strings.Contains(err.Error(), "UNIQUE constraint failed")
}

// Classify returns what kind of database failure an error is.
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
