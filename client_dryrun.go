package dataflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
)

// DryRun takes the next records of a flow through its code and leaves no trace. The flow's
// cursor, counters and dead letters stay as they are, and there is no run. params may be nil.
//
// With a target of [ToTx], DryRun writes the records as a run does, one by one where the
// database refuses some, and then rolls back. It does so with [ToReplace] too, but replaces
// nothing. It does not call other sinks.
//
// Some effects cannot be rolled back. What the transform does elsewhere stays done. Numbers
// that the database gives to new rows are used up. Constraints that are checked at a commit
// are not checked. The rows that DryRun writes are locked until it ends.
//
// An error that would end the attempt of a run, such as that of a source that cannot be read,
// is DryRun's error. The process must have the flow's code. Otherwise the error is
// ErrNotRegistered. While this process works a run of the flow, which uses the same source,
// the error is ErrAlreadyRunning.
func (c *Client) DryRun(ctx context.Context, name string, params *DryRunParams) (*DryRunReport, error) {
	fail := func(err error) (*DryRunReport, error) {
		return nil, public(fmt.Errorf("dry run of flow %q: %w", name, private(err)))
	}
	p := DryRunParams{}
	if params != nil {
		p = *params
	}
	f, err := c.Flow(ctx, name)
	if err != nil {
		return fail(err)
	}
	if !f.Registered() {
		return fail(fmt.Errorf("%w: this process does not have the flow's code", ErrNotRegistered))
	}
	if err := c.gate.enter(); err != nil {
		return fail(err)
	}
	defer c.gate.leave()
	if err := c.notWorking(f); err != nil {
		return fail(err)
	}
	leave, err := c.pools.wait(ctx, f, nil)
	if err != nil {
		return fail(err)
	}
	defer leave()
	if err := p.fillIn(ctx, f); err != nil {
		return fail(err)
	}
	var report *DryRunReport
	err = guard(func() error {
		report, err = f.code.dryRun(ctx, c.runs, f, &p)
		return err
	})
	if err != nil {
		return fail(err)
	}
	return report, nil
}

// notWorking returns an error while this process works a run of the flow.
func (c *Client) notWorking(f *Flow) error {
	for _, a := range c.leases.Holders() {
		if a.flow.ID == f.ID {
			return fmt.Errorf("%w: this process works run %d, with the same source: try again when it has ended, or in another process", ErrAlreadyRunning, a.claimed.RunID)
		}
	}
	return nil
}

// dryRunDefault is how many records a dry run reads if Limit is 0.
const dryRunDefault = 10

// fillIn checks the parameters and fills in where the dry run begins.
func (p *DryRunParams) fillIn(ctx context.Context, f *Flow) error {
	if p.Limit < 0 || p.Limit > maxPage {
		return &ConfigError{Field: "Limit", Reason: fmt.Sprintf("%d is out of range: use 1 to %d, or 0 for the default, %d", p.Limit, maxPage, dryRunDefault)}
	}
	p.Limit = cmp.Or(p.Limit, dryRunDefault)
	given := p.From != nil
	if err := errors.Join(checkPlace("From", &p.From, f.code.checkCursor), checkPlace("Params", &p.Params, f.checkParams)); err != nil {
		return err
	}
	if given {
		return nil
	}
	cur, err := f.client.store.CursorGet(ctx, f.ID)
	if err == nil {
		p.From = cur.Cursor
	}
	return err
}
