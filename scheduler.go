package dataflow

// The scheduler turns due ticks into runs, or records them as skipped. It knows the flows,
// asking for runs, and internal/schedule, which decides about ticks.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/activedataflow/dataflow/internal/schedule"
)

// fired is the outcome of due ticks.
type fired struct {
	runs    []*Run
	skipped int64
	failed  failures  // flows whose ticks could not be handled
	until   time.Time // the ticks up to this time were looked for
	left    *found    // what was found due, and is for the next call; nil: nothing
}

// failures are flows by the error with which each failed. The same trouble meets many flows at once, such as a full disk.
type failures map[string][]string

// log says each error once.
func (f failures) log(ctx context.Context, log *slog.Logger) {
	for _, err := range slices.Sorted(maps.Keys(f)) {
		log.WarnContext(ctx, "dataflow: could not handle the due ticks of a flow; trying again", slog.String(logFlow, f[err][0]), slog.Int("others", len(f[err])-1), slog.String(logError, err))
	}
}

// found are flows that are due, of which some have been handled.
type found struct {
	ids   []int64
	until time.Time // see fired
	after Due       // where the search goes on
	all   bool      // there are no more
}

const (
	// fireTogether is how many flows are handled in one transaction at most.
	fireTogether = 200
	// fireAtOnce is how many such transactions there are at once. Each waits for the database
	// most of its time.
	fireAtOnce = 4
	// duePage is how many due flows are looked up at once. If all are due at the same moment,
	// each look sorts all that are left.
	duePage = 20_000
)

// scheduler turns ticks into runs, or records them in the ledger.
type scheduler struct {
	base
	flows  *registry
	jobs   *jobs
	follow bool                                                        // a declared flow follows another
	cancel func(ctx context.Context, p *RunCancelParams) (*Run, error) // Client.cancel
}

// fireDue turns the due ticks of the flows whose code this process has into runs, or records
// them in the ledger. It handles many flows in a transaction. Any number of processes may call it
// at once. A flow that cannot be handled is left out until the next call. A call handles up to
// limit flows. left is what the call before left over; nil: look for what is due.
func (s *scheduler) fireDue(ctx context.Context, limit int, left *found) (*fired, error) {
	all := &fired{failed: make(failures)}
	defer func() { all.failed.log(ctx, s.log) }()
	if s.flows.view().flows == 0 {
		return all, nil
	}
	if left == nil {
		left = &found{}
	}
	for {
		for len(left.ids) == 0 && !left.all {
			if err := s.find(ctx, left); err != nil {
				return all, err
			}
		}
		all.until = left.until
		if len(left.ids) == 0 {
			return all, nil
		}
		if limit <= 0 {
			all.left = left
			return all, nil
		}
		n := min(len(left.ids), limit)
		if err := s.fireSets(ctx, left.ids[:n], all); err != nil {
			return all, err
		}
		left.ids, limit = left.ids[n:], limit-n
	}
}

// find looks for the next flows that are due.
func (s *scheduler) find(ctx context.Context, f *found) error {
	page, now, err := s.store.FlowsDue(ctx, &FlowsDueParams{FlowIDs: s.flows.view().ids, After: f.after, Limit: duePage})
	if err != nil {
		return err
	}
	if f.until.IsZero() {
		f.until = now
	}
	seen := make(map[int64]bool, len(page)) // a flow with a tick and a probe comes twice
	for _, due := range page {
		if !seen[due.ID] && s.flows.knownByID(due.ID) != nil {
			f.ids = append(f.ids, due.ID)
		}
		seen[due.ID], f.after = true, due
	}
	f.all = len(page) < duePage
	return nil
}

