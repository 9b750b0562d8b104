package dataflow

import (
	"context"
	"fmt"
)

// ZoneConflicts returns the zones that schedules use and about which live processes, or a process
// and the database server, disagree within a year. It compares offsets from UTC and not versions:
// data of different versions may say the same about a zone.
func (c *Client) ZoneConflicts(ctx context.Context) ([]*ZoneConflict, error) {
	conflicts, err := c.zoneConflicts(ctx)
	if err != nil {
		return nil, public(fmt.Errorf("compare zone data: %w", err))
	}
	return conflicts, nil
}

func (c *Client) zoneConflicts(ctx context.Context) ([]*ZoneConflict, error) {
	now, err := c.store.Now(ctx)
	if err != nil {
		return nil, err
	}
	all, err := c.store.ProcessList(ctx)
	if err != nil {
		return nil, err
	}
	return zoneConflicts(ctx, c.store, all, now)
}
