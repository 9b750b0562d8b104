package drivertest

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func processRules() []rule {
	return []rule{
		{name: "Seen", run: processSeen},
		{name: "AliveUntil", run: processUntil},
		{name: "SeenAgain", run: processAgain},
		{name: "NoQueues", run: processNoQueues},
		{name: "StillAlive", run: processStillAlive},
		{name: "ZoneData", run: processZoneData},
		{name: "Gone", run: processGone},
		{name: "Swept", run: processSwept},
		{name: "Revived", run: processRevived},
		{name: "DoesNotWait", run: processDoesNotWait, needs: concurrentWriters},
	}
}

func (t *test) seen(p dataflow.Process, ttl time.Duration) {
	t.Helper()
	require.NoError(t, t.store.ProcessSeen(t.Context(), &p, ttl))
}

func (t *test) processes() []*dataflow.Process {
	t.Helper()
	all, err := t.store.ProcessList(t.Context())
	require.NoError(t, err)
	return all
}

// requireAlive requires the ids of the live processes.
func (t *test) requireAlive(want ...string) {
	t.Helper()
	got := []string{}
	for _, p := range t.processes() {
		got = append(got, p.ID)
	}
	require.Equal(t, append([]string{}, want...), got)
}

// ProcessAlive changes only until when the process counts as alive.
func processStillAlive(t *test) {
	clock := t.clocked()
	alive := func(id string) bool {
		is, err := t.store.ProcessAlive(t.Context(), id, time.Minute)
		require.NoError(t, err)
		return is
	}
	require.False(t, alive("a"))
	t.requireAlive()
	t.seen(dataflow.Process{ID: "a", CodeVersion: "v1", Flows: []string{"f"}, Queues: []string{"q"}}, time.Minute)
	t.seen(dataflow.Process{ID: "b"}, time.Minute)
	want := *t.processes()[0]
	want.SeenAt = clock.advance(50 * time.Second)
	want.Until = want.SeenAt.Add(time.Minute)
	require.True(t, alive("a"))
	require.Equal(t, &want, t.processes()[0])
	clock.advance(50 * time.Second)
	t.requireAlive("a")
	require.True(t, alive("b"), "it comes back")
	t.requireAlive("a", "b")
}

func processSeen(t *test) {
	now := t.clocked().Now()
	require.Empty(t, t.processes())
	want := dataflow.Process{ID: "it's é", CodeVersion: "v1", Flows: []string{`"a"`, "b, {c}", "日本", ""}, Queues: []string{"default", "etl"}}
	t.seen(dataflow.Process{ID: "z", Flows: []string{"a"}, Queues: []string{"q"}}, time.Minute)
	t.seen(want, 1500*time.Millisecond)
	all := t.processes()
	require.Len(t, all, 2, "in the order of their ids")
	want.StartedAt, want.SeenAt, want.Until = now, now, now.Add(1500*time.Millisecond)
	require.Equal(t, &want, all[0])
	require.Equal(t, "z", all[1].ID)
}

// A process's zone data are stored as they are, and replaced with the rest.
func processZoneData(t *test) {
	t.clocked()
	want := &dataflow.ZoneData{Version: "2026f", Source: "it's \"here\"", Offsets: map[string][]dataflow.ZoneOffset{
		"America/Vancouver": {{From: 1_780_272_000, Seconds: -25200}, {From: 1_780_293_600, Seconds: -28800}},
		"Europe/Berlin":     {{From: 1_780_272_000, Seconds: 7200}},
	}}
	t.seen(dataflow.Process{ID: "a", ZoneData: want}, time.Minute)
	t.seen(dataflow.Process{ID: "b"}, time.Minute)
	all := t.processes()
	require.Equal(t, want, all[0].ZoneData)
	require.Nil(t, all[1].ZoneData)
	t.seen(dataflow.Process{ID: "a", ZoneData: &dataflow.ZoneData{Source: "there"}}, time.Minute)
	require.Equal(t, &dataflow.ZoneData{Source: "there"}, t.processes()[0].ZoneData)
}

