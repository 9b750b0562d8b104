package drivertest

import (
	"context"
	"encoding/json"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func closedRules() []rule {
	return []rule{
		{name: "Queries", run: closedQueries},
		{name: "InTx", run: closedInTx},
		{name: "WithinTx", run: closedWithinTx},
		{name: "Migrations", run: closedMigrations},
	}
}

// callAll calls every query, and returns the errors by the queries' names.
func callAll(ctx context.Context, q dataflow.Queries) map[string]error {
	errs := make(map[string]error)
	note := func(name string, err error) { errs[name] = err }
	_, err := q.FlowUpsert(ctx, definition("orders"))
	note("FlowUpsert", err)
	_, err = q.FlowByID(ctx, 1)
	note("FlowByID", err)
	_, err = q.FlowByName(ctx, "orders")
	note("FlowByName", err)
	_, err = q.FlowList(ctx, &dataflow.FlowListParams{Limit: 1})
	note("FlowList", err)
	_, err = q.FlowSetState(ctx, &dataflow.FlowStateParams{ID: 1, State: dataflow.FlowActive})
	note("FlowSetState", err)
	_, err = q.RunInsert(ctx, &dataflow.RunInsertParams{FlowID: 1, UniqueKey: "now", MaxAttempts: 1})
	note("RunInsert", err)
	note("RunSetJob", q.RunSetJob(ctx, 1, 1, "etl"))
	_, err = q.RunByID(ctx, 1)
	note("RunByID", err)
	_, err = q.RunByJob(ctx, 1)
	note("RunByJob", err)
	_, err = q.RunList(ctx, &dataflow.RunListParams{Limit: 1})
	note("RunList", err)
	_, err = q.RunLive(ctx, 1)
	note("RunLive", err)
	_, err = q.RunDue(ctx, &dataflow.RunDueParams{Limit: 1})
	note("RunDue", err)
	_, err = q.RunClaim(ctx, claimParams(1))
	note("RunClaim", err)
	status, err := q.RunCheckpoint(ctx, &dataflow.RunCheckpointParams{RunID: 1, FlowID: 1, Cursor: json.RawMessage("1")})
	note("RunCheckpoint", err)
	if status.Held {
		note("RunCheckpoint", nil)
	}
	_, err = q.RunEnd(ctx, &dataflow.RunEndParams{RunID: 1, FlowID: 1, State: dataflow.RunSuccess})
	note("RunEnd", err)
	_, err = q.RunHeld(ctx, dataflow.LeaseRef{RunID: 1, LeaseNumber: 1}, lease)
	note("RunHeld", err)
	_, err = q.RunRenew(ctx, []dataflow.LeaseRef{{RunID: 1, LeaseNumber: 1}}, lease)
	note("RunRenew", err)
	_, err = q.RunLapsed(ctx)
	note("RunLapsed", err)
	_, err = q.RunStranded(ctx, 1, &dataflow.RunStrandedParams{Idle: lease})
	note("RunStranded", err)
	_, err = q.RunsStranded(ctx, &dataflow.RunStrandedParams{Idle: lease, Limit: 1})
	note("RunsStranded", err)
	_, err = q.RunCancel(ctx, &dataflow.RunCancelParams{RunID: 1})
	note("RunCancel", err)
	callSchedule(ctx, q, note)
	return errs
}

// callSchedule calls the queries of schedules.
func callSchedule(ctx context.Context, q dataflow.Queries, note func(name string, err error)) {
	_, err := q.Now(ctx)
	note("Now", err)
	_, _, err = q.FlowLock(ctx, 1)
	note("FlowLock", err)
	_, _, err = q.FlowDue(ctx, []int64{1})
	note("FlowDue", err)
	_, _, err = q.FlowsDue(ctx, &dataflow.FlowsDueParams{Limit: 1})
	note("FlowsDue", err)
	_, _, err = q.FlowsLock(ctx, []int64{1})
	note("FlowsLock", err)
	_, _, err = q.FlowsChanged(ctx, 1)
	note("FlowsChanged", err)
	_, err = q.FlowsCrowded(ctx)
	note("FlowsCrowded", err)
	_, err = q.ProcessAlive(ctx, "p", lease)
	note("ProcessAlive", err)
	_, _, err = q.FlowNext(ctx, []int64{1}, time.Time{})
	note("FlowNext", err)
	note("FlowPlan", q.FlowPlan(ctx, &dataflow.FlowPlanParams{ID: 1}))
	note("TickSkip", q.TickSkip(ctx, &dataflow.TickSkipParams{FlowID: 1, First: tickAt(0), Last: tickAt(0), Count: 1, Reason: dataflow.SkipPaused}))
	_, err = q.TickList(ctx, &dataflow.TickListParams{Limit: 1})
	note("TickList", err)
	note("ProcessSeen", q.ProcessSeen(ctx, &dataflow.Process{ID: "a"}, lease))
	note("ProcessGone", q.ProcessGone(ctx, "a"))
	_, err = q.ProcessList(ctx)
	note("ProcessList", err)
	_, err = q.RunActivity(ctx, []int64{1})
	note("RunActivity", err)
	_, err = q.FlowStats(ctx, []int64{1})
	note("FlowStats", err)
	_, err = q.RunInsert(ctx, tickParams(1, tickAt(0)))
	note("RunInsert of a tick", err)
}

// requireRefused requires errors of the connection, not of a missing row.
func (t *test) requireRefused(errs map[string]error) {
	t.Helper()
	require.NotEmpty(t, errs)
	for name, err := range errs {
		require.Error(t, err, name)
		require.NotErrorIs(t, err, dataflow.ErrNotFound, name)
		require.NotErrorIs(t, err, dataflow.ErrFenced, name)
	}
}

func closedQueries(t *test) {
	t.db.Close()
	t.requireRefused(callAll(t.Context(), t.store))
}

func closedInTx(t *test) {
	t.db.Close()
	err := t.store.InTx(t.Context(), func(context.Context, dataflow.Tx) error {
		require.Fail(t, "called without a transaction")
		return nil
	})
	require.ErrorContains(t, err, "begin transaction")
}

// A transaction that has ended accepts no more queries.
func closedWithinTx(t *test) {
	tx, end, err := t.db.Begin(t.Context())
	require.NoError(t, err)
	q, err := t.store.With(tx)
	require.NoError(t, err)
	require.NoError(t, end(false))
	t.requireRefused(callAll(t.Context(), q))
}

func closedMigrations(t *test) {
	t.db.Close()
	t.requireRefused(map[string]error{
		"Migrate":     t.store.Migrate(t.Context()),
		"MigrateDown": t.store.MigrateDown(t.Context(), 0),
		"CheckSchema": t.store.CheckSchema(t.Context()),
	})
}
