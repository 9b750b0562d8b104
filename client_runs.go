package dataflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/activedataflow/dataflow/internal/lease"
)

// Run returns a run by its id, or ErrNotFound.
func (c *Client) Run(ctx context.Context, id int64) (*Run, error) {
	run, err := c.store.RunByID(ctx, id)
	if err != nil {
		return nil, public(fmt.Errorf("get run %d: %w", id, err))
	}
	return run, nil
}

// Runs lists runs, newest first. params may be nil.
func (c *Client) Runs(ctx context.Context, params *RunListParams) ([]*Run, error) {
	p, err := page(params)
	if err != nil {
		return nil, public(fmt.Errorf("list runs: %w", err))
	}
	for _, s := range p.States {
		if !s.Valid() {
			return nil, public(fmt.Errorf("list runs: %w", &ConfigError{Field: "States", Reason: fmt.Sprintf("%q is not a state of a run: use pending, in_progress, success, failed or cancelled", s)}))
		}
	}
	switch {
	case p.Backfill != "" && p.Flow == "":
		return nil, public(fmt.Errorf("list runs: %w", &ConfigError{Field: "Backfill", Reason: "it needs the Flow: set both"}))
	case p.Backfill != "" && (p.Due || p.Overdue):
		return nil, public(fmt.Errorf("list runs: %w", &ConfigError{Field: "Backfill", Reason: "it is not for Due or Overdue: ask for one of them"}))
	}
	if p.Trigger != "" && !slices.Contains(Triggers(), p.Trigger) {
		return nil, public(fmt.Errorf("list runs: %w", &ConfigError{Field: "Trigger", Reason: fmt.Sprintf("%q is not a trigger: use one of %q", p.Trigger, Triggers())}))
	}
	runs, err := c.store.RunList(ctx, &p)
	if err != nil {
		return nil, public(fmt.Errorf("list runs: %w", err))
	}
	return runs, nil
}

// Wait waits until a run has ended, and returns it. Any process may work it. A run that failed
// or was cancelled is returned with its [Run.Err]. If ctx is done first, Wait returns the run
// as it has seen it last, nil if it has not, and ctx's error. While the database is away, it waits on for a minute.
func (c *Client) Wait(ctx context.Context, id int64) (*Run, error) {
	events, cancel := c.Subscribe(EventRunSucceeded, EventRunFailed, EventRunCancelled)
	defer cancel()
	tick := time.NewTicker(waitInterval)
	defer tick.Stop()
	var seen *Run
	last := time.Now() //nolint:forbidigo // how long it takes, not what time it is
	for {
		run, err := c.store.RunByID(ctx, id)
		switch {
		case err == nil && run.State.Finished():
			return run, run.Err()
		case err == nil:
			seen, last = run, time.Now() //nolint:forbidigo // as above
		case ctx.Err() != nil:
		case !c.passesSoon(err) || time.Since(last) > troubleWindow:
			return nil, public(fmt.Errorf("wait for run %d: %w", id, err))
		}
		select {
		case <-ctx.Done():
			return seen, public(fmt.Errorf("wait for run %d: %w", id, ctx.Err()))
		case <-events:
		case <-tick.C:
		}
	}
}

// Progress returns how far a run has come, wherever it is worked, or ErrNotFound.
func (c *Client) Progress(ctx context.Context, id int64) (*Progress, error) {
	run, err := c.Run(ctx, id)
	if err != nil {
		return nil, err
	}
	p := progressOf(run, c.now())
	if run.State == RunInProgress && !run.IsBackfill() {
		ctx, cancel := context.WithTimeout(ctx, progressLag)
		defer cancel()
		p.Lag = lagOf(ctx, c, run)
	}
	return p, nil
}

// progressLag is how long a source may take to tell the lag of a run. Who asks for the progress
// asks again each second or so, and must see the counters in any case.
const progressLag = time.Second

