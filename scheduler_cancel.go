package dataflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
)

// cancelOthers cancels the runs that are older than the newest, of each flow with
// [OverlapCancelOther]. It does so after the newest run is committed, so that it holds no lock
// on a flow while it waits for a lock on a run. It is repeated, because the process that should
// have done it may have died, and because a run for later may have become the newest.
func (s *scheduler) cancelOthers(ctx context.Context) error {
	if !s.flows.view().cancels {
		return nil
	}
	ids, err := s.store.FlowsCrowded(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if s.flows.knownByID(id) == nil {
			continue
		}
		if err := s.cancelOlder(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// cancelFired is cancelOthers for flows whose ticks have started runs.
func (s *scheduler) cancelFired(ctx context.Context, set []*dueFlow) error {
	for _, d := range set {
		if len(d.runs) == 0 {
			continue
		}
		if err := s.cancelFor(ctx, d.flow); err != nil {
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

// cancelReplaced is cancelFor for a run that somebody was given: it is there, whether or not the others can be cancelled.
func (s *scheduler) cancelReplaced(ctx context.Context, f *Flow) {
	if err := s.cancelFor(ctx, f); err != nil {
		s.log.WarnContext(ctx, "dataflow: could not cancel the runs that a new one replaces; a started client tries again", slog.String(logFlow, f.Name), slog.String(logError, err.Error()))
	}
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