// fireSets handles due flows, several sets of them at once, and adds the outcome to all.
func (s *scheduler) fireSets(ctx context.Context, ids []int64, all *fired) error {
	sets := make(chan []int64, len(ids)/fireTogether+1)
	for set := range slices.Chunk(ids, fireTogether) {
		sets <- set
	}
	close(sets)
	var mu sync.Mutex // guards all
	errs := make([]error, min(fireAtOnce, len(sets)))
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for set := range sets {
				if errs[i] = s.fireSet(ctx, set, func(add func(all *fired)) { mu.Lock(); defer mu.Unlock(); add(all) }); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// fireSet handles due flows in one transaction, or, if that fails, each in one of its own.
func (s *scheduler) fireSet(ctx context.Context, ids []int64, note func(func(all *fired))) error {
	var set []*dueFlow
	err := guard(func() error { return s.fireOnce(ctx, ids, &set) }) // it calls hooks of the user's, such as River's
	switch {
	case err == nil:
		note(func(all *fired) { s.noteFired(ctx, set, all) })
		return s.cancelFired(ctx, set)
	case ctx.Err() != nil || len(set) == 0: // nothing was found out
		return err
	case len(ids) > 1:
		for _, id := range ids {
			if err := s.fireSet(ctx, []int64{id}, note); err != nil {
				return err
			}
		}
		return nil
	}
	set[0].err = err
	note(func(all *fired) { s.noteFired(ctx, set, all) })
	return nil
}

// dueFlow is a flow whose due ticks are being handled.
type dueFlow struct {
	flow     *Flow
	decision schedule.Decision
	runs     []*Run
	err      error // it cannot be handled, and stays as it is
}

// fireOnce handles those of the flows that are due and that no other process is handling, in one
// transaction. It sets handled to those that it has locked, also if it fails later.
func (s *scheduler) fireOnce(ctx context.Context, ids []int64, handled *[]*dueFlow) error {
	return s.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := s.store.With(tx)
		if err != nil {
			return err
		}
		recs, now, err := q.FlowDue(ctx, ids)
		if err != nil || len(recs) == 0 {
			return err
		}
		locked, set := make([]int64, len(recs)), make([]*dueFlow, len(recs))
		for i, rec := range recs {
			locked[i], set[i] = rec.ID, &dueFlow{flow: s.flows.bind(rec)}
		}
		*handled = set
		loads, err := q.RunActivity(ctx, locked)
		if err != nil {
			return err
		}
		for _, d := range set {
			load := schedule.Load{}
			if a := loads[d.flow.ID]; a != nil {
				load = schedule.Load(*a)
			}
			d.decide(&load, now)
		}
		if err := s.startSet(ctx, tx, q, set); err != nil {
			return err
		}
		return writeSet(ctx, q, set)
	})
}

// decide decides about the due probe and ticks of the flow.
func (d *dueFlow) decide(load *schedule.Load, now time.Time) {
	rec := &d.flow.FlowRecord
	p, err := planOf(rec)
	if err != nil {
		d.err = err
		return
	}
	d.decision = p.Decide(schedule.Facts{Active: rec.IsActive(), TrippedAt: rec.TrippedAt, ProbeAt: rec.ProbeAt, Tick: rec.nextTick()}, load, now)
}

// wanted returns the runs that the decision starts: the probe's, then those of ticks.
func (d *dueFlow) wanted() (requests []*request, at []time.Time) {
	if d.decision.Probe {
		requests, at = append(requests, &request{trigger: TriggerProbe}), append(at, time.Time{})
	}
	for _, tick := range d.decision.Fire {
		requests, at = append(requests, &request{trigger: TriggerSchedule}), append(at, tick)
	}
	return requests, at
}

// startSet starts the runs of due flows. Those on a Runtime of the library are added together.
// One of the user's starts each by itself; if it fails, what it did is undone.
func (s *scheduler) startSet(ctx context.Context, tx Tx, q Queries, set []*dueFlow) error {
	var adds []*addition
	for _, d := range set {
		if d.err != nil {
			continue
		}
		requests, at := d.wanted()
		if len(requests) == 0 {
			continue
		}
		if isBuiltin(d.flow.Runtime) {
			var own []*addition
			if own, d.err = d.additions(ctx, requests, at); d.err == nil {
				adds = append(adds, own...)
			}
			continue
		}
		d.err = s.store.Savepoint(ctx, tx, func() error {
			for i, r := range requests {
				run, err := d.flow.startTx(ctx, tx, r, at[i])
				if err != nil {
					return err
				}
				d.runs = append(d.runs, run)
			}
			return nil
		})
	}
	return s.add(ctx, tx, q, adds)
}

// addition is a run to add, with its River job.
type addition struct {
	of     *dueFlow
	params *RunInsertParams
	job    *river.InsertOpts // nil: it needs none
}

// additions returns the runs that a flow on a Runtime of the library is asked for.
func (d *dueFlow) additions(ctx context.Context, requests []*request, at []time.Time) ([]*addition, error) {
	adds := make([]*addition, len(requests))
	for i, r := range requests {
		adds[i] = &addition{of: d}
		if rt, ok := queuedOf(d.flow.Runtime); ok {
			opts := rt.insertOpts()
			adds[i].job = &opts
		}
		var err error
		if adds[i].params, err = d.flow.asking(r).insertParams(ctx, d.flow.Runtime.Settings(), at[i], adds[i].job); err != nil {
			return nil, err
		}
	}
	return adds, nil
}

