package main

import (
	"context"
	"errors"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
)

// openDBOS connects DBOS. It closes the pool itself.
func openDBOS(ctx context.Context, d *database) (dbos.Context, error) {
	config, err := pgxpool.ParseConfig(d.url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	return dbos.NewContext(ctx, dbos.Config{AppName: "scale", SystemDBPool: pool, Logger: quiet()})
}

// withDBOS runs fn with a launched DBOS that has a no-op workflow.
func (e *env) withDBOS(ctx context.Context, on func(), fn func(c dbos.Context, d *database, noop dbos.Workflow[int64, int64]) (metrics, error)) (m metrics, err error) {
	d, err := e.fresh(ctx)
	if err != nil {
		return nil, err
	}
	defer d.drop(ctx, &err)
	c, err := openDBOS(ctx, d)
	if err != nil {
		return nil, err
	}
	noop := func(_ dbos.Context, n int64) (int64, error) { on(); return n, nil }
	dbos.RegisterWorkflow(c, noop, dbos.WithWorkflowName("noop"))
	if err := dbos.Launch(c); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dbos.Shutdown(c, 10*time.Second)) }()
	return fn(c, d, noop)
}

// dbosInProcess runs workflows from as many goroutines as there are workers.
func (e *env) dbosInProcess(n int) side {
	return func(ctx context.Context) (metrics, error) {
		return e.withDBOS(ctx, func() {}, func(c dbos.Context, d *database, noop dbos.Workflow[int64, int64]) (metrics, error) {
			u, err := d.use(ctx)
			if err != nil {
				return nil, err
			}
			err = spreadOver(ctx, n, e.size.workers, func(_ context.Context, i int) error {
				h, err := dbos.RunWorkflow(c, noop, int64(i))
				if err == nil {
					_, err = h.GetResult()
				}
				return err
			})
			if err != nil {
				return nil, err
			}
			return u.done(ctx, n)
		})
	}
}

const sqlWorkflowsLeft = `select count(*) from dbos.workflow_status where status in ('ENQUEUED', 'PENDING')`

// dbosDrained enqueues workflows before there is a worker, and waits until one has ended them
// all. The time includes the start of the worker, which looks at its tables first.
func (e *env) dbosDrained(n int) side {
	return func(ctx context.Context) (m metrics, err error) {
		d, err := e.fresh(ctx)
		if err != nil {
			return nil, err
		}
		defer d.drop(ctx, &err)
		noop := func(_ dbos.Context, n int64) (int64, error) { return n, nil }
		start := func() (dbos.Context, error) {
			c, err := openDBOS(ctx, d)
			if err != nil {
				return nil, err
			}
			dbos.RegisterWorkflow(c, noop, dbos.WithWorkflowName("noop"))
			if _, err := dbos.RegisterQueue(c, "noops", dbos.WithWorkerConcurrency(n)); err != nil {
				return nil, err
			}
			return c, dbos.Launch(c)
		}
		c, err := start() // makes the tables and the queue
		if err != nil {
			return nil, err
		}
		if err := dbos.Shutdown(c, 10*time.Second); err != nil {
			return nil, err
		}
		sender, err := dbos.NewClient(ctx, dbos.ClientConfig{DatabaseURL: d.url, AppName: "scale", Logger: quiet()})
		if err != nil {
			return nil, err
		}
		err = spreadOver(ctx, n, 8, func(_ context.Context, i int) error {
			_, err := dbos.Enqueue[int64](sender, "noops", "noop", int64(i))
			return err
		})
		if err := errors.Join(err, d.exec(ctx, "analyze")); err != nil {
			return nil, err
		}
		u, err := d.use(ctx)
		if err != nil {
			return nil, err
		}
		if c, err = start(); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, dbos.Shutdown(c, 10*time.Second)) }()
		if err := d.none(ctx, sqlWorkflowsLeft); err != nil {
			return nil, err
		}
		return u.done(ctx, n)
	}
}

// inProcess works runs on Heartbeat in the calling goroutines.
func (e *env) inProcess(n int) side {
	return func(ctx context.Context) (m metrics, err error) {
		d, err := e.fresh(ctx)
		if err != nil {
			return nil, err
		}
		defer d.drop(ctx, &err)
		flows := e.size.runFlows
		client, err := e.client(d, nil, noops(flows, &reads{}, dataflow.Heartbeat{}))
		if err != nil {
			return nil, err
		}
		if err := client.Register(ctx); err != nil {
			return nil, err
		}
		if err := d.exec(ctx, "analyze"); err != nil {
			return nil, err
		}
		u, err := d.use(ctx)
		if err != nil {
			return nil, err
		}
		err = spreadOver(ctx, n, e.size.workers, func(ctx context.Context, i int) error {
			_, err := client.Trigger(ctx, flowName(i%flows), nil)
			return err
		})
		if err != nil {
			return nil, err
		}
		return u.done(ctx, n)
	}
}
