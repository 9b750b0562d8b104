package enginetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
)

// evenOnly refuses odd numbers.
func evenOnly() dataflow.Transform[int, int] {
	return dataflow.Map(func(_ context.Context, n int) (int, error) {
		if n%2 == 1 {
			return 0, errors.New("odd")
		}
		return n, nil
	})
}

// Each action is in the audit log, with who, why, what it was before and after.
func TestAudit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(dataflow.NewFlow("f", flawed(6), evenOnly(), memory.NewSink[int]().Target(), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(10)}))
		ctx := t.Context()
		must := func(_ any, err error) {
			t.Helper()
			require.NoError(t, err)
		}
		_, err := client.Trigger(ctx, "f", nil)
		require.NoError(t, err)
		letters, err := client.DeadLetters(ctx, nil)
		require.NoError(t, err)
		require.Len(t, letters, 3)
		entries, err := client.Audit(ctx, nil)
		require.NoError(t, err)
		require.Empty(t, entries, "a program's plain call is no action of somebody")

		must(client.Pause(ctx, "f", "ann", "why"))
		must(client.Resume(ctx, "f", "ann", "why"))
		run, err := client.Enqueue(ctx, "f", &dataflow.TriggerOptions{Actor: "ann", Reason: "why"})
		require.NoError(t, err)
		must(client.Enqueue(ctx, "f", &dataflow.TriggerOptions{Actor: "bob"}))
		must(client.Cancel(ctx, run.ID, "ann", "why"))
		must(client.Cancel(ctx, run.ID, "bob", "too late")) // it is cancelled already
		retried, err := client.Retry(ctx, run.ID, "ann")
		require.NoError(t, err)
		must(client.Cancel(ctx, retried.ID, "ann", "why"))
		many, err := client.TriggerMany(ctx, []dataflow.TriggerManyParams{{Flow: "f", Options: &dataflow.TriggerOptions{Actor: "ann"}}, {Flow: "f"}})
		require.NoError(t, err)
		must(client.Cancel(ctx, many[0].Run.ID, "ann", "why"))
		cur, err := client.Cursor(ctx, "f")
		require.NoError(t, err)
		must(client.SetCursor(ctx, "f", &dataflow.SetCursorParams{Cursor: json.RawMessage("4"), IfSeq: &cur.Seq, Actor: "ann", Reason: "why"}))
		must(client.EditDeadLetter(ctx, letters[0].ID, json.RawMessage("8"), "ann"))
		must(client.Replay(ctx, "f", &dataflow.ReplayParams{IDs: []int64{letters[0].ID}, Actor: "ann", Reason: "why"}))
		must(client.CloseDeadLetters(ctx, "f", &dataflow.CloseDeadLettersParams{All: true, State: dataflow.DeadLetterDiscarded, Actor: "ann", Reason: "why"}))
		must(client.CloseDeadLetters(ctx, "f", &dataflow.CloseDeadLettersParams{All: true, State: dataflow.DeadLetterDiscarded, Actor: "ann", Reason: "why"})) // none is open
		backfill, err := client.Backfill(ctx, "f", &dataflow.BackfillParams{From: json.RawMessage("2"), Actor: "ann", Reason: "why"})
		require.NoError(t, err)

		text := func(n int64) string { return strconv.FormatInt(n, 10) }
		type entry struct {
			action        dataflow.AuditAction
			actor, reason string
			run           int64
			before, after string
		}
		entries, err = client.Audit(ctx, &dataflow.AuditListParams{Flow: "f"})
		require.NoError(t, err)
		want := []entry{
			{action: dataflow.AuditPause, reason: "why", before: `{"state":"active"}`, after: `{"state":"inactive"}`},
			{action: dataflow.AuditResume, reason: "why", before: `{"state":"inactive"}`, after: `{"state":"active"}`},
			{action: dataflow.AuditTrigger, reason: "why", run: run.ID, after: `{}`},
			{action: dataflow.AuditTrigger, actor: "bob", run: run.ID, after: `{"coalesced":true}`},
			{action: dataflow.AuditCancel, reason: "why", run: run.ID, before: `{"state":"pending"}`, after: `{"state":"cancelled"}`},
			{action: dataflow.AuditRetry, reason: retried.Reason, run: retried.ID, after: `{}`},
			{action: dataflow.AuditCancel, reason: "why", run: retried.ID, before: `{"state":"pending"}`, after: `{"state":"cancelled"}`},
			{action: dataflow.AuditTrigger, run: many[0].Run.ID, after: `{}`},
			{action: dataflow.AuditCancel, reason: "why", run: many[0].Run.ID, before: `{"state":"pending"}`, after: `{"state":"cancelled"}`},
			{action: dataflow.AuditSetCursor, reason: "why", before: `{"cursor":` + string(cur.Cursor) + `,"seq":` + text(cur.Seq) + `}`, after: `{"cursor":4,"seq":` + text(cur.Seq+1) + `}`},
			{action: dataflow.AuditEditDeadLetter, run: letters[0].RunID, after: `{"dead_letter":` + text(letters[0].ID) + `}`},
			{action: dataflow.AuditReplay, reason: "why", after: `{"dead_letters":[` + text(letters[0].ID) + `]}`},
			{action: dataflow.AuditCloseDeadLetters, reason: "why", before: `{"state":"open"}`, after: `{"state":"discarded","closed":2,"all_open":true}`},
			{action: dataflow.AuditBackfill, reason: "why", run: backfill.ID, after: `{"from":2,"until":null}`},
		}
		require.Len(t, entries, len(want))
		for i, w := range want {
			got := entries[len(entries)-1-i]
			if w.actor == "" {
				w.actor = "ann"
			}
			require.Equal(t, []any{w.action, w.actor, w.reason, w.run, "f"}, []any{got.Action, got.Actor, got.Reason, got.RunID, got.FlowName}, "entry %d", i)
			if w.before == "" {
				require.Nil(t, got.Before, "entry %d", i)
			} else {
				require.JSONEq(t, w.before, string(got.Before), "entry %d", i)
			}
			require.JSONEq(t, w.after, string(got.After), "entry %d", i)
		}
		l, err := client.DeadLetter(ctx, letters[0].ID)
		require.NoError(t, err)
		require.Equal(t, []any{dataflow.DeadLetterReplayed, "ann", "why"}, []any{l.State, l.ClosedBy, l.Reason})
	})
}

