package dataflow

// Connections: a run begins only when its pools have room for what it holds. This room knows
// the words and the jobs, and internal/pools, which counts for the whole process.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/activedataflow/dataflow/internal/pools"
)

// spareConnections is how many connections of the client's own pool runs leave free: one for
// checkpoints, one for everything else.
const spareConnections = 2

// connections lets runs in that have their connections, and starts the others once there is
// room.
type connections struct {
	base
	runs base // for the transactions of runs
	jobs *jobs
	gate *gate

	mu      sync.Mutex // guards what follows
	queue   []waitingRun
	looping bool           // wakeQueued runs
	callers map[int64]bool // the runs that a caller of Execute waits with
}

// waitingRun is a run with a River job that found no connections.
type waitingRun struct {
	flow *Flow
	run  *Run
}

// poolFullError says that a pool has no room for a run. It is an ErrPoolFull.
type poolFullError struct{ full *pools.Full }

func (e *poolFullError) Error() string {
	n := e.full.Need
	if n.Held == 0 {
		return fmt.Sprintf("%s: other runs hold all %d", ErrPoolFull, n.Size)
	}
	return fmt.Sprintf("%s: of %d, other runs hold %d until their last record, and this one would hold %d and leave too few for checkpoints: it starts when one of them has ended; a larger pool starts it at once",
		ErrPoolFull, n.Size, e.full.Taken, n.Held)
}

func (e *poolFullError) Unwrap() error { return ErrPoolFull }

// needsOf returns what a run of the flow needs, one need for each pool.
func (b base) needsOf(flow *Flow) []pools.Need {
	var needs []pools.Need
	add := func(u PoolUse) {
		i := slices.IndexFunc(needs, func(n pools.Need) bool { return n.Pool == u.Pool })
		if i < 0 {
			i = len(needs)
			needs = append(needs, pools.Need{Pool: u.Pool, Size: u.Size})
		}
		needs[i].Held += u.Held
		needs[i].Spare = max(needs[i].Spare, u.Borrowed)
	}
	for _, u := range usesOf(b.store) {
		add(u)
	}
	if flow.code != nil {
		for _, part := range flow.code.parts() {
			for _, u := range usesOf(part.part) {
				add(u)
			}
		}
	}
	return needs
}

// enter takes the connections that a run of the flow holds. leave must be called when it has
// ended. Without room, the error is an ErrPoolFull.
func (c *connections) enter(flow *Flow) (leave func(), err error) {
	leave, full := pools.Process.Enter(c.needsOf(flow))
	if full != nil {
		return nil, &poolFullError{full}
	}
	return leave, nil
}

// lacks returns an ErrPoolFull if a run of the flow could not enter now.
func (c *connections) lacks(flow *Flow) error {
	if full := pools.Process.Lacks(c.needsOf(flow)); full != nil {
		return &poolFullError{full}
	}
	return nil
}

// freed returns a channel that is closed when a run has left. Ask for it before lacks.
func (c *connections) freed() <-chan struct{} { return pools.Process.Freed() }

// errWaitOver says that a run no longer waits for connections.
var errWaitOver = errors.New("the run no longer waits")

// wait waits until there is room for a run of the flow, and enters. over is asked now and then
// whether the wait has become pointless; the error is errWaitOver then. Nil: it never does.
func (c *connections) wait(ctx context.Context, flow *Flow, over func() bool) (leave func(), err error) {
	look := time.NewTicker(waitInterval)
	defer look.Stop()
	for {
		freed := c.freed()
		leave, err := c.enter(flow)
		if err == nil {
			return leave, nil
		}
		select {
		case <-freed:
		case <-look.C:
			if over != nil && over() {
				return nil, errWaitOver
			}
		case <-c.gate.stopping:
			return nil, fmt.Errorf("%w: %w", ErrStopped, err)
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w: %w", ErrStopped, ctx.Err(), err)
		}
	}
}

// tell stores what a pending run waits for, so that Why can say it in any process.
func (c *connections) tell(ctx context.Context, run *Run, reason error) {
	c.tellText(ctx, run, fmt.Sprintf("on worker %s, %s", c.config.ID, reason))
}

// tellText is tell for any other reason.
func (c *connections) tellText(ctx context.Context, run *Run, text string) {
	if run.State != RunPending {
		return
	}
	err := c.store.RunWaits(ctx, &RunWaitsParams{RunID: run.ID, LeaseNumber: run.LeaseNumber, State: RunPending, For: text})
	if err != nil && ctx.Err() == nil {
		c.log.WarnContext(ctx, "dataflow: could not store what a run waits for", slog.Int64(logRun, run.ID), slog.String(logError, err.Error()))
	}
}

// hold keeps the client's loop from a run, because a caller of Execute waits with it.
func (c *connections) hold(runID int64) (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.callers == nil {
		c.callers = make(map[int64]bool)
	}
	c.callers[runID] = true
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.callers, runID)
	}
}

// held reports whether a caller of Execute waits with a run.
func (c *connections) held(runID int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.callers[runID]
}

// later adds a River job for the run as soon as there is room. The job that found none is
// snoozed, in case this process dies before that.
func (c *connections) later(ctx context.Context, flow *Flow, run *Run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.ContainsFunc(c.queue, func(w waitingRun) bool { return w.run.ID == run.ID }) {
		return
	}
	c.queue = append(c.queue, waitingRun{flow: flow, run: run})
	if c.looping || c.gate.enter() != nil {
		return
	}
	c.looping = true
	go func() {
		defer c.gate.leave()
		c.wakeQueued(context.WithoutCancel(ctx))
	}()
}

