package dataflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// DefaultRetention is how long [Client.Cleanup] keeps what has ended.
const DefaultRetention = 30 * 24 * time.Hour

// RetentionOptions are the settings of [Client.Cleanup]: how long it keeps what has ended. The
// zero value keeps everything for 30 days.
type RetentionOptions struct {
	// Success, Failed and Cancelled are how long a run is kept after it ended in that state.
	// The last success of each flow is always kept. 0: 30 days. -1: for ever.
	Success   time.Duration
	Failed    time.Duration
	Cancelled time.Duration
	// SkippedTicks is how long an entry of the ledger is kept after its last tick.
	// 0: 30 days. -1: for ever.
	SkippedTicks time.Duration
	// DeadLetters is how long dead letters are kept, and their runs with them.
	// 0: 30 days. -1: for ever.
	DeadLetters time.Duration
	// BatchSize is how many rows are removed in one transaction. 0: 1000.
	BatchSize int
	// DryRun counts, and removes nothing.
	DryRun bool
}

// CleanupReport counts what [Client.Cleanup] removed, or would remove.
type CleanupReport struct {
	Success      int64
	Failed       int64
	Cancelled    int64
	SkippedTicks int64
	DeadLetters  int64
	DryRun       bool
}

// Total is the sum of all counts.
func (r *CleanupReport) Total() int64 {
	return r.Success + r.Failed + r.Cancelled + r.SkippedTicks + r.DeadLetters
}

// validate returns all that is wrong with the options.
func (o *RetentionOptions) validate() error {
	var errs []error
	for _, f := range []struct {
		name string
		keep time.Duration
	}{
		{"Success", o.Success}, {"Failed", o.Failed}, {"Cancelled", o.Cancelled}, {"SkippedTicks", o.SkippedTicks}, {"DeadLetters", o.DeadLetters},
	} {
		if f.keep < 0 && f.keep != -1 {
			errs = append(errs, &ConfigError{Field: f.name, Reason: fmt.Sprintf("%s is negative: use a positive duration, 0 for %s, or -1 for ever", f.keep, DefaultRetention)})
		}
	}
	if o.BatchSize < 0 {
		errs = append(errs, &ConfigError{Field: "BatchSize", Reason: fmt.Sprintf("%d is negative: use 1 or more, or 0 for %d", o.BatchSize, DefaultBatchSize)})
	}
	return errors.Join(errs...)
}

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
	r := &CleanupReport{DryRun: o.DryRun}
	if err := o.validate(); err != nil {
		return r, public(fmt.Errorf("clean up: %w", err))
	}
	letters := cmp.Or(o.DeadLetters, DefaultRetention)
	for _, step := range []struct {
		what  string
		keep  time.Duration
		state RunState
		prune func(context.Context, *PruneParams) (int64, error)
		count *int64
	}{
		// Dead letters first: a run is kept while it has any.
		{"dead letters", letters, "", c.store.DeadLetterPrune, &r.DeadLetters},
		{"successful runs", o.Success, RunSuccess, c.store.RunPrune, &r.Success},
		{"failed runs", o.Failed, RunFailed, c.store.RunPrune, &r.Failed},
		{"cancelled runs", o.Cancelled, RunCancelled, c.store.RunPrune, &r.Cancelled},
		{"skipped ticks", o.SkippedTicks, "", c.store.TickPrune, &r.SkippedTicks},
	} {
		if step.keep == -1 {
			continue
		}
		p := &PruneParams{
			State: step.state, Age: cmp.Or(step.keep, DefaultRetention), DeadLetterAge: letters,
			Limit: cmp.Or(o.BatchSize, DefaultBatchSize), DryRun: o.DryRun,
		}
		if err := pruneAll(ctx, step.prune, p, step.count); err != nil {
			return r, public(fmt.Errorf("clean up %s: %w", step.what, err))
		}
	}
	if !o.DryRun && r.Total() > 0 {
		c.log.InfoContext(ctx, "dataflow: cleaned up", slog.Int64("success", r.Success), slog.Int64("failed", r.Failed),
			slog.Int64("cancelled", r.Cancelled), slog.Int64("skipped_ticks", r.SkippedTicks), slog.Int64("dead_letters", r.DeadLetters))
	}
	return r, nil
}

// pruneAll removes batches until there is none.
func pruneAll(ctx context.Context, prune func(context.Context, *PruneParams) (int64, error), p *PruneParams, count *int64) error {
	for {
		n, err := prune(ctx, p)
		*count += n
		if err != nil || p.DryRun || n < int64(p.Limit) {
			return err
		}
	}
}
