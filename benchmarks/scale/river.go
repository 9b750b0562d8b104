package main

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// noopArgs are those of a job that does nothing. They are as large as ours.
type noopArgs struct {
	FlowID int64 `json:"flow_id"`
	RunID  int64 `json:"run_id"`
}

// Kind implements river.JobArgs.
func (noopArgs) Kind() string { return "noop" }

type noopWorker struct {
	river.WorkerDefaults[noopArgs]

	reads *reads
}

// Work implements river.Worker.
func (w noopWorker) Work(context.Context, *river.Job[noopArgs]) error {
	w.reads.begin()
	return nil
}

// riverClient returns a client of bare River.
func riverClient(d *database, config *river.Config, r *reads) (*river.Client[pgx.Tx], error) {
	config.Workers = river.NewWorkers()
	river.AddWorker(config.Workers, noopWorker{reads: r})
	return river.NewClient(riverpgxv5.New(d.pool), config)
}

func manyJobs(n int) []river.InsertManyParams {
	params := make([]river.InsertManyParams, n)
	for i := range params {
		params[i] = river.InsertManyParams{Args: noopArgs{FlowID: int64(i), RunID: int64(i)}}
	}
	return params
}

// pause pauses the queue, and returns once the client has heard of it: until then, jobs are still worked.
func pause(ctx context.Context, rc *river.Client[pgx.Tx]) error {
	paused, unsubscribe := rc.Subscribe(river.EventKindQueuePaused)
	defer unsubscribe()
	if err := rc.QueuePause(ctx, river.QueueDefault, nil); err != nil {
		return err
	}
	select {
	case <-paused:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drainRiver works no-op jobs that wait in a queue.
func (e *env) drainRiver(jobs int, config func() *river.Config) side {
	return func(ctx context.Context) (m metrics, err error) {
		d, err := e.fresh(ctx)
		if err != nil {
			return nil, err
		}
		defer d.drop(ctx, &err)
		r := &reads{}
		rc, err := riverClient(d, config(), r)
		if err != nil {
			return nil, err
		}
		if err := rc.Start(ctx); err != nil {
			return nil, err
		}
		defer stop(ctx, rc)
		if err := pause(ctx, rc); err != nil {
			return nil, err
		}
		for _, some := range chunks(manyJobs(jobs), 1000) {
			if _, err := rc.InsertManyFast(ctx, some); err != nil {
				return nil, err
			}
		}
		if err := d.exec(ctx, "analyze"); err != nil {
			return nil, err
		}
		r.expect(jobs)
		u, err := d.use(ctx)
		if err != nil {
			return nil, err
		}
		if err := rc.QueueResume(ctx, river.QueueDefault, nil); err != nil {
			return nil, err
		}
		if err := r.wait(ctx); err != nil {
			return nil, err
		}
		if err := d.none(ctx, sqlJobsLeft); err != nil {
			return nil, err
		}
		return u.done(ctx, jobs)
	}
}

func chunks[T any](all []T, size int) (parts [][]T) {
	for len(all) > 0 {
		n := min(size, len(all))
		parts, all = append(parts, all[:n]), all[n:]
	}
	return parts
}
