package dataflow

// The rescuer puts back the runs of dead workers. It knows the flows, the jobs, and the leases
// that this process holds.

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/activedataflow/dataflow/internal/lease"
	"github.com/activedataflow/dataflow/internal/stored"
)

// rescuer puts back the runs whose workers died.
type rescuer struct {
	base
	flows  *registry
	leases *lease.Keeper[*attempt]
	jobs   *jobs
}

// rescue puts back all runs whose workers died, on any process. It returns how many it put back.
func (r *rescuer) rescue(ctx context.Context) (int, error) {
	rescued := 0
	for {
		run, err := r.rescueOne(ctx)
		if run == nil || err != nil {
			return rescued, err
		}
		if run.State != RunInProgress { // otherwise this process still works it
			rescued++
		}
	}
}

// unstrand adds a River job for each run of this process's flows whose job will not work it. A run for which that
// fails is left until the next call, and keeps no other from its job.
func (r *rescuer) unstrand(ctx context.Context) error {
	if r.flows.view().flows == 0 {
		return nil
	}
	p := &RunStrandedParams{Idle: r.config.Lease, Queueless: queuelessTypes(), Limit: maxPage}
	for {
		runs, err := r.store.RunsStranded(ctx, p)
		if err != nil {
			return err
		}
		for _, run := range runs {
			p.After = run.Due
			if !r.flows.works(run.FlowID) {
				continue
			}
			err := r.unstrandOne(ctx, run.ID, p)
			if err != nil && r.passes(ctx, err) {
				return err
			}
			if err != nil {
				r.noJob(ctx, run.FlowID, run.ID, err)
			}
		}
		if len(runs) < p.Limit {
			return nil
		}
	}
}

// rescueOne puts back one run whose lease lapsed, or returns nil if there is none.
func (r *rescuer) rescueOne(ctx context.Context) (*Run, error) {
	var run *Run
	var ranges []*Run // that are cancelled with it
	var dead string
	var jobless error // why there is no new job
	own := false
	err := r.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := r.store.With(tx)
		if err != nil {
			return err
		}
		lapsed, err := q.RunLapsed(ctx)
		if err != nil || lapsed == nil {
			return err
		}
		// This process was stalled, or cut off from the database, and still works the run.
		claim := LeaseRef{RunID: lapsed.ID, LeaseNumber: lapsed.LeaseNumber}
		if own = r.leases.Holds(lease.Ref(claim)); own {
			_, err = q.RunHeld(ctx, claim, r.config.Lease)
			run = lapsed
			return err
		}
		dead = lapsed.Worker
		if run, err = q.RunEnd(ctx, r.params(lapsed)); err != nil || run == nil {
			return err
		}
		if run.State != RunPending || run.Queue == "" {
			ranges, err = cancelRangesOf(ctx, q, run)
			return err
		}
		jobless = r.store.Savepoint(ctx, tx, func() error { return r.jobs.requeue(ctx, tx, q, run) })
		if jobless != nil && r.passes(ctx, jobless) {
			return jobless
		}
		return nil // or the run would keep all others, of any flow, from being put back
	})
	if err != nil || run == nil || own {
		return run, err
	}
	if jobless != nil { // unstrand tries again
		r.noJob(ctx, run.FlowID, run.ID, jobless)
	}
	r.tellCancelled(ctx, ranges)
	if run.Queue == "" { // this process may have no room for it, or for the next one of its flow
		r.wakeOthers(ctx, run.FlowID)
	}
	found := *run
	found.Worker = r.config.ID // who says so
	log := r.log.With(runAttrs(&found)...)
	switch run.State {
	case RunPending:
		log.WarnContext(ctx, "dataflow: run put back, because its worker has died", slog.String("dead", dead), slog.Int("rescues", run.Rescues))
		r.publish(ctx, EventRunRescued, run, nil)
	case RunCancelled:
		r.publish(ctx, EventRunCancelled, run, run.Err())
	default:
		log.ErrorContext(ctx, "dataflow: run failed", slog.String(logError, run.Error))
		r.publish(ctx, EventRunFailed, run, run.Err())
		r.tripped(ctx, run, run.Err())
		r.gaveUp(ctx, run, run.Err())
	}
	return run, nil
}

