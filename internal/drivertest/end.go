package drivertest

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func endRules() []rule {
	return []rule{
		{name: "Success", run: endSuccess},
		{name: "Failed", run: endFailed},
		{name: "Cancelled", run: endCancelled},
		{name: "Retry", run: endRetry},
		{name: "RetryDelay", run: endRetryDelay},
		{name: "HandedBack", run: endHandedBack},
		{name: "History", run: endHistory},
		{name: "Failures", run: endFailures},
		{name: "ErrorGoneAfterSuccess", run: endErrorGone},
		{name: "FlowsApart", run: endFlowsApart},
		{name: "NotHeld", run: endNotHeld},
		{name: "RolledBack", run: endRolledBack},
	}
}

// finishedAs returns the run as it must be after an attempt that ended at a time.
func finishedAs(c *dataflow.Claim, state dataflow.RunState, at time.Time) *dataflow.Run {
	run := *c.Run
	run.State, run.LeaseUntil = state, nil
	if state.Finished() {
		run.EndedAt = &at
	} else {
		run.RunAfter = at
	}
	return &run
}

func endSuccess(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	c := t.inProgress(f.ID)
	now := clock.advance(time.Minute)
	require.Equal(t, finishedAs(c, dataflow.RunSuccess, now), t.end(ending(c, dataflow.RunSuccess)))
	f.LastRunAt, f.LastSuccessAt = &now, &now
	require.Equal(t, f, t.flowByID(f.ID))
}

func endFailed(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	c := t.inProgress(f.ID)
	now := clock.advance(time.Minute)
	p := failing(c, dataflow.RunFailed, "disk full")
	want := finishedAs(c, dataflow.RunFailed, now)
	want.Error, want.Errors = "disk full", []dataflow.AttemptError{*p.Error}
	require.Equal(t, want, t.end(p))
	f.LastRunAt, f.LastError, f.Failures = &now, "disk full", 1
	require.Equal(t, f, t.flowByID(f.ID))
}

func endCancelled(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	t.end(failing(t.inProgress(f.ID), dataflow.RunFailed, "disk full"))
	c := t.inProgress(f.ID)
	now := clock.advance(time.Minute)
	p := failing(c, dataflow.RunCancelled, "its River job was cancelled")
	want := finishedAs(c, dataflow.RunCancelled, now)
	want.Error, want.Errors = p.Error.Error, []dataflow.AttemptError{*p.Error}
	require.Equal(t, want, t.end(p))
	got := t.flowByID(f.ID)
	t.requireTime(now, got.LastRunAt)
	require.Nil(t, got.LastSuccessAt)
	require.Equal(t, 1, got.Failures, "neither a failure nor a success")
}

func endRetry(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	c := t.inProgress(f.ID)
	t.checkpoint(c, `7`, dataflow.Counters{Read: 1, Written: 1})
	now := clock.advance(time.Minute)
	p := failing(c, dataflow.RunPending, "disk full")
	p.Delay = 18*time.Second + 250*time.Millisecond
	want := finishedAs(c, dataflow.RunPending, now.Add(p.Delay))
	want.Error, want.Errors = "disk full", []dataflow.AttemptError{*p.Error}
	want.Counters, want.FromCursor, want.ToCursor = dataflow.Counters{Read: 1, Written: 1}, raw("null"), raw("7")
	require.Equal(t, want, t.end(p))
	f.LastRunAt, f.LastError = &now, "disk full"
	require.Equal(t, f, t.flowByID(f.ID), "a failed attempt that is retried is not yet a failure")
}

// The delay is counted by the database's clock, not by the process's.
func endRetryDelay(t *test) {
	f := t.flow("orders")
	for _, delay := range []time.Duration{0, time.Millisecond, 90 * time.Minute, 1000 * 24 * time.Hour} {
		c := t.inProgress(f.ID)
		p := failing(c, dataflow.RunPending, "disk full")
		p.Delay = delay
		before := t.pending(t.flow("other").ID).CreatedAt
		got := t.end(p).RunAfter.Add(-delay)
		after := t.pending(t.flow("other").ID).CreatedAt
		require.False(t, got.Before(before.Truncate(time.Millisecond)), "%s: %s is before %s", delay, got, before)
		require.False(t, got.After(after), "%s: %s is after %s", delay, got, after)
	}
}

