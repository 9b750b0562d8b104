package dataflow

// Removing what has ended, by hand and by itself. It knows the database and the gate.

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/activedataflow/dataflow/internal/notes"
)

// The clean-up that each started client does by itself. One process at a time does it.
const (
	cleanupTask  = "cleanup"
	cleanupLease = time.Minute // renewed before each batch
	cleanupPause = time.Hour   // from its end to the next one
	cleanupCheck = time.Minute // how often a process asks whether it is due
)

// cleaner removes what has ended.
type cleaner struct {
	base
	gate *gate
}

// poll cleans up by itself until Stop.
func (c *cleaner) poll(ctx context.Context) {
	if c.config.Retention.keepsAll() {
		return
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-c.gate.stopping:
			cancel(ErrStopped)
		case <-ctx.Done():
		}
	}()
	t := time.NewTicker(cleanupCheck)
	defer t.Stop()
	for {
		if err := c.round(ctx); err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "dataflow: cleaning up failed; trying again", slog.String(logError, err.Error()))
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// round cleans up if that is due and no other process does it.
func (c *cleaner) round(ctx context.Context) error {
	take := func() (bool, error) {
		limited, cancel := context.WithTimeout(ctx, cleanupLease) // a server may fall silent
		defer cancel()
		return c.store.UpkeepTake(limited, cleanupTask, c.config.ID, cleanupLease)
	}
	if ok, err := take(); err != nil || !ok {
		return err
	}
	lost := false
	_, err := c.clean(ctx, c.config.Retention, func(took time.Duration) error {
		if err := pause(ctx, took); err != nil { // so that runs have the database for at least half the time
			return err
		}
		ok, err := take()
		lost = err == nil && !ok
		if lost {
			return fmt.Errorf("another process cleans up now: %w", ErrFenced)
		}
		return err
	})
	if lost {
		return nil
	}
	if err != nil {
		return err
	}
	return c.store.UpkeepDone(ctx, cleanupTask, c.config.ID, cleanupPause)
}

// pause waits, or returns the error of ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// clean removes what the options say. It calls between after each batch, with how long the
// batch took, and ends with its error.
func (c *cleaner) clean(ctx context.Context, o RetentionOptions, between func(took time.Duration) error) (*CleanupReport, error) {
	r := &CleanupReport{DryRun: o.DryRun}
	closed, open := cmp.Or(o.DeadLetters, DefaultRetention), cmp.Or(o.OpenDeadLetters, -1)
	for _, step := range []struct {
		what  string
		keep  time.Duration
		state RunState
		prune pruneFunc
		count *int64
	}{
		// Dead letters first: a run is kept while it has any.
		{"closed dead letters", closed, "", pruneClosed, &r.DeadLetters},
		{"open dead letters", open, "", pruneOpen, &r.OpenDeadLetters},
		{"successful runs", o.Success, RunSuccess, pruneRuns, &r.Success},
		{"failed runs", o.Failed, RunFailed, pruneRuns, &r.Failed},
		{"cancelled runs", o.Cancelled, RunCancelled, pruneRuns, &r.Cancelled},
		{"skipped ticks", o.SkippedTicks, "", pruneTicks, &r.SkippedTicks},
		{"the audit log", cmp.Or(o.Audit, DefaultAuditRetention), "", pruneAudit, &r.Audit},
	} {
		if step.keep == -1 {
			continue
		}
		p := &PruneParams{
			State: step.state, Age: cmp.Or(step.keep, DefaultRetention), DeadLetterAge: closed, OpenDeadLetterAge: open,
			Limit: cmp.Or(o.BatchSize, defaultRetentionBatch), DryRun: o.DryRun,
		}
		notes.Progress(ctx, notes.Step{What: "rows", Done: r.Total(), Now: step.what})
		progress := func(took time.Duration) error {
			notes.Progress(ctx, notes.Step{What: "rows", Done: r.Total()})
			return between(took)
		}
		b := &batches{cleaner: c, most: p.Limit, params: p, count: step.count, between: progress}
		if err := b.removeAll(ctx, step.prune); err != nil {
			return r, fmt.Errorf("clean up %s: %w", step.what, err)
		}
	}
	if o.DryRun || r.Total() == 0 {
		return r, nil
	}
	if err := c.store.ScopePrune(ctx); err != nil {
		return r, fmt.Errorf("clean up checkpoints of backfills: %w", err)
	}
	c.log.InfoContext(ctx, "dataflow: cleaned up", slog.Int64("success", r.Success), slog.Int64("failed", r.Failed),
		slog.Int64("cancelled", r.Cancelled), slog.Int64("skipped_ticks", r.SkippedTicks), slog.Int64("dead_letters", r.DeadLetters), slog.Int64("open_dead_letters", r.OpenDeadLetters), slog.Int64("audit", r.Audit))
	return r, nil
}

