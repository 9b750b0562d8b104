package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/riverqueue/river"
)

func (c *Client) riverClient() (River, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.riverLocked()
}

// riverLocked returns the River client and makes it at its first use, so that
// UseRiver can come before that. c.mu is held.
func (c *Client) riverLocked() (River, error) {
	if c.river != nil {
		return c.river, nil
	}
	conf := river.Config{}
	if c.config.River != nil {
		conf = *c.config.River
	}
	conf.Schema = c.config.Schema
	if conf.Logger == nil {
		conf.Logger = c.log
	}
	if conf.Workers == nil {
		conf.Workers = river.NewWorkers()
	}
	if !c.workerAdded || c.config.River == nil || c.config.River.Workers == nil {
		if err := river.AddWorkerSafely(conf.Workers, NewDataFlowJob(c)); err != nil {
			return nil, fmt.Errorf("add our worker to Config.River.Workers: %w", err)
		}
		c.workerAdded = true
	}
	if queues := c.queuesLocked(); len(queues) > 0 {
		conf.Queues = queues
	}
	rc, err := c.store.River(&conf)
	if err != nil {
		return nil, fmt.Errorf("make River client: %w", err)
	}
	c.river, c.riverQueues = rc, conf.Queues
	return rc, nil
}

// queuesLocked returns the user's own queues, those of the declared flows, and those
// of flows that were migrated to another Runtime than their code declares. c.mu is
// held.
func (c *Client) queuesLocked() map[string]river.QueueConfig {
	queues := make(map[string]river.QueueConfig)
	if c.config.River != nil {
		maps.Copy(queues, c.config.River.Queues)
	}
	add := func(f *Flow) {
		q, ok := f.Runtime.(interface{ QueueName() string })
		if !ok {
			return
		}
		if _, set := queues[q.QueueName()]; !set {
			queues[q.QueueName()] = river.QueueConfig{MaxWorkers: c.config.MaxWorkers}
		}
	}
	for _, f := range c.flows {
		add(f)
	}
	for _, f := range c.byID {
		add(f)
	}
	return queues
}

// startable returns the River client that this one starts, nil if there is none: the
// user's own, or one that has no work to do, since all flows are worked without
// River. It may have been made before the flows were registered, and then lacks the
// queues of those that were migrated, which are returned too. c.mu is held.
func (c *Client) startable() (River, map[string]river.QueueConfig, error) {
	queues := c.queuesLocked()
	if c.river != nil && !c.joined && len(c.riverQueues) == 0 && len(queues) > 0 {
		c.river = nil // it can only insert jobs
	}
	rc, err := c.riverLocked()
	if err != nil || c.joined || len(queues) == 0 {
		return nil, nil, err
	}
	maps.DeleteFunc(queues, func(name string, _ river.QueueConfig) bool {
		_, has := c.riverQueues[name]
		return has
	})
	return rc, queues, nil
}

// addQueues has River's client work more queues. c.mu is not held, because a client
// that is started asks the database.
func (c *Client) addQueues(rc River, queues map[string]river.QueueConfig) error {
	for name, config := range queues {
		if err := rc.QueueAdd(name, config); err != nil {
			return fmt.Errorf("add queue %q: %w", name, err)
		}
		c.mu.Lock()
		c.riverQueues[name] = config
		c.mu.Unlock()
	}
	return nil
}

// insertJob adds the River job that is to work a run, in the run's transaction.
func (c *Client) insertJob(ctx context.Context, tx Tx, run *Run, opts river.InsertOpts) error {
	id, err := c.addJob(ctx, tx, run, opts)
	if err != nil {
		return err
	}
	q, err := c.store.With(tx)
	if err != nil {
		return err
	}
	if err := q.RunSetJob(ctx, run.ID, id, opts.Queue); err != nil {
		return err
	}
	run.RiverJobID, run.Queue = id, opts.Queue
	return nil
}