// next takes the first waiting run out of the queue for which there is room. more is false
// if nothing waits any more.
func (c *connections) next() (next *waitingRun, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, w := range c.queue {
		if c.lacks(w.flow) == nil {
			c.queue = slices.Delete(c.queue, i, i+1)
			return &w, true
		}
	}
	c.looping = len(c.queue) > 0
	return nil, c.looping
}

// wakeQueued adds River jobs for the waiting runs, one whenever there is room for it, until
// nothing waits. A job that is not needed finds its run taken, and does nothing.
func (c *connections) wakeQueued(ctx context.Context) {
	for {
		freed := c.freed()
		w, more := c.next()
		if !more {
			return
		}
		if w != nil {
			c.addJob(ctx, w)
		}
		pause := time.NewTimer(snoozeBusy)
		select {
		case <-freed:
		case <-pause.C: // the job may have gone to another process
		case <-c.gate.stopping:
			pause.Stop()
			return
		}
		pause.Stop()
	}
}

func (c *connections) addJob(ctx context.Context, w *waitingRun) {
	rt, ok := queuedOf(w.flow.Runtime)
	if !ok {
		return
	}
	err := c.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := c.store.With(tx)
		if err != nil {
			return err
		}
		run, err := q.RunByID(ctx, w.run.ID)
		if err != nil || run.State != RunPending {
			return err
		}
		_, err = c.jobs.add(ctx, tx, run, rt.insertOpts())
		return err
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		c.log.WarnContext(ctx, "dataflow: could not add a job for a run that has its connections now; the job that it has tries again later", slog.String(logFlow, w.flow.Name), slog.Int64(logRun, w.run.ID), slog.String(logError, err.Error()))
	}
}

// checkPools returns an error for each flow whose pool can never have room for it.
func (b base) checkPools(flows []*Flow) error {
	var errs []error
	for _, f := range flows {
		if f == nil || f.code == nil || f.code.validate() != nil {
			continue // reported elsewhere
		}
		for _, n := range b.needsOf(f) {
			if n.Size > 0 && n.Least() > n.Size {
				errs = append(errs, &ConfigError{Field: fmt.Sprintf("Flows[%q]", f.Name), Reason: fmt.Sprintf(
					"its pool has %s, and a run needs %d: it holds %d until its last record, and needs another for its checkpoints meanwhile: make the pool larger (pool_max_conns=%d, or SetMaxOpenConns), or read from another pool",
					plural(n.Size, "connection"), n.Least(), n.Held, n.Least()+1)})
			}
		}
	}
	return errors.Join(errs...)
}

// poolNeeds counts what the flows need, pool by pool.
func (b base) poolNeeds(flows []*Flow) []*PoolNeed {
	var all []*PoolNeed
	var keys []any
	spare := make(map[any]int)
	of := func(key any, size int, user string) *PoolNeed {
		if i := slices.Index(keys, key); i >= 0 {
			return all[i]
		}
		keys, all = append(keys, key), append(all, &PoolNeed{Size: size, UsedBy: user})
		return all[len(all)-1]
	}
	for _, u := range usesOf(b.store) {
		of(u.Pool, u.Size, "")
		spare[u.Pool] = u.Borrowed
	}
	for _, f := range flows {
		for _, part := range f.code.parts() {
			for _, u := range usesOf(part.part) {
				runs := f.slots().Slots + f.slots().Backfills
				if p := of(u.Pool, u.Size, fmt.Sprintf("%s of flow %q", part.name, f.Name)); u.Held > 0 {
					p.AllAtOnce += u.Held * runs
					p.Counted = append(p.Counted, fmt.Sprintf("%d for the %s of flow %q (%s), from the first record to the last", u.Held*runs, part.name, f.Name, describe(part.part).Type))
				}
			}
		}
		for _, n := range b.needsOf(f) {
			p := of(n.Pool, n.Size, fmt.Sprintf("runs of flow %q", f.Name))
			p.Least = max(p.Least, n.Least())
			spare[n.Pool] = max(spare[n.Pool], n.Spare)
		}
	}
	for i, p := range all {
		held := p.AllAtOnce
		p.AllAtOnce = pools.Enough(held, spare[keys[i]])
		switch p.AllAtOnce - held {
		case spareConnections:
			p.Counted = append(p.Counted, "2 that no run holds, one of them for checkpoints")
		case 1:
			p.Counted = append(p.Counted, "1 that no run holds")
		}
		p.Least = max(p.Least, min(1, spare[keys[i]]))
	}
	return all
}

// String says it in a sentence.
func (p *PoolNeed) String() string {
	size := "a pool without a limit"
	if p.Size > 0 {
		size = "a pool of " + plural(p.Size, "connection")
	}
	if p.UsedBy != "" {
		size += ", that of the " + p.UsedBy
	}
	text := fmt.Sprintf("%s: its flows need %d to run one at a time, and %d to run all at once", size, p.Least, p.AllAtOnce)
	if len(p.Counted) > 0 {
		text += " (" + strings.Join(p.Counted, "; ") + ")"
	}
	return text
}

// Short reports whether the pool is too small for all flows at once, so that some wait.
func (p *PoolNeed) Short() bool { return p.Size > 0 && p.Size < p.AllAtOnce }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// PoolNeed says how many connections of a pool the flows of a client need, and how that was
// counted. See [Client.PoolNeeds].
type PoolNeed struct {
	// UsedBy is the first part that uses the pool, such as target of flow "orders". Empty: it is
	// the client's own pool.
	UsedBy string
	// Size is how many connections the pool has at most. 0: no limit.
	Size int
	// Least is how many it must have for each of the flows to run, one at a time.
	Least int
	// AllAtOnce is how many let every flow run at the same time. With fewer, some runs wait
	// as pending until others have ended.
	AllAtOnce int
	// Counted says how AllAtOnce was counted, a sentence for each part.
	Counted []string
}