// add adds runs and their River jobs.
func (s *scheduler) add(ctx context.Context, tx Tx, q Queries, adds []*addition) error {
	if len(adds) == 0 {
		return nil
	}
	params := make([]*RunInsertParams, len(adds))
	for i, a := range adds {
		params[i] = a.params
	}
	runs, err := q.RunInsertMany(ctx, params)
	if err != nil {
		return err
	}
	var queued []*Run
	var opts []river.InsertOpts
	for i, a := range adds {
		if runs[i] == nil {
			return fmt.Errorf("start run of flow %q: %w", a.of.flow.Name, a.of.flow.whyNoRun(ctx, q, ErrNotFound))
		}
		a.of.runs = append(a.of.runs, runs[i])
		if a.job != nil && !runs[i].Coalesced {
			queued, opts = append(queued, runs[i]), append(opts, jobOpts(a.params, runs[i], a.job))
		}
	}
	if len(queued) == 0 {
		return nil
	}
	return s.jobs.insertMany(ctx, tx, queued, opts)
}

// writeSet stores what becomes of the ticks of due flows.
func writeSet(ctx context.Context, q Queries, set []*dueFlow) error {
	var skips []*TickSkipParams
	var plans []*FlowPlanParams
	for _, d := range set {
		if d.err != nil {
			continue
		}
		for _, span := range d.decision.Skipped {
			skips = append(skips, skippedOf(d.flow.ID, span))
		}
		plan := &FlowPlanParams{ID: d.flow.ID, ProbeAt: d.decision.ProbeAt}
		plan.setNext(d.decision.Next)
		plans = append(plans, plan)
	}
	if len(skips) > 0 {
		if err := q.TickSkip(ctx, skips...); err != nil {
			return err
		}
	}
	if len(plans) == 0 {
		return nil
	}
	return q.FlowPlan(ctx, plans...)
}

// noteFired adds the outcome of a set to all, and logs what succeeded.
func (s *scheduler) noteFired(ctx context.Context, set []*dueFlow, all *fired) {
	for _, d := range set {
		if d.err != nil {
			all.failed[d.err.Error()] = append(all.failed[d.err.Error()], d.flow.Name)
			continue
		}
		for _, run := range d.runs {
			if run.RiverJobID != 0 && !run.Coalesced {
				s.log.DebugContext(ctx, "dataflow: job enqueued", slog.String(logFlow, run.FlowName), slog.Int64(logRun, run.ID), slog.Int64(logJob, run.RiverJobID),
					slog.String("queue", run.Queue), slog.Time("run_after", run.RunAfter))
			}
			if !run.Coalesced || run.Trigger == TriggerProbe { // a process with a fast clock may have handled this tick already
				all.runs = append(all.runs, run)
			}
		}
		for _, span := range d.decision.Skipped {
			all.skipped += span.Count
			s.log.DebugContext(ctx, "dataflow: ticks skipped", slog.String(logFlow, d.flow.Name), slog.String(logReason, span.Reason),
				slog.Time("first", span.First), slog.Time("last", span.Last), slog.Int64("ticks", span.Count))
		}
	}
}

// skipDue returns the due ticks of a locked flow for the ledger, because a change of the flow
// must not start runs. It also returns the next tick. Nil: there are none. Due ticks that would
// start a run without the change get the reason changed. Without one, they stay due.
func skipDue(rec *FlowRecord, now time.Time, changed string) (*schedule.Tick, *TickSkipParams, error) {
	p, err := planOf(rec)
	if err != nil || !p.HasTicks() {
		return nil, nil, err
	}
	if rec.NextRunAt == nil || rec.NextRunAt.After(now) {
		return rec.nextTick(), nil, nil
	}
	reason, idle := p.Idle(rec.IsActive(), rec.TrippedAt)
	if !idle {
		reason = changed
	}
	if reason == "" {
		return rec.nextTick(), nil, nil
	}
	var skip *TickSkipParams
	if s := p.SpanFrom(rec.nextTick(), now, reason); s.Count > 0 {
		skip = skippedOf(rec.ID, s)
	}
	return p.NextTick(now, rec.nextTick()), skip, nil
}