// lagOf returns how far a run is after its source, nil if nobody here can tell.
func lagOf(ctx context.Context, c *Client, run *Run) *Lag {
	f := c.flows.knownByID(run.FlowID)
	if f == nil {
		return nil
	}
	lag, err := f.code.lag(ctx, run.ToCursor)
	if err != nil {
		c.log.WarnContext(ctx, "dataflow: a source could not tell its lag", slog.String(logFlow, run.FlowName), slog.String(logError, err.Error()))
		return nil
	}
	if lag == (Lag{}) {
		return nil
	}
	return &lag
}

// nanoseconds is a duration, the longest that there is for more: the conversion alone would make it negative.
func nanoseconds(n float64) time.Duration {
	if n >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(n)
}

// progressOf returns how far a run had come at a time.
func progressOf(run *Run, now time.Time) *Progress {
	p := &Progress{RunID: run.ID, State: run.State, Counters: run.Counters, Total: run.Total}
	switch {
	case run.StartedAt == nil:
		return p
	case run.EndedAt != nil:
		p.Elapsed = run.Duration()
	default:
		p.Elapsed = max(now.Sub(*run.StartedAt), 0)
	}
	if s := p.Elapsed.Seconds(); s > 0 {
		p.Rate = float64(p.Counters.Read) / s
	}
	if p.Rate > 0 && p.Total != nil && !run.State.Finished() {
		left := nanoseconds(float64(max(*p.Total-p.Counters.Read, 0)) / p.Rate * float64(time.Second))
		p.Left = &left
	}
	return p
}

// Cancel ends a run, whichever process works it. A pending run ends at once. A run in progress
// ends within a few seconds: at its next checkpoint, or in the middle of a batch, which is
// rolled back. actor and reason are stored with the run. If several callers cancel it, those
// of the first are.
//
// Cancel returns the run as it is then. A run in progress is still in progress: [Client.Wait]
// waits for its end. A cancelled run is returned as it is. If the run ended otherwise, the
// error is ErrRunFinished.
func (c *Client) Cancel(ctx context.Context, runID int64, actor, reason string) (*Run, error) {
	run, err := cancelRun(ctx, c, &RunCancelParams{RunID: runID, Actor: actor, Reason: reason}, func(ctx context.Context, q Queries, before, run *Run) error {
		if before.CancelRequestedAt != nil {
			return nil // somebody else cancelled it
		}
		after := map[string]any{"state": run.State}
		if run.State == RunInProgress {
			after["cancel_requested"] = true
		}
		return noteAction(ctx, q, AuditCancel, run.FlowID, run.ID, actor, reason, map[string]any{"state": before.State}, after)
	})
	if err != nil {
		return nil, public(fmt.Errorf("cancel run %d: %w", runID, err))
	}
	return run, nil
}

// cancel cancels a run for the library itself. With PendingOnly, it returns a run in progress as
// it is.
func (c *Client) cancel(ctx context.Context, p *RunCancelParams) (*Run, error) {
	return cancelRun(ctx, c, p, nil)
}

// cancelRun is cancel. note may be nil. It gets the run before and after, in the transaction.
func cancelRun(ctx context.Context, c *Client, p *RunCancelParams, note func(ctx context.Context, q Queries, before, after *Run) error) (*Run, error) {
	var run *Run
	var ranges []*Run
	err := c.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := c.store.With(tx)
		if err != nil {
			return err
		}
		before := &Run{}
		if note != nil {
			if before, err = q.RunByID(ctx, p.RunID); err != nil {
				return err
			}
		}
		if run, err = q.RunCancel(ctx, p); err != nil {
			return err
		}
		if run.State.Finished() && run.CancelRequestedAt == nil || run.State == RunSuccess || run.State == RunFailed {
			return fmt.Errorf("%w, with the state %s", ErrRunFinished, run.State)
		}
		if note != nil {
			if err := note(ctx, q, before, run); err != nil {
				return err
			}
		}
		if ranges, err = cancelRangesOf(ctx, q, run); err != nil {
			return err
		}
		if run.State != RunCancelled || run.RiverJobID == 0 {
			return nil
		}
		rc, err := c.jobs.client()
		if err != nil {
			return err
		}
		return rc.JobCancelTx(ctx, tx, run.RiverJobID)
	})
	if err != nil {
		return nil, err
	}
	if !p.PendingOnly {
		c.leases.Interrupt(lease.Ref{RunID: run.ID, LeaseNumber: run.LeaseNumber}, errCancelled)
	}
	if run.State == RunCancelled {
		c.worker.wakeAll(ctx, run.FlowID) // it may have been in the way of another
		c.log.InfoContext(ctx, "dataflow: run cancelled", append(runAttrs(run), slog.String("actor", p.Actor), slog.String(logReason, p.Reason))...)
		c.publish(ctx, EventRunCancelled, run, run.Err())
		c.tellCancelled(ctx, ranges)
	}
	return run, nil
}

