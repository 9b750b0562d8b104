package dataflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/activedataflow/dataflow/internal/schedule"
)

// skipDue records the due ticks of a locked flow in the ledger, because a change of the flow
// must not start runs. It returns the next tick.
func (s *scheduler) skipDue(ctx context.Context, q Queries, rec *FlowRecord, now time.Time) (*schedule.Tick, error) {
	p, err := planOf(rec)
	if err != nil || !p.HasTicks() {
		return nil, err
	}
	if rec.NextRunAt == nil || rec.NextRunAt.After(now) {
		return rec.nextTick(), nil
	}
	reason, idle := p.Idle(rec.IsActive(), rec.TrippedAt)
	if !idle {
		reason = schedule.SkippedMissed
	}
	if s := p.SpanFrom(rec.nextTick(), now, reason); s.Count > 0 {
		err = q.TickSkip(ctx, skippedOf(rec.ID, s))
	}
	return p.NextTick(now, rec.nextTick()), err
}

// cancelOthers cancels the runs that are older than the newest, of each flow with
// [OverlapCancelOther]. It does so after the newest run is committed, so that it holds no lock
// on a flow while it waits for a lock on a run. It repeats this at each search for ticks,
// because the process that should have done it may have died.
func (s *scheduler) cancelOthers(ctx context.Context) error {
	ids := s.flows.idsOf(func(f *Flow) bool { return f.Runtime.Settings().Schedule.Overlap == OverlapCancelOther })
	for _, id := range ids {
		if err := s.cancelOlder(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// cancelFor is cancelOthers for one flow, after a run of it was started.
func (s *scheduler) cancelFor(ctx context.Context, f *Flow) error {
	if !f.Runtime.Settings().Schedule.Overlap.policy().Cancels {
		return nil
	}
	return s.cancelOlder(ctx, f.ID)
}

// cancelOlder cancels the runs of a flow that are older than its newest.
func (s *scheduler) cancelOlder(ctx context.Context, flowID int64) error {
	runs, err := s.store.RunLive(ctx, flowID)
	if err != nil || len(runs) < 2 {
		return err
	}
	rec, err := s.store.FlowByID(ctx, flowID)
	if err != nil {
		return err
	}
	if p, err := planOf(rec); err != nil || !p.Cancels() {
		return err // another version of the code was registered since
	}
	now, err := s.store.Now(ctx)
	if err != nil {
		return err
	}
	runs = slices.DeleteFunc(runs, func(run *Run) bool { // backfills, and runs that are for later
		return run.IsBackfill() || run.State == RunPending && run.LeaseNumber == 0 && run.RunAfter.After(now)
	})
	if len(runs) == 0 {
		return nil
	}
	newest := slices.MaxFunc(runs, func(a, b *Run) int {
		return cmp.Or(a.wantedAt().Compare(b.wantedAt()), cmp.Compare(a.ID, b.ID))
	})
	for _, run := range runs {
		if run == newest || run.CancelRequestedAt != nil {
			continue
		}
		reason := fmt.Sprintf("run %d takes its place", newest.ID)
		_, err := s.cancel(ctx, &RunCancelParams{RunID: run.ID, Actor: "schedule", Reason: reason})
		if err != nil && !errors.Is(err, ErrRunFinished) {
			return fmt.Errorf("cancel run %d: %w", run.ID, err)
		}
	}
	return nil
}
