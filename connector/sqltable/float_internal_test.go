package sqltable

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"
)

// A floating-point field costs no allocation for each row.
func TestFloatTarget_Allocations(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts those of all tests
	var double float64
	target, ok := scanTargets([]any{&double}, false)[0].(sql.Scanner)
	require.True(t, ok)
	var value any = 0.5
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = target.Scan(value) }))
	require.InDelta(t, 0.5, double, 0)
}
