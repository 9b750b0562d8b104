package dataflow_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// A process that cannot read a flow's Runtime, as one of the older version in the
// middle of a deployment, leaves the ticks to those that can.
func TestSchedule_UnknownRuntime(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(5))
		old := t.onClock(c, hb(10*time.Minute, dataflow.Schedule{}))
		newer := t.client(&dataflow.Config{
			Flows: []*dataflow.Flow{dataflow.NewFlow("f", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{
				Runtime: onCall{JobQueue: dataflow.JobQueue{Interval: 10 * time.Minute}},
			})},
			Clock: c.Now, Runtimes: map[string]dataflow.RuntimeDecoder{"on_call": decodeOnCall},
		})
		require.NoError(t, newer.Register(t.Context()))
		c.set(minute(10))
		require.Empty(t, t.tick(old))
		require.Empty(t, t.skipped(old))
		require.Equal(t, minute(10), *t.next(old), "it stays due")
		report, err := newer.BeginTick(t.Context())
		require.NoError(t, err)
		require.Len(t, report.Fired, 1)
		// What it does not need the Runtime for, it does.
		c.set(minute(21))
		_, err = old.Pause(t.Context(), "f", "ann", "")
		require.NoError(t, err)
		c.set(minute(31))
		require.Empty(t, t.tick(old))
		require.Equal(t, []string{"20-20 1 missed", "30-30 1 paused"}, t.skipped(old))
		require.Equal(t, []int{10}, t.ticked(old))
	})
}
