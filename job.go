package dataflow

// The River worker: it takes a run from a River job to the executor, and tells River what
// came of it. It knows the executor and the rooms below.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/riverqueue/river"

	"github.com/activedataflow/dataflow/internal/stored"
)

// DataFlowJob is River's worker of our jobs: it hands a run to the [FlowExecutor]. The
// client adds it to its own River client. For any other, see [Client.AddWorker]. It is
// safe for concurrent use.
type DataFlowJob struct {
	river.WorkerDefaults[DataFlowArgs]
	client *Client
}

// NewDataFlowJob returns the worker of a client's jobs.
func NewDataFlowJob(client *Client) *DataFlowJob { return &DataFlowJob{client: client} }

// Timeout returns how long a job may take: a slice and a minute. It returns -1, for no
// limit, for a run that cannot be sliced.
func (j *DataFlowJob) Timeout(job *river.Job[DataFlowArgs]) time.Duration {
	flow := j.declared(&job.Args)
	if flow != nil && flow.code.resumable() && j.client.config.Slice > 0 {
		return j.client.config.Slice + sliceGrace
	}
	// River's rescuer asks too, and ignores a job without a limit (v0.51.1,
	// JobRescuer.makeRetryDecision). So a dead worker's job would stay for ever. If a
	// live worker has the job after all, the rescued job finds its run taken.
	if job.AttemptedAt != nil && time.Since(*job.AttemptedAt) > riverRescue {
		return sliceGrace
	}
	return -1
}

// NextRetry returns the time at which a failed run is due again. The zero time leaves
// it to River.
func (*DataFlowJob) NextRetry(job *river.Job[DataFlowArgs]) time.Time {
	at := job.Args.retryAt
	if at.IsZero() {
		return at
	}
	// River takes a time in the past for a mistake and uses its own policy instead,
	// which waits for minutes (v0.51.1, JobExecutor.reportError).
	soon := time.Now().Add(soonest) //nolint:forbidigo // River's clock
	if at.Before(soon) {
		return soon
	}
	return at
}

// Work works the job's run. If the run or the flow is missing, finished or disabled,
// Work returns no error, and the job ends. If the run cannot be worked now, the job is
// snoozed.
func (j *DataFlowJob) Work(ctx context.Context, job *river.Job[DataFlowArgs]) error {
	attrs := []any{slog.Int64(logJob, job.ID)}
	log := func() *slog.Logger { return j.client.log.With(attrs...) }
	if job.Args.RunID != 0 {
		attrs = append(attrs, slog.Int64(logRun, job.Args.RunID))
	}
	if err := job.Args.err; err != nil {
		err = fmt.Errorf(badArgs+"%s cannot be read: %w", stored.Clip(string(job.EncodedArgs)), err)
		j.discarded(ctx, log(), job, err)
		return river.JobCancel(err)
	}
	flow, err := j.flowOf(ctx, &job.Args)
	if err != nil {
		return j.outcome(ctx, log, job, nil, fmt.Errorf("work flow %s: %w", cmp.Or(job.Args.name, strconv.FormatInt(int64(job.Args.FlowID), 10)), err))
	}
	attrs = append(attrs, slog.String(logFlow, flow.Name))
	runID := job.Args.RunID
	if runID == 0 {
		run, err := j.runOf(ctx, flow, job)
		if err != nil {
			return j.outcome(ctx, log, job, nil, err)
		}
		runID = run.ID
		attrs = append(attrs, slog.Int64(logRun, runID))
	}
	executor := &FlowExecutor{client: j.client, job: job.JobRow}
	run, err := executor.executeKnown(ctx, flow, runID)
	jobOutcome := j.outcome(ctx, log, job, run, err)
	var re *RunError
	if errors.As(err, &re) && run.State == RunFailed {
		j.discarded(ctx, log(), job, err)
	}
	return jobOutcome
}

// flowOf returns the flow that a job's args name, as registry.get does.
func (j *DataFlowJob) flowOf(ctx context.Context, args *DataFlowArgs) (*Flow, error) {
	if args.name == "" {
		return j.client.flows.get(ctx, int64(args.FlowID))
	}
	rec, err := j.client.store.FlowByName(ctx, args.name)
	if err != nil {
		return nil, err
	}
	return j.client.flows.get(ctx, rec.ID)
}

