package dataflow

import (
	"context"
	"errors"
	"slices"
)

// comingBack reports whether the flow has been migrated back to the Runtime that its
// code declares, and the runs of the other have yet to be cancelled.
func (f *FlowRecord) comingBack() bool {
	return f.MigratedFrom != nil && sameJSON(f.MigratedFrom, f.RuntimeJSON)
}

// endMigration makes a flow that has come back as if it had never been migrated.
func (c *Client) endMigration(ctx context.Context, id int64) error {
	return c.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := c.store.With(tx)
		if err != nil {
			return err
		}
		rec, _, err := q.FlowLock(ctx, id)
		if err != nil || !rec.comingBack() {
			return err // somebody has migrated it again meanwhile
		}
		_, err = q.FlowSetRuntime(ctx, &FlowRuntimeParams{ID: id, Runtime: rec.RuntimeJSON})
		return err
	})
}

// cancelMigrated cancels the runs that wait on the old Runtime, oldest first.
func (c *Client) cancelMigrated(ctx context.Context, o *MigrateRuntimesOptions, m *MigratedFlow) error {
	ids, err := c.stranded(ctx, o, m.Flow)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !o.DryRun {
			cancelled, err := c.cancel(ctx, &RunCancelParams{RunID: id, Actor: o.Actor, Reason: "the flow was migrated to " + o.To, PendingOnly: true})
			if errors.Is(err, ErrRunFinished) || err == nil && cancelled.State != RunCancelled {
				continue // it has been claimed meanwhile, and goes on
			}
			if err != nil {
				return err
			}
		}
		m.Cancelled = append(m.Cancelled, id)
	}
	return nil
}

// stranded lists the runs that wait on the old Runtime, oldest first: those without a
// queue for a flow on a job queue, and those in one for a flow on heartbeat.
func (c *Client) stranded(ctx context.Context, o *MigrateRuntimesOptions, flow string) (ids []int64, err error) {
	queued := o.To == (Heartbeat{}).Type()
	for run, err := range c.runsOf(ctx, flow, RunPending) {
		if err != nil {
			return nil, err
		}
		if (run.Queue != "") == queued {
			ids = append(ids, run.ID)
		}
	}
	slices.Reverse(ids)
	return ids, nil
}
