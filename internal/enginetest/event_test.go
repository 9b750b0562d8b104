package enginetest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func TestClient_Subscribe(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("good", "bad")
		c := newClock()
		client := t.onClock(c,
			flowTo("good", 3, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 2}}),
			flowTo("bad", 3, broken(), &dataflow.FlowOptions{MaxAttempts: 1}),
		)
		all, cancelAll := client.Subscribe()
		some, cancelSome := client.Subscribe(dataflow.EventRunFailed, dataflow.EventRunSucceeded)
		ended, cancelEnded := client.Subscribe()
		cancelEnded()
		good, err := t.execute(client, "good")
		require.NoError(t, err)
		bad, err := t.execute(client, "bad")
		require.ErrorIs(t, err, errBroken)
		cancelAll()
		cancelSome()
		cancelSome()
		_, err = t.execute(client, "good")
		require.NoError(t, err)

		var kinds []dataflow.EventKind
		for e := range all {
			kinds = append(kinds, e.Kind)
			require.True(t, someTime.Equal(e.At))
			require.Equal(t, e.Kind == dataflow.EventRunFailed, e.Err != nil)
		}
		require.Equal(t, []dataflow.EventKind{
			dataflow.EventRunStarted, dataflow.EventRunProgress, dataflow.EventRunProgress, dataflow.EventRunSucceeded,
			dataflow.EventRunStarted, dataflow.EventRunFailed,
		}, kinds)
		e := <-some
		require.Equal(t, good, e.Run)
		e = <-some
		require.Equal(t, bad, e.Run)
		require.ErrorIs(t, e.Err, errBroken)
		_, open := <-some
		require.False(t, open)
		_, open = <-ended
		require.False(t, open)
	})
}

// An event's run belongs to its receiver, even while Execute returns.
func TestClient_Subscribe_RunIsACopy(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f")
		client := t.registered(flowTo("f", 1, dataflow.Identity[int](), nil))
		events, cancel := client.Subscribe()
		read := make(chan dataflow.Run, 10)
		go func() {
			defer close(read)
			for e := range events {
				read <- *e.Run
			}
		}()
		run, err := t.execute(client, "f")
		require.NoError(t, err)
		cancel()
		var last dataflow.Run
		for r := range read {
			last = r
		}
		require.Equal(t, *run, last)
	})
}

func TestRunState(t *testing.T) {
	t.Parallel()
	type state = dataflow.RunState
	for s, c := range map[state]struct {
		next            []state
		valid, finished bool
	}{
		dataflow.RunPending:    {[]state{dataflow.RunInProgress, dataflow.RunCancelled}, true, false},
		dataflow.RunInProgress: {[]state{dataflow.RunSuccess, dataflow.RunFailed, dataflow.RunCancelled, dataflow.RunPending}, true, false},
		dataflow.RunSuccess:    {nil, true, true},
		dataflow.RunFailed:     {nil, true, true},
		dataflow.RunCancelled:  {nil, true, true},
		"":                     {nil, false, false},
		"Pending":              {nil, false, false},
		"running":              {nil, false, false},
	} {
		require.Equal(t, c.valid, s.Valid(), s)
		require.Equal(t, c.finished, s.Finished(), s)
		require.ElementsMatch(t, c.next, s.Next(), s)
		for _, next := range s.Next() {
			require.True(t, next.Valid())
		}
		if s.Valid() {
			require.Equal(t, s.Finished(), len(s.Next()) == 0, s)
		}
	}
}

func TestRun_Duration(t *testing.T) {
	t.Parallel()
	start, end := someTime, someTime.Add(90*time.Second)
	require.Equal(t, 90*time.Second, (&dataflow.Run{StartedAt: &start, EndedAt: &end}).Duration())
	require.Zero(t, (&dataflow.Run{StartedAt: &start}).Duration())
	require.Zero(t, (&dataflow.Run{}).Duration())
}
