package dataflow

import (
	"context"
	"fmt"
	"log/slog"
)

// followMigrations takes note of flows that were migrated to another Runtime while
// this client runs, and works their queues from then on.
func (c *Client) followMigrations(ctx context.Context) error {
	moved := false
	err := c.eachFlow(ctx, func(f *Flow) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		known := c.byID[f.ID]
		if known == nil || sameJSON(known.RuntimeJSON, f.RuntimeJSON) {
			return nil
		}
		c.byID[f.ID], moved = f, true
		c.log.InfoContext(ctx, "dataflow: flow has another runtime now", slog.String(logFlow, f.Name), slog.String("runtime", f.Runtime.Type()))
		return nil
	})
	if err != nil || !moved {
		return err
	}
	return c.workMore(ctx)
}

// workMore has River work the queues that flows have now, and starts it if it has had
// no work before.
func (c *Client) workMore(ctx context.Context) error {
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return nil
	}
	before := len(c.riverQueues)
	rc, queues, err := c.startable()
	c.mu.Unlock()
	if err != nil || rc == nil {
		return err
	}
	if err := c.addQueues(rc, queues); err != nil || before > 0 {
		return err
	}
	if err := rc.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start River: %w", err)
	}
	c.mu.Lock()
	stopped := c.stopped
	c.mu.Unlock()
	if stopped { // meanwhile, and Stop may have come before it was started
		return rc.Stop(context.WithoutCancel(ctx))
	}
	return nil
}
