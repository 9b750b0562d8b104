package dataflow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A range in progress may have read all that its source has counted. The backfill has not ended.
func TestBackfillProgress_AllRead(t *testing.T) {
	t.Parallel()
	total, at := int64(10), time.Date(2026, 11, 28, 9, 30, 0, 0, time.UTC)
	ended := at.Add(time.Minute)
	runs := []*Run{
		{ID: 2, Scope: "1/2", State: RunInProgress, StartedAt: &at, Total: &total, Counters: Counters{Read: 10}},
		{ID: 1, Scope: "1", State: RunSuccess, StartedAt: &at, EndedAt: &ended, Total: &total, Counters: Counters{Read: 10}},
	}
	p := backfillProgress(runs, at.Add(time.Hour))
	require.Equal(t, 1, p.InProgress)
	require.Nil(t, p.EndedAt)
	require.NotNil(t, p.Left)
	require.Zero(t, *p.Left)

	runs[0].State, runs[0].EndedAt = RunSuccess, &ended
	p = backfillProgress(runs, at.Add(time.Hour))
	require.Equal(t, &ended, p.EndedAt)
	require.Nil(t, p.Left)
}
