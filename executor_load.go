package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/activedataflow/dataflow/internal/stored"
)

// work reads, transforms and writes the records of a run. The first run of a flow with FirstLoad
// waits for its ranges before that. If somebody has set the cursor of the flow, or a deploy has taken FirstLoad
// away, a run waits until no range of a first load is at work: it would write older rows over newer ones.
func (e *FlowExecutor) work(ctx context.Context, flow *Flow, a *attempt) error {
	if flow.opts.MaxBackfills == 0 || a.run.IsBackfill() { // then ranges are not worked beside the run
		return flow.code.run(ctx, a)
	}
	l := &firstLoad{executor: e, client: e.client, a: a}
	switch {
	case a.place.cursor == nil && flow.opts.FirstLoad > 0:
		if err := l.run(ctx); err != nil {
			return err
		}
	case a.place.setSeq > 0:
		if err := l.endOthers(ctx, "somebody has set the flow's cursor"); err != nil {
			return err
		}
	case a.place.cursor == nil && flow.code.resumable():
		if err := l.endOthers(ctx, "the flow has no FirstLoad any more"); err != nil {
			return err
		}
	}
	return flow.code.run(ctx, a)
}

// firstLoad is the first load of a flow, in ranges, as the run sees it that waits for them. What it
// must remember is in the runs of the ranges: any run of the flow can go on with it.
type firstLoad struct {
	executor *FlowExecutor
	client   *Client
	a        *attempt
	now      time.Time // of the last look, by the database's clock, as the times of the runs
	left     int       // looks at which a range waited that nobody works
	rows     int64     // that the ranges have written
}

// waitsForRanges begins WaitsFor of a run that waits for the ranges of a first load.
const waitsForRanges = "its ranges: "

// run returns when all ranges have succeeded, and sets where they have come. It returns at once if
// the source has too few records for ranges.
func (l *firstLoad) run(ctx context.Context) (err error) {
	l.a.connections() // it needs none before it reads
	l.a.connections = func() {}
	defer func() {
		if err == nil {
			l.a.connections, err = l.connect(ctx)
		}
		if err != nil {
			l.a.connections = func() {}
		}
	}()
	for {
		ranges, err := l.find(ctx)
		if err == nil {
			l.now, err = l.a.control.Now(ctx)
		}
		if err != nil {
			return l.a.own(fmt.Errorf("look at the ranges of the first load: %w", err))
		}
		if ranges == nil {
			if begun, err := l.begin(ctx); !begun || err != nil {
				return err
			}
			continue
		}
		over, err := l.look(ctx, ranges)
		if over || err != nil {
			return err
		}
		if l.executor.job == nil && l.workOne(ctx, ranges) {
			continue
		}
		if l.executor.job != nil && (l.a.slice.isOver() || l.left > 1) {
			return l.handOver(ctx)
		}
		if !l.a.pause(ctx, l.client.config.PollInterval) {
			return errors.Join(ErrStopped, context.Cause(ctx))
		}
	}
}

// connect returns when there is room for the run's connections again.
func (l *firstLoad) connect(ctx context.Context) (leave func(), err error) {
	if full := l.client.pools.lacks(l.a.flow); full != nil {
		l.tell(ctx, full.Error())
		defer l.tell(ctx, "")
	}
	return l.client.pools.wait(ctx, l.a.flow, nil)
}

// find returns the newest run of each range, in the order of the ranges, and nil if there is no
// first load, if it was one with other parameters, or if somebody has set the flow's cursor since.
func (l *firstLoad) find(ctx context.Context) ([]*Run, error) {
	store, flow := l.a.control, l.a.flow
	newest, err := store.RunList(ctx, &RunListParams{Flow: flow.Name, Trigger: TriggerFirstLoad, Limit: 1})
	if err != nil || len(newest) == 0 || !stored.Same(newest[0].Params, l.a.run.Params) {
		return nil, err
	}
	scope, _ := newest[0].rangeOf()
	runs, err := store.RunList(ctx, &RunListParams{Flow: flow.Name, Backfill: scope, Limit: maxPage})
	if err != nil || len(runs) == 0 {
		return nil, err
	}
	set, err := store.CursorHistory(ctx, &CursorHistoryParams{FlowID: flow.ID, Limit: 1})
	if err != nil || len(set) > 0 && !set[0].At.Before(runs[len(runs)-1].CreatedAt) {
		return nil, err
	}
	of := make(map[int]*Run)
	l.rows = 0
	for _, run := range runs {
		l.rows += run.Counters.Written
		if _, part := run.rangeOf(); of[part] == nil {
			of[part] = run
		}
	}
	ranges := make([]*Run, 0, len(of))
	for i, part := range slices.Sorted(maps.Keys(of)) {
		if part != i+1 { // one of them was cleaned up
			return nil, nil
		}
		ranges = append(ranges, of[part])
	}
	return ranges, nil
}