func processUntil(t *test) {
	clock := t.clocked()
	t.seen(dataflow.Process{ID: "a"}, time.Minute)
	t.seen(dataflow.Process{ID: "b"}, time.Hour)
	clock.advance(time.Minute)
	t.requireAlive("a", "b")
	clock.advance(time.Millisecond)
	t.requireAlive("b")
	t.seen(dataflow.Process{ID: "a"}, time.Minute)
	t.requireAlive("a", "b")
}

// ProcessSeen replaces what is stored of a process, except for the time of its start.
func processAgain(t *test) {
	clock := t.clocked()
	started := clock.Now()
	t.seen(dataflow.Process{ID: "a", CodeVersion: "v1", Flows: []string{"a"}, Queues: []string{"q"}}, time.Minute)
	t.seen(dataflow.Process{ID: "b", Flows: []string{"b"}, Queues: []string{"q"}}, time.Hour)
	now := clock.advance(10 * time.Second)
	want := dataflow.Process{ID: "a", CodeVersion: "v2", Flows: []string{"a", "c"}, Queues: []string{"p", "q"}}
	t.seen(want, time.Minute)
	want.StartedAt, want.SeenAt, want.Until = started, now, now.Add(time.Minute)
	require.Equal(t, &want, t.processes()[0])
	require.Equal(t, []string{"b"}, t.processes()[1].Flows)
	t.requireTime(started, &t.processes()[1].SeenAt)
}

// An empty list of queues differs from nil, which means that they are unknown.
func processNoQueues(t *test) {
	for _, p := range []dataflow.Process{{ID: "a", Queues: []string{"q"}}, {ID: "a"}, {ID: "a", Queues: []string{}}} {
		t.seen(p, time.Hour)
		got := t.processes()[0]
		require.Equal(t, p.Queues, got.Queues)
		require.Equal(t, []string{}, got.Flows, "none")
	}
}

func processGone(t *test) {
	t.seen(dataflow.Process{ID: "a"}, time.Hour)
	t.seen(dataflow.Process{ID: "b"}, time.Hour)
	require.NoError(t, t.store.ProcessGone(t.Context(), "a"))
	t.requireAlive("b")
	require.NoError(t, t.store.ProcessGone(t.Context(), "a"), "it was removed before")
	require.EqualValues(t, 1, t.number("select count(*) from dataflow_process"))
}

// Processes that have been dead for a day are removed when another one is seen.
func processSwept(t *test) {
	clock := t.clocked()
	t.seen(dataflow.Process{ID: "a"}, time.Minute)
	clock.advance(24*time.Hour + time.Minute)
	t.seen(dataflow.Process{ID: "b"}, time.Hour)
	require.EqualValues(t, 2, t.number("select count(*) from dataflow_process"))
	clock.advance(time.Millisecond)
	t.seen(dataflow.Process{ID: "b"}, time.Hour)
	require.EqualValues(t, 1, t.number("select count(*) from dataflow_process"))
	t.requireAlive("b")
}

// A process that was silent for long, because its machine slept, keeps its start time.
func processRevived(t *test) {
	clock := t.clocked()
	started := clock.Now()
	t.seen(dataflow.Process{ID: "a"}, time.Minute)
	now := clock.advance(30 * 24 * time.Hour)
	t.seen(dataflow.Process{ID: "a"}, time.Minute)
	t.requireAlive("a")
	t.requireTime(started, &t.processes()[0].StartedAt)
	t.requireTime(now, &t.processes()[0].SeenAt)
}

// Processes that wake up at once and find each other dead do not wait for each other.
func processDoesNotWait(t *test) {
	clock := t.clocked()
	one, two := &dataflow.Process{ID: "a"}, &dataflow.Process{ID: "b"}
	t.seen(*one, time.Minute)
	t.seen(*two, time.Minute)
	clock.advance(48 * time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	outside := func() error { return t.store.ProcessSeen(ctx, two, time.Hour) }
	require.NoError(t, t.store.InTx(ctx, func(ctx context.Context, _ dataflow.Tx) error {
		_, err := t.db.ExecTx(ctx, "update dataflow_process set code_version = 'v2' where id = 'a'")
		require.NoError(t, err)
		require.NoError(t, outside(), "it waits for the other")
		return nil
	}))
	t.requireAlive("b")
}
