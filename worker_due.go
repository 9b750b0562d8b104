package dataflow

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
)

// full returns an ErrPoolFull if there is no room for the connections of a run now.
func (w *worker) full(run *Run) error {
	flow := w.flows.knownByID(run.FlowID)
	if flow == nil {
		return nil
	}
	return w.pools.lacks(flow)
}

// takeUp starts to work due runs while there is room, and does not wait for them. It reports
// whether it left any for lack of a place, or because a pool was full. looking limits the look
// for them, and ctx their work.
func (w *worker) takeUp(ctx, looking context.Context) (left, full bool, err error) {
	drain(w.freed) // what they tell, the following sees
	drain(w.ended)
	drain(w.woken)
	w.takeAdded(ctx)
	after, places := Due{}, w.room()
	for places > 0 {
		limit := min(maxPage, max(100, 4*places))
		due, last, err := w.due(looking, after, limit)
		if err != nil {
			return false, false, err
		}
		started := 0
		tried := make(map[lane]int)
		ofGroup := make(map[groupLane]int)
		for _, run := range due {
			// The later runs of the lane must wait. If all were tried at once, any of them
			// could be the first.
			l, most := w.flows.laneOf(run)
			if tried[l]++; tried[l] > most {
				continue
			}
			group, mostOfGroup := w.flows.groupOf(run)
			g := groupLane{name: group, ownSlots: l.ownSlots}
			if group != "" && ofGroup[g] >= mostOfGroup {
				continue
			}
			if reason := w.full(run); reason != nil {
				w.pools.tell(looking, run, reason)
				full = true
				continue
			}
			ofGroup[g]++
			begun, stopping := w.begin(ctx, run, l)
			switch {
			case stopping:
				return false, false, nil
			case begun:
				started++
			default:
				left = true
			}
		}
		if last == nil {
			return left, full, nil
		}
		after, places = *last, places-started
	}
	return true, full, nil
}

// takeAdded begins a run that this process has just added, before the loop has looked which others are due.
// If another run of its flow goes first, the claim refuses this one.
func (w *worker) takeAdded(ctx context.Context) {
	select {
	case run := <-w.added:
		if w.full(run) == nil {
			l, _ := w.flows.laneOf(run)
			w.begin(ctx, run, l)
		}
	default:
	}
}

// begin starts to work a run, if there is a place for it.
func (w *worker) begin(ctx context.Context, run *Run, l lane) (begun, stopping bool) {
	if !w.reserve(run.ID, l.ownSlots) {
		return false, false
	}
	if err := w.gate.enter(); err != nil {
		w.unreserve(run.ID)
		return false, true
	}
	go w.workTaken(ctx, run)
	return true, false
}

// groupLane is a line of the runs of a group, like a lane of a flow.
type groupLane struct {
	name     string
	ownSlots bool
}

// workTaken works a run that has a place of the loop, and gives the place back.
func (w *worker) workTaken(ctx context.Context, run *Run) {
	defer w.gate.leave()
	worked, _ := w.workDue(ctx, run)
	w.unreserve(run.ID)
	if worked != nil {
		poke(w.ended)
	}
}

// room returns how many places of the loop are free.
func (w *worker) room() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.config.MaxWorkers - len(w.inFlight)
}

// reserve takes a place of the loop for a run, unless the run has one. Backfills with slots of
// their own leave one place free, because a run without a River job keeps its place to its
// end.
func (w *worker) reserve(id int64, ownSlots bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	places := w.config.MaxWorkers
	if ownSlots && places > 1 {
		places--
	}
	if w.inFlight[id] || len(w.inFlight) >= places {
		return false
	}
	w.inFlight[id] = true
	return true
}

func (w *worker) unreserve(id int64) {
	w.mu.Lock()
	delete(w.inFlight, id)
	w.mu.Unlock()
	poke(w.freed)
}

// allDue lists the due runs of the flows whose code this process has, at most limit.
func (w *worker) allDue(ctx context.Context, limit int) ([]*Run, error) {
	var all []*Run
	after := Due{}
	for {
		due, last, err := w.due(ctx, after, limit)
		all = append(all, due...)
		if err != nil || last == nil || len(all) >= limit {
			return all[:min(len(all), limit)], err
		}
		after = *last
	}
}

// due lists the due runs after a place of the flows whose code this process has. It reads at most
// limit runs, of which some may be of other flows. It returns the place of the last, nil if there
// are no more.
func (w *worker) due(ctx context.Context, after Due, limit int) ([]*Run, *Due, error) {
	view := w.flows.view()
	if view.flows == 0 {
		return nil, nil, nil
	}
	runs, err := w.store.RunDue(ctx, &RunDueParams{FlowIDs: view.enabled, Slots: view.slots, After: after, Limit: limit})
	var last *Due
	if len(runs) == limit {
		last = &Due{At: runs[limit-1].RunAfter, ID: runs[limit-1].ID}
	}
	runs = slices.DeleteFunc(runs, func(r *Run) bool { return !w.flows.works(r.FlowID) || w.pools.held(r.ID) })
	// The first of a flow is tried, so it must be one that RunClaim lets go first.
	slices.SortStableFunc(runs, func(a, b *Run) int { return cmp.Compare(a.turn(), b.turn()) })
	return runs, last, err
}

// turn is lower for a run that goes before others of its flow: one that lost its worker goes
// before the ticks, and a backfill comes last.
func (r *Run) turn() int {
	switch {
	case r.IsBackfill():
		return 2
	case r.Rescues > 0:
		return 0
	default:
		return 1
	}
}

// workDue works a due run. It returns nil if another process was first, or if the run must
// wait; full says that it waits for connections.
func (w *worker) workDue(ctx context.Context, run *Run) (worked *Run, full bool) {
	flow, err := w.flows.get(ctx, run.FlowID)
	if err == nil {
		worked, err = w.execute(ctx, flow, run.ID)
	}
	var re *RunError
	switch {
	case err == nil, errors.As(err, &re), errors.Is(err, ErrFenced), errors.Is(err, ErrStopped):
		return worked, false // the executor logged the outcome
	case errors.Is(err, ErrAlreadyRunning), errors.Is(err, ErrRunFinished), errors.Is(err, ErrNotDue), errors.Is(err, ErrDisabled), errors.Is(err, ErrPoolFull):
		return nil, errors.Is(err, ErrPoolFull)
	default:
		w.log.WarnContext(ctx, "dataflow: working a due run failed; trying again", slog.String(logFlow, run.FlowName), slog.Int64(logRun, run.ID), slog.String(logError, err.Error()))
		return nil, false
	}
}