// begin makes the ranges, up to where the source ends now. It reports false if there are too few
// records for that.
func (l *firstLoad) begin(ctx context.Context) (bool, error) {
	if err := l.endOthers(ctx, "the first load begins anew"); err != nil {
		return false, err
	}
	flow, params := l.a.flow, l.a.run.Params
	end, err := flow.code.seekEnd(ctx, params)
	if err != nil || end == nil {
		return false, configured(err)
	}
	cuts, err := flow.code.split(ctx, nil, end, params, flow.opts.FirstLoad)
	if err != nil || len(cuts) == 0 {
		return false, configured(err)
	}
	ends := append(cuts, end)
	err = l.holding(ctx, func(ctx context.Context, tx Tx) error {
		scope, from := "", json.RawMessage(nil)
		for i, until := range ends {
			b := &bounds{from: from, until: until, part: i + 1}
			if i > 0 {
				b.scope = rangeScope(scope, i+1)
			}
			run, err := flow.startTx(ctx, tx, &request{trigger: TriggerFirstLoad, reason: fmt.Sprintf("first load by run %d", l.a.run.ID), params: params, backfill: b}, time.Time{})
			if err != nil {
				return err
			}
			if i == 0 {
				scope = run.Scope
			}
			from = until
		}
		return nil
	})
	if err != nil {
		return false, l.a.own(fmt.Errorf("start the ranges of the first load: %w", err))
	}
	l.a.log.InfoContext(ctx, "dataflow: first load begins", slog.Int("ranges", len(ends)), slog.String("until", stored.PlaceText(end)))
	l.client.hasStarted(ctx, flow)
	return true, nil
}

// configured marks an error about the source's powers, which does not pass.
func configured(err error) error {
	if errors.As(err, new(*ConfigError)) {
		return Permanent(err)
	}
	return err
}

// holding calls fn in a transaction in which the run is still ours.
func (l *firstLoad) holding(ctx context.Context, fn func(ctx context.Context, tx Tx) error) error {
	return l.a.control.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := l.a.control.With(tx)
		if err != nil {
			return err
		}
		claim, err := q.RunHeld(ctx, l.a.claimed, l.client.config.Lease)
		switch {
		case err != nil:
			return err
		case claim == nil:
			return ErrFenced
		case claim.Run.CancelRequestedAt != nil:
			return errCancelled
		default:
			return fn(ctx, tx)
		}
	})
}

// look reports whether all ranges have succeeded. It starts those again that have failed before
// this run began. If one has failed since, that is the error.
func (l *firstLoad) look(ctx context.Context, ranges []*Run) (over bool, err error) {
	done, waiting, working := 0, 0, 0
	var failed []*Run
	for _, run := range ranges {
		switch run.State {
		case RunSuccess:
			done++
		case RunPending:
			if !run.RunAfter.After(l.now) {
				waiting++
			}
		case RunInProgress:
			working++
		case RunFailed, RunCancelled:
			failed = append(failed, run)
		}
	}
	if done == len(ranges) {
		l.a.loaded, l.a.loadedRows = ranges[done-1].UntilCursor, l.rows
		l.tell(ctx, "")
		return true, nil
	}
	for _, run := range failed {
		if !givenUpAt(run).Before(*l.a.run.StartedAt) {
			_, part := run.rangeOf()
			return false, Permanent(fmt.Errorf("range %d of %d of the first load, %s, is %s, as run %d%s: the cursor stays at the beginning, and the flow's next run goes on with the ranges that are missing",
				part, len(ranges), betweenText(fromOf(run), run.UntilCursor), run.State, run.ID, whyEnded(run)))
		}
	}
	if len(failed) > 0 {
		return false, l.again(ctx, failed)
	}
	if l.left++; waiting == 0 || working >= l.a.flow.opts.MaxBackfills {
		l.left = 0
	}
	l.tell(ctx, fmt.Sprintf("%s%d of %d are done, %d are in progress", waitsForRanges, done, len(ranges), working))
	return false, nil
}

// givenUpAt returns when it was decided that a range does not go on. One that is cancelled at work ends some time
// after that: a run that began meanwhile goes on with it.
func givenUpAt(run *Run) time.Time {
	if run.State == RunCancelled && run.CancelRequestedAt != nil {
		return *run.CancelRequestedAt
	}
	return *run.EndedAt
}

