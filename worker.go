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

// look does what a tick does before runs are worked.
func (c *Client) look(ctx context.Context) (*TickReport, error) {
	r := &TickReport{done: make(chan struct{})}
	var err error
	if r.Rescued, err = c.rescue(ctx); err != nil {
		return nil, err
	}
	one, err := c.fireDue(ctx)
	if err != nil {
		return nil, err
	}
	r.Fired, r.Skipped = one.runs, one.skipped
	if r.Due, err = c.due(ctx, maxPage); err != nil {
		return nil, err
	}
	r.worked = make([]*Run, len(r.Due))
	return r, nil
}

// workAll works the due runs of a tick, a number of them at a time. Those of one lane
// are worked in their order, as many at once as it has places.
func (c *Client) workAll(ctx context.Context, r *TickReport) {
	inLane := make(map[lane][]int)
	atOnce := make(map[lane]int)
	var lanes []lane // in the order of their oldest runs
	for i, run := range r.Due {
		l, most := c.laneOf(run)
		if inLane[l] == nil {
			lanes = append(lanes, l)
		}
		inLane[l], atOnce[l] = append(inLane[l], i), most
	}
	places := make(chan struct{}, c.config.MaxWorkers)
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
					r.worked[i] = c.workDue(ctx, r.Due[i])
				}
			})
		}
	}
	wg.Wait()
}

// poll fires ticks and works due runs until Stop, for a started client. It sleeps
// until the next tick, or for a PollInterval.
func (c *Client) poll(ctx context.Context) {
	lapsed := time.NewTicker(c.config.Lease / 10)
	defer lapsed.Stop()
	alive := time.NewTicker(c.aliveEvery())
	defer alive.Stop()
	next := time.NewTimer(c.config.PollInterval)
	defer next.Stop()
	defer c.sayGone(ctx)
	do := func(what string, do func(ctx context.Context) error) {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "dataflow: "+what+" failed; trying again", slog.String(logError, err.Error()))
		}
	}
	rescue := func(ctx context.Context) error { _, err := c.rescue(ctx); return err }
	failed := 0
	var freed <-chan struct{} // nil: no run waits for a place
	fire := func(ctx context.Context) error {
		one, err := c.fireDue(ctx)
		failed = one.failed
		return err
	}
	takeUp := func(ctx context.Context) error {
		left, err := c.takeUp(ctx)
		if freed = nil; left {
			freed = c.freed
		}
		return err
	}
	again := time.NewTicker(c.config.Lease)
	defer again.Stop()
	do("saying that this process is alive", c.sayAlive)
	do("looking for abandoned runs", rescue)
	for {
		do("looking for due ticks", fire)
		do("looking for due runs", takeUp)
		next.Reset(c.untilNext(ctx, failed > 0))
		select {
		case <-c.stopping:
			return
		case <-ctx.Done():
			return
		case <-lapsed.C:
			do("looking for abandoned runs", rescue)
		case <-alive.C:
			do("saying that this process is alive", c.sayAlive)
		case <-freed:
		case <-c.worked: // another run of that flow may wait
		case <-again.C:
			do("registering flows", c.registerAgain)
			do("looking for migrated flows", c.followMigrations)
		case <-next.C:
		}
	}
}

// tickSoonest is for how long the loop sleeps at least. What is due then is being
// handled by another process.
const tickSoonest = 10 * time.Millisecond

// untilNext is how long the loop may sleep: a PollInterval, unless a tick is due
// before. One that could not be handled does not make it look again at once.
func (c *Client) untilNext(ctx context.Context, failed bool) time.Duration {
	if failed {
		return c.config.PollInterval
	}
	d, ok, err := c.store.FlowNext(ctx, c.registeredFlows())
	if err != nil || !ok {
		return c.config.PollInterval
	}
	return min(max(d, tickSoonest), c.config.PollInterval)
}

// takeUp starts working due runs, as far as there is room, and does not wait
// for them. It reports whether it has left any for lack of room.
func (c *Client) takeUp(ctx context.Context) (left bool, err error) {
	due, err := c.due(ctx, maxPage)
	if err != nil {
		return false, err
	}
	tried := make(map[lane]int)
	for _, run := range due {
		// Those of the lane that are behind it must wait. If all were tried at once,
		// any could be the first.
		l, most := c.laneOf(run)
		if tried[l]++; tried[l] > most {
			continue
		}
		if !c.reserve(run.ID, l.apart) {
			left = true
			continue
		}
		if err := c.enter(); err != nil {
			c.unreserve(run.ID)
			return false, nil //nolint:nilerr // the client is stopping
		}
		go func() {
			defer c.leave()
			worked := c.workDue(ctx, run)
			c.unreserve(run.ID)
			if worked != nil {
				poke(c.worked)
			}
		}()
	}
	return left, nil
}

// reserve takes one of the loop's places for a run, unless it has one already. Backfills
// that are apart leave one free, because without River they keep theirs to their end.
func (c *Client) reserve(id int64, apart bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	places := c.config.MaxWorkers
	if apart && places > 1 {
		places--
	}
	if c.inFlight[id] || len(c.inFlight) >= places {
		return false
	}
	c.inFlight[id] = true
	return true
}

func (c *Client) unreserve(id int64) {
	c.mu.Lock()
	delete(c.inFlight, id)
	c.mu.Unlock()
	poke(c.freed)
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // the loop will look in any case
	}
}

// due lists the due runs of the flows whose code this process has.
func (c *Client) due(ctx context.Context, limit int) ([]*Run, error) {
	flows := c.enabledFlows()
	if len(flows) == 0 {
		return nil, nil
	}
	runs, err := c.store.RunDue(ctx, flows, limit)
	// Of a flow, the first is tried: a backfill lets the flow's own runs go first.
	slices.SortStableFunc(runs, func(a, b *Run) int { return cmp.Compare(min(len(a.Scope), 1), min(len(b.Scope), 1)) })
	return runs, err
}

// workDue works a run that was found due. It returns nil when another process
// was first, or the run must wait.
func (c *Client) workDue(ctx context.Context, run *Run) *Run {
	var worked *Run
	flow, err := c.flowByID(ctx, run.FlowID)
	if err == nil {
		worked, err = NewFlowExecutor(c).executeKnown(ctx, flow, run.ID)
	}
	var re *RunError
	switch {
	case err == nil, errors.As(err, &re), errors.Is(err, ErrFenced), errors.Is(err, ErrStopped):
		return worked // the executor has logged how it ended
	case errors.Is(err, ErrAlreadyRunning), errors.Is(err, ErrRunFinished), errors.Is(err, ErrNotDue), errors.Is(err, ErrDisabled):
		return nil
	default:
		c.log.WarnContext(ctx, "dataflow: working a due run failed; trying again", slog.String(logFlow, run.FlowName), slog.Int64(logRun, run.ID), slog.String(logError, err.Error()))
		return nil
	}
}
