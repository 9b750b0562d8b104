package dataflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Tick puts back the runs whose workers have died, and works the runs that are due and worked without River, of the flows whose
// code this process has, and returns them as they are then: finished, or pending
// again. It may be called on a client that is not started, by any number of
// processes at once, and beside started clients: each run is worked once. A
// failed run is no error of Tick.
func (c *Client) Tick(ctx context.Context) ([]*Run, error) {
	if err := c.enter(); err != nil {
		return nil, public(fmt.Errorf("tick: %w", err))
	}
	defer c.leave()
	if err := c.rescue(ctx); err != nil {
		return nil, public(fmt.Errorf("tick: %w", err))
	}
	due, err := c.due(ctx)
	if err != nil {
		return nil, public(fmt.Errorf("tick: %w", err))
	}
	worked := make([]*Run, len(due))
	slots := make(chan struct{}, c.config.MaxWorkers)
	var wg sync.WaitGroup
	for i, run := range due {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			worked[i] = c.workDue(ctx, run)
		})
	}
	wg.Wait()
	runs := worked[:0]
	for _, run := range worked {
		if run != nil {
			runs = append(runs, run)
		}
	}
	return runs, nil
}

// poll works due runs until Stop, for a started client.
func (c *Client) poll(ctx context.Context) {
	tick := time.NewTicker(c.config.PollInterval)
	defer tick.Stop()
	lapsed := time.NewTicker(c.config.Lease / 10)
	defer lapsed.Stop()
	look := func(what string, do func(ctx context.Context) error) {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "dataflow: looking for "+what+" runs failed; trying again", slog.String(logError, err.Error()))
		}
	}
	look("abandoned", c.rescue)
	for {
		look("due", c.takeUp)
		select {
		case <-c.stopping:
			return
		case <-ctx.Done():
			return
		case <-lapsed.C:
			look("abandoned", c.rescue)
		case <-tick.C:
		}
	}
}

// takeUp starts working due runs, as far as there is room, and does not wait
// for them.
func (c *Client) takeUp(ctx context.Context) error {
	due, err := c.due(ctx)
	if err != nil {
		return err
	}
	for _, run := range due {
		if !c.reserve(run.ID) {
			continue
		}
		if err := c.enter(); err != nil {
			c.unreserve(run.ID)
			return nil //nolint:nilerr // the client is stopping
		}
		go func() {
			defer c.leave()
			defer c.unreserve(run.ID)
			c.workDue(ctx, run)
		}()
	}
	return nil
}

// reserve takes one of the loop's places for a run, unless it has one already.
func (c *Client) reserve(id int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inFlight[id] || len(c.inFlight) >= c.config.MaxWorkers {
		return false
	}
	c.inFlight[id] = true
	return true
}

func (c *Client) unreserve(id int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.inFlight, id)
}

// due lists the due runs of the flows whose code this process has.
func (c *Client) due(ctx context.Context) ([]*Run, error) {
	ids := c.enabledFlows()
	if len(ids) == 0 {
		return nil, nil
	}
	return c.store.RunDue(ctx, ids, defaultPage)
}

// enabledFlows lists the flows whose code this process has, and whose runs are to
// be worked.
func (c *Client) enabledFlows() []int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make([]int64, 0, len(c.byID))
	for id, f := range c.byID {
		if f.Runtime.Settings().Enabled {
			ids = append(ids, id)
		}
	}
	return ids
}

// workDue works a run that was found due. It returns nil when another process
// was first, or the run must wait.
func (c *Client) workDue(ctx context.Context, run *Run) *Run {
	worked, err := NewFlowExecutor(c).Execute(ctx, run.ID)
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