// addJob adds a River job for a run, and leaves the run as it is.
func (c *Client) addJob(ctx context.Context, tx Tx, run *Run, opts river.InsertOpts) (int64, error) {
	rc, err := c.riverClient()
	if err != nil {
		return 0, err
	}
	// The args are ids alone; the name is for people who look at River's jobs.
	metadata, err := json.Marshal(map[string]string{"flow": run.FlowName})
	if err != nil {
		return 0, err
	}
	opts.MaxAttempts, opts.Metadata = run.MaxAttempts, metadata
	if !opts.ScheduledAt.After(c.now()) {
		// With any time, even a past one, the job would wait for River's scheduler,
		// which looks every 5 s, and a quarter of a minute after its leader has died.
		opts.ScheduledAt = time.Time{}
	}
	id, err := rc.InsertTx(ctx, tx, DataFlowArgs{FlowID: FlowRef(run.FlowID), RunID: run.ID}, &opts)
	if err != nil {
		return 0, fmt.Errorf("insert River job: %w", err)
	}
	return id, nil
}

// wakeNext gives the run that has waited longest for the end of another one of its
// flow, of the same lane, a River job, because its own is snoozed for a while. As a job too many, that
// does nothing.
func (c *Client) wakeNext(ctx context.Context, ended *attempt) {
	rt, ok := ended.flow.Runtime.(interface{ insertOpts() river.InsertOpts })
	if !ok {
		return
	}
	err := func() error {
		runs, err := c.store.RunLive(ctx, ended.flow.ID)
		if err != nil || len(runs) == 0 {
			return err
		}
		now, err := c.store.Now(ctx)
		if err != nil {
			return err
		}
		runs = slices.DeleteFunc(runs, func(run *Run) bool {
			return run.State != RunPending || run.RunAfter.After(now) || run.Queue == "" || run.ID == ended.run.ID ||
				ended.flow.apart(run) != ended.flow.apart(ended.run)
		})
		if len(runs) == 0 {
			return nil
		}
		next := slices.MinFunc(runs, func(a, b *Run) int { return a.ScheduledFor.Compare(b.ScheduledFor) })
		return c.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
			_, err := c.addJob(ctx, tx, next, rt.insertOpts())
			return err
		})
	}()
	if err != nil {
		ended.log.WarnContext(ctx, "dataflow: the next run could not be woken; it looks by itself in a while", slog.String(logError, err.Error()))
	}
}

// wake gives the waiting runs of a flow new River jobs, because those that found
// the flow disabled are gone. A job too many finds its run taken, and does
// nothing. The run keeps its RiverJobID, by which an old job that names no run
// knows it.
func (c *Client) wake(ctx context.Context, f *Flow) error {
	rt, ok := f.Runtime.(interface{ insertOpts() river.InsertOpts })
	if !ok {
		return nil
	}
	var errs []error
	for run, err := range c.runsOf(ctx, f.Name, RunPending) {
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		if run.Queue == "" {
			continue
		}
		errs = append(errs, c.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
			opts := rt.insertOpts()
			opts.ScheduledAt = run.RunAfter
			_, err := c.addJob(ctx, tx, run, opts)
			return err
		}))
	}
	return errors.Join(errs...)
}

// requeue has a run that was put back worked as its flow's Runtime says now: by a
// new River job in that queue, or without one.
func (c *Client) requeue(ctx context.Context, tx Tx, q Queries, run *Run) error {
	rec, err := q.FlowByID(ctx, run.FlowID)
	if err != nil {
		return err
	}
	opts := river.InsertOpts{Queue: run.Queue}
	switch rt := c.bind(rec).Runtime.(type) {
	case interface{ insertOpts() river.InsertOpts }:
		opts = rt.insertOpts()
	case Heartbeat:
		run.Queue, run.RiverJobID = "", 0
		return q.RunSetJob(ctx, run.ID, 0, "")
	}
	return c.insertJob(ctx, tx, run, opts)
}

func (c *Client) jobCancelled(ctx context.Context, tx Tx, jobID int64) (bool, error) {
	rc, err := c.riverClient()
	if err != nil || jobID == 0 {
		return false, err
	}
	return rc.JobCancelled(ctx, tx, jobID)
}