// CancelFlow cancels all runs of a flow that are pending or in progress, and returns them. It
// leaves out runs that are started meanwhile. To prevent those, Pause the flow first.
func (c *Client) CancelFlow(ctx context.Context, name, actor, reason string) ([]*Run, error) {
	if _, err := c.Flow(ctx, name); err != nil {
		return nil, err
	}
	cancelled := []*Run{}
	for run, err := range c.flows.runsOf(ctx, name, RunPending, RunInProgress) {
		if err != nil {
			return cancelled, public(err)
		}
		run, err = c.Cancel(ctx, run.ID, actor, reason)
		if errors.Is(err, ErrRunFinished) {
			continue // it has just ended by itself
		}
		if err != nil {
			return cancelled, err
		}
		cancelled = append(cancelled, run)
	}
	return cancelled, nil
}

// Retry starts a new run in place of one that failed or was cancelled, with TriggerRetry, the
// same Params, and a Reason that names the old run. The new run continues at the flow's
// cursor, or, for a backfill, where the backfill stopped. While it waits, another call returns
// it, with Coalesced set, and for a backfill also while it is in progress. If the old run is in
// another state, the error is ErrRunState. actor is stored with the run.
func (c *Client) Retry(ctx context.Context, runID int64, actor string) (*Run, error) {
	fail := func(err error) (*Run, error) { return nil, public(fmt.Errorf("retry run %d: %w", runID, err)) }
	old, err := c.store.RunByID(ctx, runID)
	if err != nil {
		return fail(err)
	}
	if old.State != RunFailed && old.State != RunCancelled {
		return fail(fmt.Errorf("%w: it is %s, and only a run that is failed or cancelled can be retried", ErrRunState, old.State))
	}
	rec, err := c.store.FlowByID(ctx, old.FlowID)
	if err != nil {
		return fail(err)
	}
	f := c.flows.bind(rec)
	var run *Run
	err = c.store.InTx(ctx, func(ctx context.Context, tx Tx) (err error) {
		if run, err = goesOn(ctx, c.store, tx, old); err != nil || run != nil {
			return err
		}
		run, err = f.startTx(ctx, tx, retryOf(old, actor), time.Time{})
		return err
	})
	if err != nil {
		return fail(private(err))
	}
	c.hasStarted(ctx, f)
	return run, nil
}

// goesOn returns the run in progress that goes on with the backfill of an older one, or nil. A second
// one would take its checkpoint away from it.
func goesOn(ctx context.Context, store Store, tx Tx, old *Run) (*Run, error) {
	if !old.IsBackfill() {
		return nil, nil //nolint:nilnil // documented: there is none
	}
	q, err := store.With(tx)
	if err != nil {
		return nil, err
	}
	// Of two calls at once, the second finds the run of the first.
	if _, _, err := q.FlowLock(ctx, old.FlowID); err != nil {
		return nil, err
	}
	live, err := q.RunLive(ctx, old.FlowID)
	for _, run := range live {
		if run.Scope == old.Scope && run.State == RunInProgress {
			run.Coalesced = true
			return run, nil
		}
	}
	return nil, err
}

// Cleanup removes ended runs, entries of the ledger, and dead letters that are older than the
// options say. Dead letters that are still open stay unless the options say otherwise. It removes a batch in a transaction, so that it holds locks only briefly. It
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
