package drivertest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func strandedRules() []rule {
	return []rule{
		{name: "Job", run: strandedJob},
		{name: "Queue", run: strandedQueue},
		{name: "Run", run: strandedRun},
		{name: "OldestFirst", run: strandedOldest},
		{name: "IsLockedOnce", run: strandedOnce, needs: concurrentWriters},
	}
}

// strandedIdle is how long runs of these tests may be due without being stranded.
const strandedIdle = time.Minute

// stranded returns a stranded run of the flows that no other transaction has locked, nil if there
// is none. Runtimes of the types "heartbeat" and "sundial" have no queue.
func (t *test) stranded(ctx context.Context, flowIDs ...int64) *dataflow.Run {
	t.Helper()
	p := &dataflow.RunStrandedParams{Idle: strandedIdle, Queueless: []string{"heartbeat", "sundial"}, Limit: 100}
	var run *dataflow.Run
	require.NoError(t, inTx(ctx, t.store, func(ctx context.Context, q dataflow.Queries) error {
		all, err := q.RunsStranded(ctx, p)
		require.NoError(t, err)
		for _, one := range all {
			if !slices.Contains(flowIDs, one.FlowID) {
				continue
			}
			if run, err = q.RunStranded(ctx, one.ID, p); run != nil || err != nil {
				return err
			}
		}
		return nil
	}))
	return run
}

// queuedFlow registers a flow with a stored Runtime.
func (t *test) queuedFlow(name, runtime string) *dataflow.FlowRecord {
	t.Helper()
	d := definition(name)
	d.Runtime = raw("%s", runtime)
	return t.upsert(d)
}

// waiting adds a run that is due since an hour ago, with a River job in the queue "etl".
func (t *test) waiting(flowID int64) *dataflow.Run {
	t.Helper()
	run := t.insert(dataflow.RunInsertParams{FlowID: flowID, At: time.Now().Add(-time.Hour)})
	rc := t.river()
	require.NoError(t, t.store.InTx(t.Context(), func(ctx context.Context, tx dataflow.Tx) error {
		q, err := t.store.With(tx)
		require.NoError(t, err)
		id, err := rc.InsertTx(ctx, tx, dataflow.DataFlowArgs{RunID: run.ID}, &river.InsertOpts{Queue: "etl"})
		require.NoError(t, err)
		return q.RunSetJob(ctx, run.ID, id, "etl")
	}))
	return t.run(run.ID)
}

// A run whose job will not work it is stranded. River's rows have the real clock.
func strandedJob(t *test) {
	f := t.queuedFlow("orders", `{"type":"job_queue","queue":"etl"}`)
	run := t.waiting(f.ID)
	text := func(after time.Duration) string { return time.Now().Add(after).UTC().Format(time.DateTime) }
	long, now, later := text(-time.Hour), text(0), text(time.Hour)
	for _, c := range []struct {
		job  string
		want bool
	}{
		{"state = 'available'", false},
		{"state = 'running', attempt = 1, attempted_at = '" + now + "'", false},
		{"state = 'running', attempt = 1, attempted_at = '" + long + "'", true},
		{"state = 'available', scheduled_at = '" + long + "'", false},
		{"state = 'available', scheduled_at = '" + later + "'", true},
		{"state = 'retryable', scheduled_at = '" + now + "'", false},
		{"state = 'retryable', scheduled_at = '" + long + "'", true},
		{"state = 'retryable', scheduled_at = '" + later + "'", true},
		{"state = 'scheduled', scheduled_at = '" + now + "'", false},
		{"state = 'scheduled', scheduled_at = '" + long + "'", true},
		{"state = 'scheduled', scheduled_at = '" + later + "'", true},
		{"state = 'scheduled', scheduled_at = '" + later + "', attempted_at = '" + now + "'", false},
		{"state = 'scheduled', scheduled_at = '" + later + "', attempted_at = '" + long + "'", true},
		{"state = 'completed', finalized_at = '" + long + "'", true},
		{"state = 'discarded', finalized_at = '" + long + "'", true},
		{"state = 'cancelled', finalized_at = '" + long + "'", true},
	} {
		t.exec("update river_job set finalized_at = null, attempted_at = null, attempt = 0, state = 'available'")
		t.exec("update river_job set " + c.job)
		got := t.stranded(t.Context(), f.ID)
		require.Equal(t, c.want, got != nil, c.job)
		if c.want {
			require.Equal(t, run, got)
		}
	}
	t.exec("delete from river_job")
	require.Equal(t, run, t.stranded(t.Context(), f.ID), "its job is gone")
}