// A run that is handed back unfinished spends no attempt, and does not change its flow.
func endHandedBack(t *test) {
	clock := t.clocked()
	id := t.flow("orders").ID
	c := t.inProgress(id)
	first := failing(c, dataflow.RunPending, "disk full")
	t.end(first)
	f := t.flowByID(id)
	c = t.claim(c.Run.ID)
	now := clock.advance(time.Minute)
	p := ending(c, dataflow.RunPending)
	p.Refund = true
	want := finishedAs(c, dataflow.RunPending, now)
	want.Attempt, want.Error, want.Errors = 1, "disk full", []dataflow.AttemptError{*first.Error}
	require.Equal(t, want, t.end(p))
	require.Equal(t, f, t.flowByID(f.ID))
	c = t.claim(c.Run.ID)
	require.Equal(t, 2, c.Run.Attempt)
	require.EqualValues(t, 3, c.Run.LeaseNumber, "the lease number still counts every claim")

	p = failing(c, dataflow.RunPending, "429 Too Many Requests")
	p.Refund = true
	want = finishedAs(c, dataflow.RunPending, now)
	want.Attempt, want.Error, want.Errors = 1, "429 Too Many Requests", []dataflow.AttemptError{*first.Error}
	require.Equal(t, want, t.end(p), "it waits, and no attempt has failed")
	require.Equal(t, f, t.flowByID(f.ID))
}

func endHistory(t *test) {
	f := t.flow("orders")
	run := t.pending(f.ID)
	var want []dataflow.AttemptError
	for i, e := range []dataflow.AttemptError{
		{Worker: "one", Error: "disk \"full\"\nit's é 日本 😀 \\ {now}"},
		{Worker: "two", Error: "panic: x", Stack: "goroutine 1 [running]:\n\tmain.go:7 +0x1f\n"},
		{Worker: "one", Error: ""},
	} {
		c := t.claim(run.ID)
		e.Attempt, e.At = i+1, time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC)
		p := ending(c, dataflow.RunPending)
		p.Error = &e
		want = append(want, e)
		got := t.end(p)
		require.Equal(t, e.Error, got.Error)
		require.Equal(t, want, got.Errors)
		require.Equal(t, e.Error, t.flowByID(f.ID).LastError)
	}
	t.end(ending(t.claim(run.ID), dataflow.RunSuccess))
	require.Equal(t, want, t.run(run.ID).Errors)
}

func endFailures(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	for _, c := range []struct {
		state dataflow.RunState
		want  int
	}{
		{dataflow.RunFailed, 1},
		{dataflow.RunFailed, 2},
		{dataflow.RunCancelled, 2},
		{dataflow.RunPending, 2},
		{dataflow.RunSuccess, 0},
		{dataflow.RunFailed, 1},
	} {
		success := t.flowByID(f.ID).LastSuccessAt
		now := clock.advance(time.Minute)
		if c.state == dataflow.RunSuccess {
			success = &now
		}
		t.end(ending(t.inProgress(f.ID), c.state))
		got := t.flowByID(f.ID)
		require.Equal(t, c.want, got.Failures, "after %s", c.state)
		require.Equal(t, success, got.LastSuccessAt)
		t.requireTime(now, got.LastRunAt)
	}
}

func endErrorGone(t *test) {
	f := t.flow("orders")
	c := t.inProgress(f.ID)
	t.end(failing(c, dataflow.RunPending, "disk full"))
	got := t.end(ending(t.claim(c.Run.ID), dataflow.RunSuccess))
	require.Empty(t, got.Error)
	require.Len(t, got.Errors, 1)
	require.Empty(t, t.flowByID(f.ID).LastError)
}

func endFlowsApart(t *test) {
	f, g := t.flow("orders"), t.flow("other")
	other := t.inProgress(g.ID).Run
	t.end(failing(t.inProgress(f.ID), dataflow.RunFailed, "disk full"))
	require.Equal(t, g, t.flowByID(g.ID))
	require.Equal(t, other, t.run(other.ID))
}
