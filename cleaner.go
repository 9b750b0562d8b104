package dataflow

// Removing what has ended, by hand and by itself. It knows the database and the gate.

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
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
	take := func() (bool, error) { return c.store.UpkeepTake(ctx, cleanupTask, c.config.ID, cleanupLease) }
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
		prune func(context.Context, Queries, *PruneParams) (*Pruned, error)
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
		if err := c.prune(ctx, step.prune, p, step.count, progress); err != nil {
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

// prune removes batches until there is none.
func (c *cleaner) prune(ctx context.Context, prune func(context.Context, Queries, *PruneParams) (*Pruned, error), p *PruneParams, count *int64, between func(took time.Duration) error) error {
	most := p.Limit
	if !p.DryRun {
		p.Limit = min(most, cleanupFirst)
	}
	for {
		began := time.Now() //nolint:forbidigo // how long it takes, not what time it is
		var done *Pruned
		err := c.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
			q, err := c.store.With(tx)
			if err != nil {
				return err
			}
			done, err = prune(ctx, q, p)
			return err
		})
		if err != nil {
			return err
		}
		*count += done.Removed
		if p.DryRun || done.Next == nil {
			return nil
		}
		if p.After = done.Next; done.Next.ID == 0 {
			p.After = nil
		}
		took := time.Since(began)
		if err := between(took); err != nil {
			return err
		}
		p.Limit = nextBatch(p.Limit, most, took)
	}
}

func pruneRuns(ctx context.Context, q Queries, p *PruneParams) (*Pruned, error) {
	return q.RunPrune(ctx, p)
}

func pruneClosed(ctx context.Context, q Queries, p *PruneParams) (*Pruned, error) {
	of := *p
	of.OpenDeadLetterAge = -1
	n, err := q.DeadLetterPrune(ctx, &of)
	return prunedRows(n, p), err
}

func pruneOpen(ctx context.Context, q Queries, p *PruneParams) (*Pruned, error) {
	of := *p
	of.DeadLetterAge = -1
	n, err := q.DeadLetterPrune(ctx, &of)
	return prunedRows(n, p), err
}

func pruneTicks(ctx context.Context, q Queries, p *PruneParams) (*Pruned, error) {
	n, err := q.TickPrune(ctx, p)
	return prunedRows(n, p), err
}

func pruneAudit(ctx context.Context, q Queries, p *PruneParams) (*Pruned, error) {
	n, err := q.AuditPrune(ctx, p)
	return prunedRows(n, p), err
}

// prunedRows is the answer for rows that are removed from the oldest on.
func prunedRows(n int64, p *PruneParams) *Pruned {
	done := &Pruned{Removed: n}
	if n == int64(p.Limit) {
		done.Next = &PrunePlace{}
	}
	return done
}
