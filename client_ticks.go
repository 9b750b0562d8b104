package dataflow

import (
	"context"
	"fmt"
	"time"
)

// SkippedTicks lists the ticks that did not become runs, newest first, as ranges.
// params may be nil.
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

// Next returns the next n ticks of the flow's schedule after a time: fewer, or none,
// if there are no more. It looks at the schedule alone: whether the flow is paused,
// say, and which of them become runs is another matter. It may be called on a flow
// that is declared and on one that was got from a client. n may be up to 10,000.
func (f *Flow) Next(after time.Time, n int) ([]time.Time, error) {
	fail := func(err error) ([]time.Time, error) {
		return nil, public(fmt.Errorf("preview ticks of flow %q: %w", f.Name, err))
	}
	if n < 0 || n > maxPage {
		return fail(&ConfigError{Field: "n", Reason: fmt.Sprintf("%d is not from 0 to %d", n, maxPage)})
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

// Wait waits until the runs of Due have been worked, and returns those that this
// process has worked as they are then: finished, or pending again. ctx bounds the
// waiting alone; its error is returned when it is over.
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

// BeginTick makes one round of what a started client does all the time, for the
// flows whose code this process has: it puts back the runs whose workers have died,
// turns due ticks of schedules into runs, and takes up the runs that are due and
// worked without River. It returns at once; the runs are worked in the background,
// [Client.Config].MaxWorkers at a time, whatever becomes of ctx, until Stop. It may be
// called on a client that is not started, by any number of processes at once, and
// beside started clients: each run is worked once.
func (c *Client) BeginTick(ctx context.Context) (*TickReport, error) {
	return c.beginTick(ctx, context.WithoutCancel(ctx))
}

// Tick is BeginTick, and waits for the runs. It returns them as they are then:
// finished, or pending again. When ctx is done, those in progress are handed back. A
// failed run is no error of Tick.
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
	}()
	return r, nil
}
