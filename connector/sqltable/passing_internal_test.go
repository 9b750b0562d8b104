package sqltable

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// The numbers are those of MySQL 8.0 and MariaDB 10.11, and the texts as their driver writes them.
func TestPassing(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text   string
		passes bool
	}{
		{"Error 1020 (HY000): Record has changed since last read in table 't'", true},
		{"Error 1047 (08S01): WSREP has not yet prepared node for application use", true},
		{"Error 1159 (08S01): Got timeout reading communication packets", true},
		{"Error 1180 (HY000): Got error 149 - 'Lock deadlock; Retry transaction' during COMMIT", true},
		{"Error 1203 (42000): User app already has more than 'max_user_connections' active connections", true},
		{"Error 1412 (HY000): Table definition has changed, please retry transaction", true},
		{"Error 1615 (HY000): Prepared statement needs to be re-prepared", true},
		{"Error 3101 (40000): Plugin instructed the server to rollback the current transaction.", true},
		{"Error 1969 (70100): Query execution was interrupted (max_statement_time exceeded)", false},
		{"Error 1146 (42S02): Table 'x.database is locked' doesn't exist", false},
	} {
		err := passing(t.Context(), fmt.Errorf("page: %w", errors.New(tc.text)))
		require.Equal(t, tc.passes, fmt.Sprintf("%T", err) == fmt.Sprintf("%T", dataflow.Transient(err)), tc.text)
	}
}
