package dataflow

// The scheduler turns due ticks into runs, or records them as skipped. It knows the flows,
// asking for runs, and internal/schedule, which decides about ticks.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/activedataflow/dataflow/internal/schedule"
)

// fired is the outcome of due ticks.
type fired struct {
	runs    []*Run
	skipped int64
	failed  int // flows whose ticks could not be handled
}

// fireAtOnce is how many flows are handled at the same time. Each waits for the database most
// of its time.
const fireAtOnce = 4

// duePage is how many due flows are looked up at once.
const duePage = 1000

// scheduler turns ticks into runs, or records them in the ledger.
type scheduler struct {
	base
	flows  *registry
	cancel func(ctx context.Context, p *RunCancelParams) (*Run, error) // Client.cancel
}

// firing is one search for due ticks.
type firing struct {
	schedule *scheduler
	known    map[int64]bool // the flows whose code this process has

	mu    sync.Mutex // guards what follows
	due   []int64    // flows to handle
	after DueFlow    // where the search goes on
	last  bool       // it has come to its end
	all   fired
}

// fireDue turns the due ticks of the flows whose code this process has into runs, or records
// them in the ledger. Each flow is handled in a transaction of its own. Any number of
// processes may call it at once. A flow that cannot be handled is left out until the next
// call.
func (s *scheduler) fireDue(ctx context.Context) (*fired, error) {
	f := &firing{schedule: s, known: make(map[int64]bool)}
	for _, id := range s.flows.ids() {
		f.known[id] = true
	}
	more, err := f.nextFlow(ctx)
	errs := make([]error, fireAtOnce+1)
	errs[fireAtOnce] = err
	if more {
		var wg sync.WaitGroup
		for i := range fireAtOnce {
			wg.Go(func() {
				for more := true; more; {
					more, errs[i] = f.nextFlow(ctx)
				}
			})
		}
		wg.Wait()
	}
	return &f.all, errors.Join(errors.Join(errs...), s.cancelOthers(ctx))
}

// take returns the next flow to handle, or false if there is none.
func (f *firing) take(ctx context.Context) (int64, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.due) == 0 {
		if f.last || len(f.known) == 0 {
			return 0, false, nil
		}
		page, err := f.schedule.store.FlowsDue(ctx, f.after, duePage)
		if err != nil {
			return 0, false, err
		}
		for _, due := range page {
			f.after = due
			if f.known[due.ID] {
				f.due = append(f.due, due.ID)
			}
		}
		f.last = len(page) < duePage
	}
	id := f.due[0]
	f.due = f.due[1:]
	return id, true, nil
}

// nextFlow handles one of the flows, and reports whether there may be more.
func (f *firing) nextFlow(ctx context.Context) (bool, error) {
	id, ok, err := f.take(ctx)
	if err != nil || !ok {
		return false, err
	}
	rec, one, err := f.schedule.fireOne(ctx, []int64{id})
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil && (rec == nil || ctx.Err() != nil):
		return false, err
	case err != nil:
		f.schedule.log.WarnContext(ctx, "dataflow: could not handle the due ticks of a flow; trying again", slog.String(logFlow, rec.Name), slog.String(logError, err.Error()))
		f.all.failed++
		return true, nil
	case rec == nil: // another process has it
		return true, nil
	}
	f.all.runs = append(f.all.runs, one.runs...)
	f.all.skipped += one.skipped
	return true, nil
}

// fireOne handles and returns one of the flows that have a due tick or probe, or returns nil
// if there is none.
func (s *scheduler) fireOne(ctx context.Context, ids []int64) (*FlowRecord, *fired, error) {
	var rec *FlowRecord
	var one *fired
	err := s.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := s.store.With(tx)
		if err != nil {
			return err
		}
		var now time.Time
		if rec, now, err = q.FlowDue(ctx, ids); err != nil || rec == nil {
			return err
		}
		one, err = s.fire(ctx, tx, q, rec, now)
		return err
	})
	return rec, one, err
}

// fire handles the due probe and ticks of a locked flow.
func (s *scheduler) fire(ctx context.Context, tx Tx, q Queries, rec *FlowRecord, now time.Time) (*fired, error) {
	p, err := planOf(rec)
	if err != nil {
		return nil, err
	}
	activity, err := q.RunActivity(ctx, rec.ID)
	if err != nil {
		return nil, err
	}
	load := (*schedule.Load)(activity)
	next := &FlowPlanParams{ID: rec.ID, NextRunAt: rec.NextRunAt, NextRunLocal: rec.NextRunLocal, ProbeAt: rec.ProbeAt}
	one := &fired{}
	f := s.flows.bind(rec)
	if rec.ProbeAt != nil && !rec.ProbeAt.After(now) {
		probe, err := s.probe(ctx, tx, f, p, load)
		if err != nil {
			return nil, err
		}
		if probe != nil {
			one.runs = append(one.runs, probe)
		}
		next.ProbeAt = p.ProbeAt(now)
	}
	if rec.NextRunAt != nil && !rec.NextRunAt.After(now) {
		next.setNext(p.NextTick(now, rec.nextTick()))
		if err := s.fireTicks(ctx, tx, q, f, p, load, now, one); err != nil {
			return nil, err
		}
	}
	return one, q.FlowPlan(ctx, next)
}

// fireTicks handles the due ticks of a flow.
func (s *scheduler) fireTicks(ctx context.Context, tx Tx, q Queries, f *Flow, p *schedule.Plan, load *schedule.Load, now time.Time, one *fired) error {
	skip := func(span schedule.Span) error {
		one.skipped += span.Count
		s.log.DebugContext(ctx, "dataflow: ticks skipped", slog.String(logFlow, f.Name), slog.String(logReason, span.Reason),
			slog.Time("first", span.First), slog.Time("last", span.Last), slog.Int64("ticks", span.Count))
		return q.TickSkip(ctx, skippedOf(f.ID, span))
	}
	due := f.nextTick()
	if reason, ok := p.Idle(f.IsActive(), f.TrippedAt); ok {
		if s := p.SpanFrom(due, now, reason); s.Count > 0 {
			return skip(s)
		}
		return nil
	}
	fire, late := p.DueFrom(due, now)
	for _, s := range late {
		if err := skip(s); err != nil {
			return err
		}
	}
	for _, at := range fire {
		if !p.Admits(load) {
			if err := skip(schedule.Span{First: at, Last: at, Count: 1, Reason: schedule.SkippedOverlap}); err != nil {
				return err
			}
			continue
		}
		run, err := f.startTx(ctx, tx, &request{trigger: TriggerSchedule}, at)
		if err != nil {
			return fmt.Errorf("tick %s: %w", at.Format(time.RFC3339), err)
		}
		if !run.Coalesced { // a process with a fast clock may have handled this tick already
			one.runs = append(one.runs, run)
		}
	}
	return nil
}

// probe starts a run to see whether a flow that failed repeatedly works again. It returns nil
// if a probe is under way already.
func (s *scheduler) probe(ctx context.Context, tx Tx, f *Flow, p *schedule.Plan, load *schedule.Load) (*Run, error) {
	if !p.Probes(f.IsActive(), f.TrippedAt, load) {
		return nil, nil //nolint:nilnil // there is nothing to probe
	}
	run, err := f.startTx(ctx, tx, &request{trigger: TriggerProbe}, time.Time{})
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	return run, nil
}

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
