package dataflow

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// A started client says that it is alive twice in a lease, and is believed for two.
// Nothing but Why depends on that: runs have leases of their own.
func (c *Client) aliveEvery() time.Duration { return c.config.Lease / 2 }
func (c *Client) aliveFor() time.Duration   { return 2 * c.config.Lease }

// sayAlive notes that this client is there, and what it works.
func (c *Client) sayAlive(ctx context.Context) error {
	p := &Process{ID: c.config.ID, CodeVersion: c.config.CodeVersion, Flows: make([]string, 0, len(c.flows))}
	failed := c.RegistrationErrors()
	for name := range c.flows {
		if failed[name] == nil {
			p.Flows = append(p.Flows, name)
		}
	}
	slices.Sort(p.Flows)
	c.mu.Lock()
	if !c.joined {
		p.Queues = []string{}
		for name := range c.riverQueues {
			p.Queues = append(p.Queues, name)
		}
		slices.Sort(p.Queues)
	}
	c.mu.Unlock()
	return c.store.ProcessSeen(ctx, p, c.aliveFor())
}

// sayGone takes that back, when the client stops.
func (c *Client) sayGone(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer cancel()
	if err := c.store.ProcessGone(ctx, c.config.ID); err != nil {
		c.log.WarnContext(ctx, "dataflow: could not say that this process is gone; others will find out", slog.String(logWorker, c.config.ID), slog.String(logError, err.Error()))
	}
}
