package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// triggering starts runs of flows on JobQueue that nobody works yet, one after the other.
func (e *env) triggering(one func(ctx context.Context, pool *pgxpool.Pool, c *dataflow.Client, flow string) error) side {
	return func(ctx context.Context) (m metrics, err error) {
		d, err := e.fresh(ctx)
		if err != nil {
			return nil, err
		}
		defer d.drop(ctx, &err)
		client, err := e.client(d, nil, noops(e.size.triggers, &reads{}, onQueue()))
		if err != nil {
			return nil, err
		}
		if err := client.Register(ctx); err != nil {
			return nil, err
		}
		return d.repeat(ctx, e.size.triggers, func(i int) error { return one(ctx, d.pool, client, flowName(i)) })
	}
}

// repeat does something n times and returns what that used.
func (d *database) repeat(ctx context.Context, n int, one func(i int) error) (metrics, error) {
	u, err := d.use(ctx)
	if err != nil {
		return nil, err
	}
	for i := range n {
		if err := one(i); err != nil {
			return nil, err
		}
	}
	return u.done(ctx, n)
}

func trigger(ctx context.Context, _ *pgxpool.Pool, c *dataflow.Client, flow string) error {
	_, err := c.Trigger(ctx, flow, nil)
	return err
}

func triggerTx(ctx context.Context, pool *pgxpool.Pool, c *dataflow.Client, flow string) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := c.TriggerTx(ctx, dataflowpgx.Tx(tx), flow, nil)
		return err
	})
}

// inserting inserts River jobs that nobody works, one after the other.
func (e *env) inserting(one func(ctx context.Context, pool *pgxpool.Pool, rc *river.Client[pgx.Tx], i int) error) side {
	return func(ctx context.Context) (m metrics, err error) {
		d, err := e.fresh(ctx)
		if err != nil {
			return nil, err
		}
		defer d.drop(ctx, &err)
		rc, err := river.NewClient(riverpgxv5.New(d.pool), &river.Config{Logger: quiet()})
		if err != nil {
			return nil, err
		}
		return d.repeat(ctx, e.size.triggers, func(i int) error { return one(ctx, d.pool, rc, i) })
	}
}

func insert(ctx context.Context, _ *pgxpool.Pool, rc *river.Client[pgx.Tx], i int) error {
	_, err := rc.Insert(ctx, noopArgs{FlowID: int64(i), RunID: int64(i)}, nil)
	return err
}

func insertTx(ctx context.Context, pool *pgxpool.Pool, rc *river.Client[pgx.Tx], i int) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := rc.InsertTx(ctx, tx, noopArgs{FlowID: int64(i), RunID: int64(i)}, nil)
		return err
	})
}

// pauseBetween is how long a process is idle between two samples, longer than River's cooldown.
const pauseBetween = 150 * time.Millisecond

// latency measures the time from enqueue to the beginning of the work, in an idle process.
func (e *env) latency(ctx context.Context, r *reads, enqueue func(ctx context.Context) error) (metrics, error) {
	began := make(chan time.Time, 1)
	r.on = func() { began <- time.Now() }
	all := make([]time.Duration, 0, e.size.samples)
	for range e.size.samples {
		select {
		case <-time.After(pauseBetween):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		asked := time.Now()
		if err := enqueue(ctx); err != nil {
			return nil, err
		}
		select {
		case at := <-began:
			all = append(all, at.Sub(asked))
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return metrics{"p50": quantile(all, 0.5), "p99": quantile(all, 0.99)}, nil
}

func (e *env) flowLatency(rt dataflow.Runtime) side {
	return func(ctx context.Context) (m metrics, err error) {
		d, err := e.fresh(ctx)
		if err != nil {
			return nil, err
		}
		defer d.drop(ctx, &err)
		r := &reads{all: make(chan struct{})}
		client, err := e.client(d, e.plain(), noops(1, r, rt))
		if err != nil {
			return nil, err
		}
		if err := client.Start(ctx); err != nil {
			return nil, err
		}
		defer stop(ctx, client)
		return e.latency(ctx, r, func(ctx context.Context) error {
			_, err := client.Enqueue(ctx, flowName(0), nil)
			return err
		})
	}
}

func (e *env) riverLatency() side {
	return func(ctx context.Context) (m metrics, err error) {
		d, err := e.fresh(ctx)
		if err != nil {
			return nil, err
		}
		defer d.drop(ctx, &err)
		r := &reads{all: make(chan struct{})}
		rc, err := riverClient(d, e.plain(), r)
		if err != nil {
			return nil, err
		}
		if err := rc.Start(ctx); err != nil {
			return nil, err
		}
		defer stop(ctx, rc)
		return e.latency(ctx, r, func(ctx context.Context) error {
			_, err := rc.Insert(ctx, noopArgs{}, nil)
			return err
		})
	}
}
