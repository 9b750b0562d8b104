package dataflow

// Callbacks: the calls of Config.OnRunEnded. The database says which ends of runs are still to be
// told. This room knows the flows and the gate.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/activedataflow/dataflow/internal/stored"
)

const (
	callbackPlaces  = 10                 // calls at once
	callbackTimeout = time.Minute        // of a call
	callbackGrace   = time.Second        // for a call whose context has ended
	callbackLease   = 2 * time.Minute    // of a try, which another process then takes over
	callbackTries   = 20                 // about six days
	callbackKept    = 7 * 24 * time.Hour // after the last process that asked for the ends
	callbackRenewed = time.Hour          // how often such a process asks again
)

// callbacks calls Config.OnRunEnded.
type callbacks struct {
	base
	flows *registry
	gate  *gate

	mu    sync.Mutex // guards calls
	calls int        // those that have not returned
}

// keep makes the database keep the ends of the flows' runs.
func (c *callbacks) keep(ctx context.Context) error {
	ids := c.flows.ids()
	if c.config.OnRunEnded == nil || len(ids) == 0 {
		return nil
	}
	if err := c.store.CallbackKeep(ctx, ids, callbackKept); err != nil {
		return fmt.Errorf("keep the ends of runs for Config.OnRunEnded: %w", err)
	}
	return nil
}

// poll tells of ended runs until Stop.
func (c *callbacks) poll(ctx context.Context) {
	if c.config.OnRunEnded == nil {
		return
	}
	ended, cancel := c.events.subscribe(EventRunSucceeded, EventRunFailed, EventRunCancelled)
	defer cancel()
	next := time.NewTicker(c.config.PollInterval)
	defer next.Stop()
	renew := time.NewTicker(callbackRenewed)
	defer renew.Stop()
	freed := make(chan struct{}, 1)
	do := looks(ctx, c.base)
	look := func(looking context.Context) error {
		_, err := c.begin(ctx, looking, freed)
		return err
	}
	for {
		do("looking for ended runs", look)
		select {
		case <-ended:
		case <-freed:
		case <-next.C:
		case <-renew.C:
			do("keeping the ends of runs", c.keep)
		case <-c.gate.stopping:
			return
		case <-ctx.Done():
			return
		}
		for len(ended) > 0 { // one look finds them all
			<-ended
		}
	}
}

// all tells of all that is due, and waits for the calls.
func (c *callbacks) all(ctx context.Context) {
	if c.config.OnRunEnded == nil {
		return
	}
	for ctx.Err() == nil {
		calls, err := c.begin(ctx, ctx, nil)
		if err != nil {
			c.log.WarnContext(ctx, "dataflow: looking for ended runs failed; the next tick tries again", slog.String(logError, err.Error()))
		}
		if calls == nil {
			return
		}
		calls.Wait()
	}
}

// begin begins to tell of as many ends as there are places, and returns what waits for that, nil
// if there are none. looking limits the look for them, and ctx the calls. freed gets a signal when a place is free again.
func (c *callbacks) begin(ctx, looking context.Context, freed chan struct{}) (*sync.WaitGroup, error) {
	c.mu.Lock()
	free := callbackPlaces - c.calls
	c.mu.Unlock()
	if free <= 0 || c.gate.enter() != nil { // the client is stopping
		return nil, nil //nolint:nilnil // documented: there are none
	}
	defer c.gate.leave()
	tries, err := c.store.CallbackTake(looking, &CallbackTakeParams{FlowIDs: c.flows.ids(), Lease: callbackLease, Limit: free})
	if len(tries) == 0 {
		return nil, err
	}
	var calls sync.WaitGroup
	for _, try := range tries {
		if c.gate.enter() != nil {
			break // its lease ends
		}
		c.mu.Lock()
		c.calls++
		c.mu.Unlock()
		calls.Go(func() {
			defer c.gate.leave()
			c.tell(ctx, try, func() {
				c.mu.Lock()
				c.calls--
				c.mu.Unlock()
				if freed != nil {
					poke(freed)
				}
			})
		})
	}
	return &calls, err
}

// tell tells of one end, and stores what came of it. The call of the user keeps its place until
// it returns, so that calls that hang do not pile up.
func (c *callbacks) tell(ctx context.Context, try *CallbackTry, returned func()) {
	run := *try.Run // the hook may change the other one
	timed, cancel := context.WithTimeout(ctx, callbackTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer returned()
		done <- guard(func() error { return c.config.OnRunEnded(timed, try.Run) })
	}()
	err := c.await(timed, done)
	p := doneParams(try, err)
	if err != nil && ctx.Err() != nil { // this client stops, which is no failure of the call
		p.Delay, p.GiveUp = 0, false
	}
	ctx, cancelStore := context.WithTimeout(context.WithoutCancel(ctx), handBackTimeout)
	defer cancelStore()
	last, failed := c.store.CallbackDone(ctx, p)
	c.report(ctx, &run, p, err, last, failed)
}

// await waits for the error of a call, and for a moment longer than the call's context.
func (*callbacks) await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	t := time.NewTimer(callbackGrace)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		return fmt.Errorf("it has not returned, though its context ended: %w", context.Cause(ctx))
	}
}

// doneParams says what comes of a try.
func doneParams(try *CallbackTry, err error) *CallbackDoneParams {
	p := &CallbackDoneParams{RunID: try.Run.ID, Tries: try.Tries}
	if err == nil {
		return p
	}
	p.Error = stored.Clean(err.Error())
	if p.Error == "" {
		p.Error = fmt.Sprintf("%T without a text", err)
	}
	n := float64(try.Tries)
	p.Delay = time.Duration((n*n*n*n + 2) * float64(time.Second))
	if after := marks(err).after; after > 0 {
		p.Delay = after
	}
	p.GiveUp = IsPermanent(err) || try.Tries >= callbackTries
	return p
}

// report logs what came of a try.
func (c *callbacks) report(ctx context.Context, run *Run, p *CallbackDoneParams, err error, last bool, failed error) {
	log := c.log.With(slog.String(logFlow, run.FlowName), slog.Int64(logRun, run.ID), slog.Int("try", p.Tries))
	var pe *PanicError
	if errors.As(err, &pe) {
		log = log.With(slog.String("stack", pe.Stack))
	}
	switch {
	case failed != nil:
		log.WarnContext(ctx, "dataflow: could not store what came of Config.OnRunEnded; it is called again", slog.String(logError, failed.Error()))
	case !last && err == nil:
		log.WarnContext(ctx, "dataflow: Config.OnRunEnded took so long that it was called again meanwhile")
	case err == nil:
	case p.GiveUp:
		log.ErrorContext(ctx, "dataflow: Config.OnRunEnded failed, and is given up for this run", slog.String(logError, err.Error()))
	default:
		log.WarnContext(ctx, "dataflow: Config.OnRunEnded failed; trying again", slog.String(logError, err.Error()), slog.Duration("in", p.Delay))
	}
}

// ids returns the ids of the flows whose code this process has.
func (r *registry) ids() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.known))
}