// whyEnded says why a range has failed or was cancelled.
func whyEnded(run *Run) string {
	if run.State == RunCancelled {
		return byWhom(run.CancelledBy, run.CancelReason)
	}
	return ": " + stored.Clip(run.Error)
}

// fromOf returns where a range begins, nil for the beginning.
func fromOf(run *Run) json.RawMessage {
	if stored.Same(run.FromCursor, json.RawMessage("null")) {
		return nil
	}
	return run.FromCursor
}

// again starts ranges again, which go on at their checkpoints.
func (l *firstLoad) again(ctx context.Context, failed []*Run) error {
	err := l.holding(ctx, func(ctx context.Context, tx Tx) error {
		for _, old := range failed {
			r := retryOf(old, "")
			r.trigger = TriggerFirstLoad
			r.reason = fmt.Sprintf("run %d goes on with the first load, and with run %d", l.a.run.ID, old.ID)
			if _, err := l.a.flow.startTx(ctx, tx, r, time.Time{}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return l.a.own(fmt.Errorf("start ranges of the first load again: %w", err))
	}
	l.client.hasStarted(ctx, l.a.flow)
	return nil
}

// tell stores what the run waits for. It is not to blame for the end of earlier workers: the ranges are counted
// by themselves.
func (l *firstLoad) tell(ctx context.Context, text string) {
	p := l.a.waits(text, 0)
	p.Advanced = true
	l.client.leases.Release(p.RunID) // so that a range may be isolated
	if err := l.a.control.RunWaits(ctx, p); err != nil && ctx.Err() == nil {
		l.a.log.DebugContext(ctx, "dataflow: could not store what the run waits for; trying again", slog.String(logError, err.Error()))
	}
}

// workOne works a range that waits, if there is room for it. So the load goes on also where
// nobody else works the flow's runs.
func (l *firstLoad) workOne(ctx context.Context, ranges []*Run) bool {
	if l.left == 0 {
		return false
	}
	// If somebody cancels the run that waits, the range is handed back first.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	due := slices.DeleteFunc(slices.Clone(ranges), func(run *Run) bool { return !run.IsDue(l.now) })
	for _, run := range due[:min(len(due), triedAtOnce)] {
		_, err := (&FlowExecutor{client: l.client}).executeKnown(own, l.a.flow, run.ID)
		if err == nil || errors.As(err, new(*RunError)) {
			return true
		}
		if own.Err() != nil || l.a.stopping() {
			return false
		}
		if !errors.Is(err, ErrAlreadyRunning) && !errors.Is(err, ErrRunFinished) && !errors.Is(err, ErrNotDue) {
			level := slog.LevelWarn
			if errors.Is(err, ErrDisabled) { // it waits until somebody resumes the flow, as Why says
				level = slog.LevelDebug
			}
			l.a.log.Log(ctx, level, "dataflow: could not work a range of the first load; trying again", slog.Int64("range", run.ID), slog.String(logError, err.Error()))
		}
	}
	return false
}

// triedAtOnce is how many ranges are tried at a look: another worker may just have begun with one.
const triedAtOnce = 5

// handOver ends the slice: the run waits for another River job, so that the jobs of the ranges
// find workers.
func (l *firstLoad) handOver(ctx context.Context) error {
	var next *Run
	err := l.holding(ctx, func(ctx context.Context, tx Tx) error {
		q, err := l.a.control.With(tx)
		if err == nil {
			next, err = l.a.handOver(ctx, tx, q)
		}
		return err
	})
	if err != nil {
		l.a.leaving.Store(false)
		return l.a.own(err)
	}
	l.a.run = next
	return errSliceOver
}

// endOthers cancels the ranges of earlier first loads, and waits for their end: they would write
// older rows over newer ones.
func (l *firstLoad) endOthers(ctx context.Context, reason string) error {
	for told := false; ; told = true {
		live, err := l.a.control.RunLive(ctx, l.a.flow.ID)
		var ranges []*Run
		if err == nil {
			ranges, err = cancelRanges(ctx, l.a.control, live, reason)
		}
		if err != nil {
			return l.a.own(fmt.Errorf("cancel the ranges of an earlier first load: %w", err))
		}
		l.client.tellCancelled(ctx, ranges)
		switch {
		case len(ranges) > 0:
			l.tell(ctx, fmt.Sprintf("%s%d of an earlier first load are to end, because %s", waitsForRanges, len(ranges), reason))
		case told:
			l.tell(ctx, "")
			return nil
		default:
			return nil
		}
		if !l.a.pause(ctx, l.client.config.PollInterval) {
			return errors.Join(ErrStopped, context.Cause(ctx))
		}
	}
}
