package dataflow

import (
	"context"
	"fmt"
	"time"
)

// SkippedTicks lists the ticks that did not become runs, as ranges, newest first. params may
// be nil.
func (c *Client) SkippedTicks(ctx context.Context, params *TickListParams) ([]*SkippedTicks, error) {
	p, err := page(params)
	if err != nil {
		return nil, public(fmt.Errorf("list skipped ticks: %w", err))
	}
	if p.Reason != "" && !p.Reason.Valid() {
		return nil, public(fmt.Errorf("list skipped ticks: %w", &ConfigError{Field: "Reason", Reason: fmt.Sprintf(
			"%q is not a reason: use overlap, paused, disabled, missed or outside_window", p.Reason)}))
	}
	ticks, err := c.store.TickList(ctx, &p)
	if err != nil {
		return nil, public(fmt.Errorf("list skipped ticks: %w", err))
	}
	return ticks, nil
}

// Next returns the next n ticks of the flow's schedule after a time, or fewer if there are no
// more. It looks only at the schedule: it does not consider whether the flow is paused, or
// which ticks will become runs. The flow may be a declared one or one that a client returned.
// n is from 0 to 10,000. Otherwise the error is a *[ConfigError].
func (f *Flow) Next(after time.Time, n int) ([]time.Time, error) {
	fail := func(err error) ([]time.Time, error) {
		return nil, public(fmt.Errorf("preview ticks of flow %q: %w", f.Name, err))
	}
	if n < 0 || n > maxPage {
		return fail(&ConfigError{Field: "n", Reason: fmt.Sprintf("%d is out of range: use 0 to %d", n, maxPage)})
	}
	if err := f.unread(); err != nil {
		return fail(err)
	}
	s := f.Runtime.Settings()
	if !s.scheduled() {
		return nil, nil
	}
	ticks, err := s.ticks(f.Name)
	if err != nil {
		return fail(err)
	}
	next := make([]time.Time, 0, n)
	for range n {
		if after = ticks.Next(after); after.IsZero() {
			break
		}
		next = append(next, after)
	}
	return next, nil
}

// Wait waits until the runs of Due have been worked. It returns those that this process
// worked, as they are then: finished, or pending again. If ctx is done first, it returns ctx's
// error. The runs go on.
func (r *TickReport) Wait(ctx context.Context) ([]*Run, error) {
	select {
	case <-r.done:
	case <-ctx.Done():
		return nil, public(fmt.Errorf("wait for the runs of a tick: %w", ctx.Err()))
	}
	runs := make([]*Run, 0, len(r.worked))
	for _, run := range r.worked {
		if run != nil {
			runs = append(runs, run)
		}
	}
	return runs, nil
}

// BeginTick does once what a started client does all the time, for the flows whose code this
// process has. It puts back the runs of dead workers and turns due ticks into runs. It then
// takes up the due runs that are worked without River.
//
// BeginTick returns at once. The runs are worked in the background until Stop, even if ctx is
// done, [Client.Config].MaxWorkers at a time. Any number of processes may call it at once,
// with or without started clients: each run is worked once. The client need not be started.
func (c *Client) BeginTick(ctx context.Context) (*TickReport, error) {
	return c.beginTick(ctx, context.WithoutCancel(ctx))
}

// Tick is BeginTick, and waits for the runs. It returns them as they are then: finished, or
// pending again. When ctx is done, runs in progress are handed back. A failed run is no error
// of Tick.
func (c *Client) Tick(ctx context.Context) ([]*Run, error) {
	r, err := c.beginTick(ctx, ctx)
	if err != nil {
		return nil, err
	}
	return r.Wait(context.WithoutCancel(ctx))
}

func (c *Client) beginTick(ctx, work context.Context) (*TickReport, error) {
	if err := c.gate.enter(); err != nil {
		return nil, public(fmt.Errorf("tick: %w", err))
	}
	r, err := c.worker.look(ctx)
	if err != nil {
		c.gate.leave()
		return nil, public(fmt.Errorf("tick: %w", err))
	}
	go func() {
		defer c.gate.leave()
		defer close(r.done)
		c.worker.workAll(work, r)
		c.worker.callbacks.all(work)
	}()
	return r, nil
}