// passes reports whether an error is not of one run, but of the connection or of another transaction.
func (r *rescuer) passes(ctx context.Context, err error) bool {
	return ctx.Err() != nil || r.store.Classify(err).Passes()
}

// noJob logs that a run gets no River job.
func (r *rescuer) noJob(ctx context.Context, flowID, runID int64, err error) {
	name := ""
	if f := r.flows.knownByID(flowID); f != nil {
		name = f.Name
	}
	r.log.WarnContext(ctx, "dataflow: could not give a run a new River job; trying again", slog.String(logFlow, name), slog.Int64(logRun, runID), slog.String(logError, err.Error()))
}

// unstrandOne adds a River job for a run whose job will not work it, unless another process does
// so. If somebody cancelled the job, the run is cancelled.
func (r *rescuer) unstrandOne(ctx context.Context, runID int64, p *RunStrandedParams) error {
	var run *Run
	var ranges []*Run // that are cancelled with it
	var dead int64
	err := r.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := r.store.With(tx)
		if err != nil {
			return err
		}
		run, err = q.RunStranded(ctx, runID, p)
		if err != nil || run == nil {
			return err
		}
		dead = run.RiverJobID
		var cancelled bool
		err = r.store.Savepoint(ctx, tx, func() (err error) {
			cancelled, err = r.jobs.cancelled(ctx, tx, dead)
			return err
		})
		if err != nil && r.passes(ctx, err) { // River cannot cancel a job either that it cannot read
			return err
		}
		if cancelled {
			if run, err = q.RunCancel(ctx, &RunCancelParams{RunID: run.ID, Actor: "River", Reason: "its job was cancelled"}); err != nil {
				return err
			}
			ranges, err = cancelRangesOf(ctx, q, run)
			return err
		}
		return r.jobs.requeue(ctx, tx, q, run)
	})
	if err != nil || run == nil {
		return err
	}
	log := r.log.With(runAttrs(run)...)
	if run.State == RunCancelled {
		log.InfoContext(ctx, "dataflow: run cancelled", slog.String("actor", run.CancelledBy), slog.String(logReason, run.CancelReason))
		r.publish(ctx, EventRunCancelled, run, run.Err())
		r.tellCancelled(ctx, ranges)
		return nil
	}
	log.WarnContext(ctx, "dataflow: run got a new River job, because its last one will not work it", slog.Int64("dead", dead), slog.Int64(logJob, run.RiverJobID))
	return nil
}

// params decides the outcome of a run whose worker died.
func (r *rescuer) params(run *Run) *RunEndParams {
	p := &RunEndParams{RunID: run.ID, FlowID: run.FlowID, LeaseNumber: run.LeaseNumber, State: RunPending, Refund: true, Rescue: true}
	deaths := run.Rescues + 1
	switch {
	case run.CancelRequestedAt != nil:
		p.State, p.Refund = RunCancelled, false
	case deaths >= r.config.MaxRescues:
		where := "its beginning"
		if run.ToCursor != nil {
			where = "cursor " + stored.Clip(string(run.ToCursor))
		}
		p.State, p.Refund = RunFailed, false
		p.Error = &AttemptError{Attempt: run.Attempt, At: r.now().UTC(), Worker: run.Worker, Error: stored.Clean(fmt.Sprintf(
			"it has killed its worker %d times in a row, in the batch after %s: look for a record there that ends the process, exhausts its memory, or stalls it for longer than Config.Lease", deaths, where))}
	default:
		p.Error = &AttemptError{Attempt: run.Attempt, At: r.now().UTC(), Worker: run.Worker, Error: "its worker has died: the lease lapsed"}
	}
	return p
}