// Without its entry in the audit log, no action is done.
func TestAudit_OneTransaction(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(dataflow.NewFlow("f", flawed(3), evenOnly(), memory.NewSink[int]().Target(), &dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(10)}))
		ctx := t.Context()
		run, err := client.Trigger(ctx, "f", nil)
		require.NoError(t, err)
		waiting, err := client.Enqueue(ctx, "f", nil)
		require.NoError(t, err)
		cur, err := client.Cursor(ctx, "f")
		require.NoError(t, err)
		letters, err := client.DeadLetters(ctx, nil)
		require.NoError(t, err)
		tables := []string{"dataflow_flow", "dataflow_run", "dataflow_checkpoint", "dataflow_dead_letter", "dataflow_cursor_change"}
		count := func() (all []int64) {
			for _, sql := range tables {
				all = append(all, t.number("select count(*) from "+sql))
			}
			return append(all, t.number("select count(*) from dataflow_flow where state = 'active'"), t.number("select count(*) from dataflow_run where state = 'pending'"),
				t.number("select sum(seq) from dataflow_checkpoint"), t.number("select count(*) from dataflow_dead_letter where closed_at is null and edited_at is null"))
		}
		before := count()
		require.NoError(t, t.exec("drop table dataflow_audit"))
		for name, act := range map[string]func() error{
			"pause": func() error { _, err := client.Pause(ctx, "f", "ann", "why"); return err },
			"trigger": func() error {
				_, err := client.Enqueue(ctx, "f", &dataflow.TriggerOptions{Actor: "ann", At: run.CreatedAt.AddDate(1, 0, 0)})
				return err
			},
			"many":   func() error { _, err := client.EnqueueAll(ctx, "ann", "why"); return err },
			"cancel": func() error { _, err := client.Cancel(ctx, waiting.ID, "ann", "why"); return err },
			"cursor": func() error {
				_, err := client.SetCursor(ctx, "f", &dataflow.SetCursorParams{IfSeq: &cur.Seq})
				return err
			},
			"backfill": func() error { _, err := client.Backfill(ctx, "f", nil); return err },
			"edit": func() error {
				_, err := client.EditDeadLetter(ctx, letters[0].ID, json.RawMessage("8"), "ann")
				return err
			},
			"replay": func() error { _, err := client.Replay(ctx, "f", nil); return err },
			"close": func() error {
				_, err := client.CloseDeadLetters(ctx, "f", &dataflow.CloseDeadLettersParams{All: true, State: dataflow.DeadLetterResolved})
				return err
			},
		} {
			require.ErrorContains(t, act(), "dataflow_audit", name)
			require.Equal(t, before, count(), name)
		}
	})
}

// The audit log is kept for a year, and removed by what cleans up.
func TestAudit_Kept(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		client := t.onClock(c, named("orders", nil))
		for _, pause := range []func(context.Context, string, string, string) (*dataflow.Flow, error){client.Pause, client.Resume} {
			_, err := pause(t.Context(), "orders", "ann", "why")
			require.NoError(t, err)
		}
		c.advance(dataflow.DefaultAuditRetention - time.Hour)
		report, err := client.Cleanup(t.Context(), nil)
		require.NoError(t, err)
		require.Zero(t, report.Audit)
		c.advance(2 * time.Hour)
		report, err = client.Cleanup(t.Context(), &dataflow.RetentionOptions{Audit: -1})
		require.NoError(t, err)
		require.Zero(t, report.Audit)
		report, err = client.Cleanup(t.Context(), nil)
		require.NoError(t, err)
		require.EqualValues(t, 2, report.Audit)
		require.EqualValues(t, 2, report.Total())
	})
}
