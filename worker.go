package dataflow

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// worker works the runs that are due and need no River job: for a started client in a
// loop, and for [Client.Tick] once. The loop also does what has to be done now and then.
type worker struct {
	base
	flows     *registry
	gate      *gate
	schedule  *scheduler
	rescuer   *rescuer
	registrar *registrar
	presence  *presence
	execute   func(ctx context.Context, flow *Flow, runID int64) (*Run, error) // the executor's

	freed chan struct{} // holds a signal when the loop has a place again
	ended chan struct{} // holds a signal when a run that the loop has worked has ended

	mu       sync.Mutex // guards inFlight
	inFlight map[int64]bool
}

// look does what a tick does before runs are worked.
func (w *worker) look(ctx context.Context) (*TickReport, error) {
	r := &TickReport{done: make(chan struct{})}
	var err error
	if r.Rescued, err = w.rescuer.rescue(ctx); err != nil {
		return nil, err
	}
	one, err := w.schedule.fireDue(ctx)
	if err != nil {
		return nil, err
	}
	r.Fired, r.Skipped = one.runs, one.skipped
	if r.Due, err = w.due(ctx, maxPage); err != nil {
		return nil, err
	}
	r.worked = make([]*Run, len(r.Due))
	return r, nil
}

// workAll works the due runs of a tick, a number of them at a time. Those of one lane
// are worked in their order, as many at once as it has places.
func (w *worker) workAll(ctx context.Context, r *TickReport) {
	inLane := make(map[lane][]int)
	atOnce := make(map[lane]int)
	var lanes []lane // in the order of their oldest runs
	for i, run := range r.Due {
		l, most := w.flows.laneOf(run)
		if inLane[l] == nil {
			lanes = append(lanes, l)
		}
		inLane[l], atOnce[l] = append(inLane[l], i), most
	}
	places := make(chan struct{}, w.config.MaxWorkers)
	var wg sync.WaitGroup
	for _, l := range lanes {
		queue := make(chan int, len(inLane[l]))
		for _, i := range inLane[l] {
			queue <- i
		}
		close(queue)
		for range min(atOnce[l], len(queue)) {
			places <- struct{}{}
			wg.Go(func() {
				defer func() { <-places }()
				for i := range queue {
					r.worked[i] = w.workDue(ctx, r.Due[i])
				}
			})
		}
	}
	wg.Wait()
}

// poll fires ticks and works due runs until Stop, for a started client. It sleeps
// until the next tick, or for a PollInterval.
func (w *worker) poll(ctx context.Context) {
	lapsed := time.NewTicker(w.config.Lease / 10)
	defer lapsed.Stop()
	alive := time.NewTicker(w.presence.every())
	defer alive.Stop()
	next := time.NewTimer(w.config.PollInterval)
	defer next.Stop()
	defer w.presence.sayGone(ctx)
	do := func(what string, do func(ctx context.Context) error) {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "dataflow: "+what+" failed; trying again", slog.String(logError, err.Error()))
		}
	}
	rescue := func(ctx context.Context) error { _, err := w.rescuer.rescue(ctx); return err }
	failed := 0
	var freed <-chan struct{} // nil: no run waits for a place
	fire := func(ctx context.Context) error {
		one, err := w.schedule.fireDue(ctx)
		failed = one.failed
		return err
	}
	takeUp := func(ctx context.Context) error {
		left, err := w.takeUp(ctx)
		if freed = nil; left {
			freed = w.freed
		}
		return err
	}
	again := time.NewTicker(w.config.Lease)
	defer again.Stop()
	do("saying that this process is alive", w.presence.sayAlive)
	do("looking for abandoned runs", rescue)
	for {
		do("looking for due ticks", fire)
		do("looking for due runs", takeUp)
		next.Reset(w.untilNext(ctx, failed > 0))
		select {
		case <-w.gate.stopping:
			return
		case <-ctx.Done():
			return
		case <-lapsed.C:
			do("looking for abandoned runs", rescue)
		case <-alive.C:
			do("saying that this process is alive", w.presence.sayAlive)
		case <-freed:
		case <-w.ended: // another run of that flow may wait
		case <-again.C:
			do("registering flows", w.registrar.registerAgain)
			do("looking for migrated flows", w.registrar.followMigrations)
		case <-next.C:
		}
	}
}

// tickSoonest is for how long the loop sleeps at least. What is due then is being
// handled by another process.
const tickSoonest = 10 * time.Millisecond

// untilNext is how long the loop may sleep: a PollInterval, unless a tick is due
// before. One that could not be handled does not make it look again at once.
func (w *worker) untilNext(ctx context.Context, failed bool) time.Duration {
	if failed {
		return w.config.PollInterval
	}
	d, ok, err := w.store.FlowNext(ctx, w.flows.ids())
	if err != nil || !ok {
		return w.config.PollInterval
	}
	return min(max(d, tickSoonest), w.config.PollInterval)
}

// takeUp starts working due runs, as far as there is room, and does not wait
// for them. It reports whether it has left any for lack of room.
func (w *worker) takeUp(ctx context.Context) (left bool, err error) {
	due, err := w.due(ctx, maxPage)
	if err != nil {
		return false, err
	}
	tried := make(map[lane]int)
	for _, run := range due {
		// Those of the lane that are behind it must wait. If all were tried at once,
		// any could be the first.
		l, most := w.flows.laneOf(run)
		if tried[l]++; tried[l] > most {
			continue
		}
		if !w.reserve(run.ID, l.ownSlots) {
			left = true
			continue
		}
		if err := w.gate.enter(); err != nil {
			w.unreserve(run.ID)
			return false, nil //nolint:nilerr // the client is stopping
		}
		go func() {
			defer w.gate.leave()
			worked := w.workDue(ctx, run)
			w.unreserve(run.ID)
			if worked != nil {
				poke(w.ended)
			}
		}()
	}
	return left, nil
}

// reserve takes one of the loop's places for a run, unless it has one already. Backfills
// with slots of their own leave one free, because without River they keep theirs to their end.
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

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // the loop will look in any case
	}
}

// due lists the due runs of the flows whose code this process has.
func (w *worker) due(ctx context.Context, limit int) ([]*Run, error) {
	flows := w.flows.enabled()
	if len(flows) == 0 {
		return nil, nil
	}
	runs, err := w.store.RunDue(ctx, flows, limit)
	// Of a flow, the first is tried: a backfill lets the flow's own runs go first.
	slices.SortStableFunc(runs, func(a, b *Run) int { return cmp.Compare(min(len(a.Scope), 1), min(len(b.Scope), 1)) })
	return runs, err
}

// workDue works a run that was found due. It returns nil when another process
// was first, or the run must wait.
func (w *worker) workDue(ctx context.Context, run *Run) *Run {
	var worked *Run
	flow, err := w.flows.get(ctx, run.FlowID)
	if err == nil {
		worked, err = w.execute(ctx, flow, run.ID)
	}
	var re *RunError
	switch {
	case err == nil, errors.As(err, &re), errors.Is(err, ErrFenced), errors.Is(err, ErrStopped):
		return worked // the executor has logged how it ended
	case errors.Is(err, ErrAlreadyRunning), errors.Is(err, ErrRunFinished), errors.Is(err, ErrNotDue), errors.Is(err, ErrDisabled):
		return nil
	default:
		w.log.WarnContext(ctx, "dataflow: working a due run failed; trying again", slog.String(logFlow, run.FlowName), slog.Int64(logRun, run.ID), slog.String(logError, err.Error()))
		return nil
	}
}
