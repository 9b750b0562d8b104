package main

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// reads counts the reads of no-op sources, and tells when there were enough.
type reads struct {
	mu     sync.Mutex
	seen   int
	wanted int
	all    chan struct{} // closed after the last wanted read
	on     func()        // called at each read; may be nil
}

func (r *reads) begin() {
	if r.on != nil {
		r.on()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen++
	if r.seen == r.wanted {
		close(r.all)
	}
}

// expect begins to count anew.
func (r *reads) expect(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen, r.wanted, r.all = 0, n, make(chan struct{})
}

// count returns how many there were.
func (r *reads) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen
}

func (r *reads) wait(ctx context.Context) error {
	r.mu.Lock()
	all := r.all
	r.mu.Unlock()
	select {
	case <-all:
		return nil
	case <-ctx.Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		return fmt.Errorf("%d of %d were worked: %w", r.seen, r.wanted, ctx.Err())
	}
}

// noop is a source that can resume and has no records.
type noop struct{ reads *reads }

// Read implements dataflow.Source.
func (s noop) Read(context.Context, dataflow.Request[int64]) iter.Seq2[dataflow.Item[int64, int64], error] {
	s.reads.begin()
	return func(func(dataflow.Item[int64, int64], error) bool) {}
}

func nothing(context.Context, []int64) error { return nil }

func flowName(i int) string { return fmt.Sprintf("flow %06d", i) }

// noops returns flows that do nothing.
func noops(n int, r *reads, rt dataflow.Runtime) []*dataflow.Flow {
	flows := make([]*dataflow.Flow, n)
	for i := range flows {
		flows[i] = dataflow.NewFlow(flowName(i), noop{r}, dataflow.Identity[int64](), dataflow.ToTx(dataflow.TxSinkFunc[int64](nothing)), &dataflow.FlowOptions{Runtime: rt})
	}
	return flows
}

// tuned are the settings of River for much work of short jobs.
func (e *env) tuned() *river.Config {
	return &river.Config{FetchCooldown: time.Millisecond, Queues: e.queues(), Logger: quiet()}
}

// plain are River's default settings.
func (e *env) plain() *river.Config { return &river.Config{Queues: e.queues(), Logger: quiet()} }

func (e *env) queues() map[string]river.QueueConfig {
	return map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: e.size.workers}}
}

func (e *env) client(d *database, rc *river.Config, flows []*dataflow.Flow) (*dataflow.Client, error) {
	return dataflow.NewClient(dataflowpgx.New(d.pool), &dataflow.Config{Flows: flows, River: rc, MaxWorkers: e.size.workers, Logger: quiet()})
}

type stopper interface {
	Stop(ctx context.Context) error
}

// stop stops a client or another worker.
func stop(ctx context.Context, s stopper) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	_ = s.Stop(ctx) // the measurement is over
}

// spreadOver calls fn for each i below n, in their order, from several goroutines.
func spreadOver(ctx context.Context, n, goroutines int, fn func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for i := range next {
				if err := fn(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// queueRuns adds pending runs, each flow's in its order.
func queueRuns(ctx context.Context, client *dataflow.Client, runs, flows int) error {
	past := time.Now().Add(-time.Hour).Truncate(time.Second)
	return spreadOver(ctx, runs, 8, func(ctx context.Context, i int) error {
		// With a time of its own, a run does not coalesce with the one that waits.
		_, err := client.Enqueue(ctx, flowName(i%flows), &dataflow.TriggerOptions{At: past.Add(time.Duration(i) * time.Microsecond)})
		return err
	})
}

const (
	sqlRunsLeft = `select count(*) from dataflow_run where state in ('pending', 'in_progress')`
	sqlJobsLeft = `select count(*) from river_job where finalized_at is null`
)

// drain works no-op runs that wait in a River queue.
func (e *env) drain(runs, flows int, config func() *river.Config) side {
	return func(ctx context.Context) (m metrics, err error) {
		d, err := e.fresh(ctx)
		if err != nil {
			return nil, err
		}
		defer d.drop(ctx, &err)
		r := &reads{}
		client, err := e.client(d, config(), noops(flows, r, onQueue()))
		if err != nil {
			return nil, err
		}
		if err := client.Start(ctx); err != nil {
			return nil, err
		}
		defer stop(ctx, client)
		rc, err := dataflowpgx.RiverClient(client)
		if err != nil {
			return nil, err
		}
		if err := pause(ctx, rc); err != nil {
			return nil, err
		}
		if err := queueRuns(ctx, client, runs, flows); err != nil {
			return nil, err
		}
		if err := d.exec(ctx, "analyze"); err != nil {
			return nil, err
		}
		r.expect(runs)
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
		if err := d.none(ctx, sqlRunsLeft); err != nil {
			return nil, err
		}
		return u.done(ctx, runs)
	}
}

// onQueue returns the Runtime of flows whose runs are jobs in the queue that bare River has too.
func onQueue() dataflow.Runtime { return dataflow.JobQueue{Queue: river.QueueDefault} }