// declared returns the flow of a job with its code, or nil if this process does not have that.
func (j *DataFlowJob) declared(args *DataFlowArgs) *Flow {
	if args.name != "" {
		return j.client.flows.declared[args.name]
	}
	return j.client.flows.knownByID(int64(args.FlowID))
}

// discarded reports that River will not work a job again.
func (j *DataFlowJob) discarded(ctx context.Context, log *slog.Logger, job *river.Job[DataFlowArgs], err error) {
	log.ErrorContext(ctx, "dataflow: job discarded", slog.String(logError, err.Error()))
	if j.client.config.OnJobDiscarded == nil {
		return
	}
	ctx = context.WithoutCancel(ctx)
	j.client.callHook(ctx, "OnJobDiscarded", func() { j.client.config.OnJobDiscarded(ctx, job.JobRow, err) })
}

// runOf returns the run of a job that names none: the run that an earlier attempt at
// the job has started, or a new one.
func (j *DataFlowJob) runOf(ctx context.Context, flow *Flow, job *river.Job[DataFlowArgs]) (*Run, error) {
	run, err := j.client.store.RunByJob(ctx, job.ID)
	if err == nil || !errors.Is(err, ErrNotFound) {
		return run, err
	}
	if err := (&candidate{flow: flow}).refusal(); err != nil {
		return nil, fmt.Errorf("start run of flow %q: %w", flow.Name, err)
	}
	run, err = j.client.store.RunInsert(ctx, &RunInsertParams{
		FlowID: flow.ID, Trigger: TriggerManual, MaxAttempts: flow.maxAttempts(), Queue: job.Queue, RiverJobID: job.ID,
	})
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("start run of flow %q: %w", flow.Name, flow.whyNoRun(ctx, j.client.store, err))
	}
	return run, err
}

// outcome turns the outcome of the run into River's outcome of the job. log makes a logger, which few jobs need.
func (j *DataFlowJob) outcome(ctx context.Context, log func() *slog.Logger, job *river.Job[DataFlowArgs], run *Run, err error) error {
	var re *RunError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &re):
		return j.failed(job, run, err, re.wait)
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrDisabled), errors.Is(err, ErrRunFinished), errors.Is(err, ErrFenced),
		errors.Is(err, ErrAlreadyRunning) && run != nil && run.State == RunInProgress: // whoever has the run ends it
		log().InfoContext(ctx, "dataflow: job has nothing to do", slog.String(logReason, err.Error()))
		return nil
	case errors.Is(err, ErrNotRegistered):
		log().InfoContext(ctx, "dataflow: job waits for a process that has the flow's code", slog.String(logReason, err.Error()))
		return river.JobSnooze(snoozeNotRegistered)
	case errors.Is(err, ErrPoolFull):
		if flow := j.client.flows.knownByID(run.FlowID); flow != nil {
			j.client.pools.later(ctx, flow, run)
		}
		return river.JobSnooze(snoozeFull)
	case errors.Is(err, errGroupFull):
		return river.JobSnooze(snoozeFull)
	case errors.Is(err, ErrAlreadyRunning):
		return river.JobSnooze(snoozeBusy)
	case errors.Is(err, ErrNotDue):
		return river.JobSnooze(max(run.RunAfter.Sub(j.client.now()), 0))
	case errors.Is(err, ErrStopped) && run != nil && run.RiverJobID != job.ID:
		return nil // the run was handed back, with a job of its own
	case errors.Is(err, ErrStopped):
		return river.JobSnooze(snoozeStopped)
	case run == nil && ctx.Err() == nil && j.client.passesSoon(err): // nothing was claimed; River's backoff would grow to minutes
		log().WarnContext(ctx, "dataflow: working a due run failed; trying again", slog.String(logError, err.Error()))
		return river.JobSnooze(snoozeTrouble)
	default:
		return err // River's own backoff: the run is as it was
	}
}

// failed turns a failed attempt at the run, whose next one comes after a wait, into River's outcome of the job.
func (j *DataFlowJob) failed(job *river.Job[DataFlowArgs], run *Run, err error, wait time.Duration) error {
	switch run.State {
	case RunPending:
		if job.Attempt >= job.MaxAttempts {
			return river.JobCancel(err) // FlowExecutor.end has added a job that goes on
		}
		job.Args.retryAt = j.client.dueAt(run, wait)
		return err
	case RunFailed:
		if job.Attempt < job.MaxAttempts {
			return river.JobCancel(err) // nothing is left to try
		}
		return err
	default:
		return river.JobCancel(err)
	}
}
