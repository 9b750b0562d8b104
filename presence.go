package dataflow

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Process is a started client, in this process or another one, that has been seen
// alive a moment ago.
type Process struct {
	// ID is its Config.ID.
	ID string
	// CodeVersion is its Config.CodeVersion.
	CodeVersion string
	// Flows are the names of the flows whose code it has.
	Flows []string
	// Queues are the River queues that it works; nil if it has joined a River client
	// of the service's own, whose queues it does not know.
	Queues []string
	// StartedAt is when it was first seen, SeenAt when it was last. It counts as alive
	// until Until.
	StartedAt time.Time
	SeenAt    time.Time
	Until     time.Time
}

// Processes lists the started clients on this database that are alive, in the order
// of their ids.
func (c *Client) Processes(ctx context.Context) ([]*Process, error) {
	all, err := c.store.ProcessList(ctx)
	if err != nil {
		return nil, public(fmt.Errorf("list processes: %w", err))
	}
	return all, nil
}

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
