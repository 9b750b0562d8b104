package enginetest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// The database's clock is an hour ahead for a while, and then right again. Why and the log say until
// when nothing fires.
func TestClockWentBack(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("back")
		c := newClock()
		flow := dataflow.NewFlow("back", numbers{n: 1}, dataflow.Identity[int](), appendTo("back"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Minute}})
		client := t.onClock(c, flow)
		c.advance(time.Minute)
		require.Len(t, t.tick(client), 1)
		c.advance(65 * time.Minute)
		require.Len(t, t.tick(client), 1)
		why, err := client.Why(t.Context(), "back")
		require.NoError(t, err)
		require.NotContains(t, why.String(), "went back")
		ahead := c.Now()
		c.advance(-65 * time.Minute)
		require.Empty(t, t.tick(client))
		why, err = client.Why(t.Context(), "back")
		require.NoError(t, err)
		require.Contains(t, why.String(), "The database's clock went back: something of this flow was stored at "+ahead.Format(time.RFC3339))
		next := ahead.Truncate(time.Minute).Add(time.Minute)
		require.Contains(t, why.String(), "no tick fires before "+next.Format(time.RFC3339))
		require.Contains(t, codes(why), dataflow.CauseClock)
	})
}

func TestClockWentBack_Log(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		l := newLogs()
		client := t.client(&dataflow.Config{Clock: c.Now, Logger: l.logger(), Lease: time.Second})
		ahead := c.Now().Add(time.Hour)
		c.advance(time.Hour)
		t.started(client)
		require.Empty(t, l.lines("went back"))
		c.advance(-time.Hour)
		require.Eventually(t, func() bool { return len(l.lines("went back")) > 0 }, patience, 10*time.Millisecond)
		require.Contains(t, l.lines("went back")[0], "back=1h0m0s")
		require.Contains(t, l.lines("went back")[0], "until="+ahead.Format("2006-01-02T15:04:05"))
	})
}

func codes(why *dataflow.Explanation) []dataflow.CauseCode {
	var all []dataflow.CauseCode
	for _, c := range why.Causes {
		all = append(all, c.Code)
	}
	return all
}
