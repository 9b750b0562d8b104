package dataflow

import (
	"errors"
	"fmt"
	"time"
)

// DefaultRetention is how long [Client.Cleanup] keeps what has ended.
const DefaultRetention = 30 * 24 * time.Hour

// defaultRetentionBatch takes about 50 ms on Postgres.
const defaultRetentionBatch = 2000

// RetentionOptions are the settings of [Client.Cleanup] and of [Config].Retention: how long what
// has ended is kept. The
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
	// BatchSize is how many rows are removed in one transaction. 0: 2000.
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

// keepsAll reports whether nothing is ever removed.
func (o *RetentionOptions) keepsAll() bool {
	return o.Success == -1 && o.Failed == -1 && o.Cancelled == -1 && o.SkippedTicks == -1 && o.DeadLetters == -1
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
		errs = append(errs, &ConfigError{Field: "BatchSize", Reason: fmt.Sprintf("%d is negative: use 1 or more, or 0 for %d", o.BatchSize, defaultRetentionBatch)})
	}
	return errors.Join(errs...)
}
