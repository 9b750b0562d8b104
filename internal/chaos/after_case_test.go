//go:build unix && chaos

package chaos_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A flow runs after another one. A worker dies when the run of the other one has ended, when it
// starts the run that follows, and when it has started it. Oracle: exact. Each success of the one
// is followed by one run of the other: none is lost, and none comes twice.
func TestAfter(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, queue := range []bool{true, false} {
			t.Run(string(k)+"/"+runtimeName(queue), func(t *testing.T) {
				t.Parallel()
				after(t, k, queue)
			})
		}
	}
}

func after(t *testing.T, k kind, queue bool) {
	t.Helper()
	const patience = 2 * time.Minute
	s := newStage(t, k, []flowSettings{
		{Name: "orders", Queue: queue, Batch: 10, Chunk: 20},
		{Name: "report", Queue: queue, Batch: 10, Chunk: 20, After: "orders"},
	})
	size := 2
	if k == onSQLite {
		size = 1
	}
	f := newFleet(s, size, workerSettings{Lease: time.Second})
	count := func(trigger, states string) int64 {
		return s.number(fmt.Sprintf("select count(*) from dataflow_run where trigger = '%s' and state in (%s)", trigger, states))
	}
	successes := 0
	followed := func() {
		s.startOne("orders", successes)
		successes++
		s.within(patience, fmt.Sprintf("success %d is followed", successes), func() bool { return count("after", "'success'") >= int64(successes) })
	}
	for range scaled(1, 5) {
		for _, point := range []string{"finish/uncommitted", "finish/committed", "after/uncommitted", "after/committed"} {
			f.order(actionKill, point)
			followed()
			require.True(t, f.obeyed(actionKill, point), point)
		}
	}
	followed()
	s.finished(patience)
	require.EqualValues(t, successes, count("manual", "'success'"))
	require.EqualValues(t, successes, count("after", "'success', 'failed', 'cancelled'"))
	require.EqualValues(t, successes, s.number("select count(distinct reason) from dataflow_run where trigger = 'after'"), "each run follows a success of its own")
	s.exact()
	t.Logf("%d runs, each followed by one; %d deaths", successes, f.starts-size)
}
