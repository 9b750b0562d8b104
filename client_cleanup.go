package dataflow

import (
	"context"
	"fmt"
	"time"
)

// Cleanup removes ended runs, entries of the ledger, and dead letters that are older than the
// options say. It removes a batch in a transaction, so that it holds locks only briefly. It
// never removes flows, cursors, or runs that have not ended. opts may be nil.
//
// If Cleanup fails, or ctx is done, it returns the error and the counts of what it removed so
// far. A second call continues.
func (c *Client) Cleanup(ctx context.Context, opts *RetentionOptions) (*CleanupReport, error) {
	o := RetentionOptions{}
	if opts != nil {
		o = *opts
	}
	if err := o.validate(); err != nil {
		return &CleanupReport{DryRun: o.DryRun}, public(fmt.Errorf("clean up: %w", err))
	}
	r, err := c.cleaner.clean(ctx, o, func(time.Duration) error { return ctx.Err() })
	return r, public(err)
}

// Totals adds up the runs that ended on each day, by flow and state: the oldest day first.
// Runs that [Client.Cleanup] has removed count too. A run counts on the day on which it
// ended, in UTC. opts may be nil.
func (c *Client) Totals(ctx context.Context, opts *TotalsOptions) ([]*DailyTotal, error) {
	o := TotalsOptions{}
	if opts != nil {
		o = *opts
	}
	if o.To.IsZero() {
		now, err := c.store.Now(ctx)
		if err != nil {
			return nil, public(fmt.Errorf("list totals: %w", err))
		}
		o.To = now
	}
	if o.From.IsZero() {
		o.From = o.To.AddDate(0, 0, -29)
	}
	p := &TotalListParams{From: o.From.UTC().Format(time.DateOnly), To: o.To.UTC().Format(time.DateOnly)}
	if p.From > p.To {
		return nil, public(fmt.Errorf("list totals: %w", &ConfigError{Field: "From", Reason: p.From + " is after To, " + p.To}))
	}
	if o.Flow != "" {
		rec, err := c.store.FlowByName(ctx, o.Flow)
		if err != nil {
			return nil, public(fmt.Errorf("list totals of flow %q: %w", o.Flow, err))
		}
		p.FlowID = rec.ID
	}
	totals, err := c.store.TotalList(ctx, p)
	if err != nil {
		err = fmt.Errorf("list totals: %w", err)
	}
	return totals, public(err)
}