// A run in a queue that is no longer the flow's is stranded: the flow's Runtime has another queue,
// or none. Of a Runtime that does not say, any queue may be the flow's.
func strandedQueue(t *test) {
	for i, c := range []struct {
		runtime string
		want    bool
	}{
		{`{"type":"job_queue","queue":"etl"}`, false},
		{`{"type":"job_queue","queue":"other"}`, true},
		{`{"type":"job_queue","queue":null}`, false},
		{`{"type":"job_queue"}`, false},
		{`{"class_name":"ActiveDataFlow::Runtime::ActiveJob","queue":"etl"}`, false},
		{`{"type":"heartbeat"}`, true},
		{`{"type":"sundial","interval":60}`, true},
		{`{"type":"of the user's"}`, false},
		{`{"type":"of the user's","queue":"other"}`, true},
	} {
		f := t.queuedFlow(fmt.Sprintf("flow-%d", i), c.runtime)
		run := t.waiting(f.ID)
		got := t.stranded(t.Context(), f.ID)
		require.Equal(t, c.want, got != nil, c.runtime)
		if c.want {
			require.Equal(t, run, got)
		}
	}
}

// Other runs are not stranded, though their jobs are gone.
func strandedRun(t *test) {
	f := t.queuedFlow("orders", `{"type":"job_queue","queue":"etl"}`)
	run := t.waiting(f.ID)
	t.exec("delete from river_job")
	require.Equal(t, run, t.stranded(t.Context(), f.ID))
	require.Nil(t, t.stranded(t.Context()), "of no flow")
	require.Nil(t, t.stranded(t.Context(), t.flow("invoices").ID), "of another flow")

	t.setState(f.ID, dataflow.FlowInactive)
	require.Nil(t, t.stranded(t.Context(), f.ID), "its flow is paused")
	t.setState(f.ID, dataflow.FlowActive)

	claim := t.claim(run.ID)
	require.Nil(t, t.stranded(t.Context(), f.ID), "it is in progress")
	_, err := t.store.RunEnd(t.Context(), &dataflow.RunEndParams{RunID: run.ID, FlowID: f.ID, LeaseNumber: claim.Run.LeaseNumber, State: dataflow.RunSuccess})
	require.NoError(t, err)

	recent := t.insert(dataflow.RunInsertParams{FlowID: f.ID, At: time.Now().Add(-strandedIdle / 2)})
	require.NoError(t, t.store.RunSetJob(t.Context(), recent.ID, 7, "etl"))
	require.Nil(t, t.stranded(t.Context(), f.ID), "it has just become due")
	t.insert(dataflow.RunInsertParams{FlowID: f.ID, At: time.Now().Add(-2 * time.Hour)})
	require.Nil(t, t.stranded(t.Context(), f.ID), "it needs no job")
}

func strandedOldest(t *test) {
	one, two := t.queuedFlow("one", `{"type":"job_queue","queue":"etl"}`), t.queuedFlow("two", `{"type":"job_queue","queue":"etl"}`)
	for i, f := range []*dataflow.FlowRecord{one, two} {
		run := t.insert(dataflow.RunInsertParams{FlowID: f.ID, At: time.Now().Add(-time.Duration(i+1) * time.Hour)})
		require.NoError(t, t.store.RunSetJob(t.Context(), run.ID, 7, "etl"))
	}
	require.Equal(t, two.ID, t.stranded(t.Context(), one.ID, two.ID).FlowID)
	p := &dataflow.RunStrandedParams{Idle: strandedIdle, Limit: 1}
	var flows []int64
	for range 3 {
		page, err := t.store.RunsStranded(t.Context(), p)
		require.NoError(t, err)
		for _, run := range page {
			require.Equal(t, t.run(run.ID).RunAfter, run.At)
			flows, p.After = append(flows, run.FlowID), run.Due
		}
	}
	require.Equal(t, []int64{two.ID, one.ID}, flows, "page by page")
	require.NoError(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		other, err := q.RunStranded(ctx, 1<<40, p)
		require.Nil(t, other)
		return err
	}))
}

// Another process does not wait for a stranded run that is being handled.
func strandedOnce(t *test) {
	f := t.queuedFlow("orders", `{"type":"job_queue","queue":"etl"}`)
	run := t.waiting(f.ID)
	t.exec("delete from river_job")
	require.NoError(t, inTx(t.Context(), t.store, func(ctx context.Context, q dataflow.Queries) error {
		locked, err := q.RunStranded(ctx, run.ID, &dataflow.RunStrandedParams{Idle: strandedIdle})
		require.Equal(t, run, locked)
		require.Nil(t, t.stranded(ctx, f.ID), "it is locked")
		return err
	}))
	require.Equal(t, run, t.stranded(t.Context(), f.ID))
}