// Batches are as large as the options say, but smaller while the transaction of one takes longer
// than cleanupSlow, and larger again below half of that.
const (
	cleanupSlow  = 50 * time.Millisecond
	cleanupLeast = 50
	cleanupFirst = 200
)

// nextBatch returns the size of the next batch, by how long the last one took.
func nextBatch(size, most int, took time.Duration) int {
	switch {
	case took > cleanupSlow:
		return min(max(size/2, cleanupLeast), most)
	case took < cleanupSlow/2:
		return min(2*size, most)
	default:
		return size
	}
}

// pruneFunc removes up to p.Limit rows, and returns how many they were. It is called in a transaction.
type pruneFunc func(ctx context.Context, q Queries, p *PruneParams) (int64, error)

// batches removes what is old, a transaction for each batch.
type batches struct {
	*cleaner

	most    int          // rows of a batch
	params  *PruneParams // Limit is the size of the next batch
	count   *int64
	between func(took time.Duration) error // is called before each batch but the first
	took    time.Duration                  // by the batch before; 0: there was none
}

// removeAll removes what prune does until nothing is left.
func (b *batches) removeAll(ctx context.Context, prune pruneFunc) error {
	if b.params.DryRun {
		return b.remove(ctx, prune)
	}
	b.params.Limit = min(b.most, cleanupFirst)
	if b.params.State != "" {
		return b.removeRuns(ctx, prune)
	}
	for {
		limit, before := b.params.Limit, *b.count
		if err := b.remove(ctx, prune); err != nil || *b.count-before < int64(limit) {
			return err
		}
	}
}

// cleanupWindow is how many old runs are looked up at once. They are removed flow by flow: a batch then changes
// the daily totals of few flows. In the order of their ends, it changed those of almost as many flows as it had runs.
const cleanupWindow = 20_000

func (b *batches) removeRuns(ctx context.Context, prune pruneFunc) error {
	for {
		of := *b.params
		of.Limit = cleanupWindow
		old, err := b.store.RunsOld(ctx, &of)
		if err != nil || len(old) == 0 {
			return err
		}
		last, more := old[len(old)-1], len(old) == cleanupWindow
		slices.SortStableFunc(old, func(x, y OldRun) int { return cmp.Compare(x.FlowID, y.FlowID) })
		for len(old) > 0 {
			n := min(b.params.Limit, len(old))
			b.params.Runs, old = old[:n], old[n:]
			if err := b.remove(ctx, prune); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		b.params.After = &last
	}
}

// remove removes one batch.
func (b *batches) remove(ctx context.Context, prune pruneFunc) error {
	if b.took > 0 {
		if err := b.between(b.took); err != nil {
			return err
		}
	}
	began := time.Now() //nolint:forbidigo // how long it takes, not what time it is
	var n int64
	err := b.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := b.store.With(tx)
		if err != nil {
			return err
		}
		n, err = prune(ctx, q, b.params)
		return err
	})
	if err != nil {
		return err
	}
	*b.count += n
	b.took = time.Since(began)
	b.params.Limit = nextBatch(b.params.Limit, b.most, b.took)
	return nil
}

func pruneRuns(ctx context.Context, q Queries, p *PruneParams) (int64, error) {
	return q.RunPrune(ctx, p)
}

func pruneTicks(ctx context.Context, q Queries, p *PruneParams) (int64, error) {
	return q.TickPrune(ctx, p)
}

func pruneAudit(ctx context.Context, q Queries, p *PruneParams) (int64, error) {
	return q.AuditPrune(ctx, p)
}

func pruneClosed(ctx context.Context, q Queries, p *PruneParams) (int64, error) {
	of := *p
	of.OpenDeadLetterAge = -1
	return q.DeadLetterPrune(ctx, &of)
}

func pruneOpen(ctx context.Context, q Queries, p *PruneParams) (int64, error) {
	of := *p
	of.DeadLetterAge = -1
	return q.DeadLetterPrune(ctx, &of)
}
