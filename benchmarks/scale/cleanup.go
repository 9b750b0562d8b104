package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// cleaning removes the history, band by band: each measurement has runs of its own, the oldest
// that are left.
type cleaning struct {
	history *history
	env     *env
	bands   int // that are gone
}

// band is how many runs a measurement removes.
func (c *cleaning) band() int { return c.env.size.history / 20 }

// next opens the history, and returns the age at which the next band ends.
func (c *cleaning) next(ctx context.Context) (*database, time.Duration, error) {
	if err := c.history.open(ctx, c.env); err != nil {
		return nil, 0, err
	}
	c.bands++
	d := c.history.full
	if err := d.exec(ctx, "vacuum analyze dataflow_run", "checkpoint"); err != nil {
		return nil, 0, err
	}
	// The oldest few runs of each state are a few hours older, and belong to the first band.
	return d, 100*24*time.Hour - time.Duration(c.bands)*99*24*time.Hour/20, nil
}

// keeping are options that remove only successful runs older than an age.
func keeping(age time.Duration) *dataflow.RetentionOptions {
	return &dataflow.RetentionOptions{Success: age, Failed: -1, Cancelled: -1, SkippedTicks: -1, DeadLetters: -1, Audit: -1}
}

func (c *cleaning) cleanUp(ctx context.Context) (metrics, error) {
	d, age, err := c.next(ctx)
	if err != nil {
		return nil, err
	}
	longest := &longestTx{Driver: dataflowpgx.New(d.pool)}
	client, err := dataflow.NewClient(longest, &dataflow.Config{Logger: quiet()})
	if err != nil {
		return nil, err
	}
	u, err := d.use(ctx)
	if err != nil {
		return nil, err
	}
	report, err := client.Cleanup(ctx, keeping(age))
	if err != nil {
		return nil, err
	}
	if report.Success < int64(c.band()/2) {
		return nil, fmt.Errorf("only %d runs were removed, of %d", report.Success, c.band())
	}
	m, err := u.done(ctx, int(report.Success))
	if err == nil {
		m["longest"] = milliseconds(longest.took)
	}
	return m, err
}

func (c *cleaning) oneDelete(ctx context.Context) (metrics, error) {
	d, age, err := c.next(ctx)
	if err != nil {
		return nil, err
	}
	// Plans for foreign keys that the clean-up has made for its connections are not for this statement.
	conn, err := pgx.ConnectConfig(ctx, d.pool.Config().ConnConfig)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx) //nolint:errcheck // it is closed in any case
	u, err := d.use(ctx)
	if err != nil {
		return nil, err
	}
	tag, err := conn.Exec(ctx, "delete from dataflow_run where state = 'success' and ended_at < now() - $1::bigint * interval '1 microsecond'", age.Microseconds())
	if err != nil {
		return nil, err
	}
	return u.done(ctx, int(tag.RowsAffected()))
}

func (c *cleaning) dryRun(ctx context.Context) (metrics, error) {
	if err := c.history.open(ctx, c.env); err != nil {
		return nil, err
	}
	d := c.history.full
	client, err := dataflow.NewClient(dataflowpgx.New(d.pool), &dataflow.Config{Logger: quiet()})
	if err != nil {
		return nil, err
	}
	u, err := d.use(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := client.Cleanup(ctx, &dataflow.RetentionOptions{DryRun: true}); err != nil {
		return nil, err
	}
	return u.done(ctx, 1)
}

// besideRate is how many runs a second are asked for.
const besideRate = 500

// beside works runs in a started client, which cleans up by itself or does not.
func (c *cleaning) beside(clean bool) side {
	return func(ctx context.Context) (m metrics, err error) {
		d, age, err := c.next(ctx)
		if err != nil {
			return nil, err
		}
		keep := keeping(-1)
		if clean {
			keep = keeping(age)
			if err := d.exec(ctx, "delete from dataflow_upkeep"); err != nil { // so that it is due
				return nil, err
			}
		}
		client, err := dataflow.NewClient(dataflowpgx.New(d.pool), &dataflow.Config{
			Flows: noops(historyFlows, &reads{}, onQueue()), River: c.env.tuned(), Retention: *keep, Logger: quiet(),
		})
		if err != nil {
			return nil, err
		}
		if err := client.Start(ctx); err != nil {
			return nil, err
		}
		defer stop(ctx, client)
		ended, unsubscribe := client.Subscribe(dataflow.EventRunSucceeded)
		defer unsubscribe()
		timed, cancel := context.WithTimeout(ctx, c.env.size.beside)
		defer cancel()
		feeding := sync.WaitGroup{}
		feeding.Go(func() { err = feed(timed, client) })
		u, useErr := d.use(ctx)
		if useErr != nil {
			return nil, useErr
		}
		n := 0
		for timed.Err() == nil {
			select {
			case <-ended:
				n++
			case <-timed.Done():
			}
		}
		feeding.Wait()
		if err != nil || ctx.Err() != nil {
			return nil, fmt.Errorf("ask for runs: %w", err)
		}
		return u.done(ctx, max(n, 1))
	}
}

// feed asks for runs at a rate, until ctx is done.
func feed(ctx context.Context, client *dataflow.Client) error {
	began := time.Now()
	err := spreadOver(ctx, 1<<30, 8, func(ctx context.Context, i int) error {
		if err := sleepUntil(ctx, began.Add(time.Duration(i)*time.Second/besideRate)); err != nil {
			return err
		}
		_, err := client.Enqueue(ctx, flowName(i%historyFlows), nil)
		return err
	})
	if ctx.Err() != nil {
		return nil //nolint:nilerr // its time is over
	}
	return err
}

// longestTx is a driver that notes how long the longest transaction took.
type longestTx struct {
	dataflow.Driver

	mu   sync.Mutex // guards took
	took time.Duration
}

type longestTxStore struct {
	dataflow.Store

	longest *longestTx
}

// Store implements dataflow.Driver.
func (l *longestTx) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	s, err := l.Driver.Store(opts)
	return longestTxStore{s, l}, err
}

// InTx implements dataflow.Store.
func (s longestTxStore) InTx(ctx context.Context, fn func(ctx context.Context, tx dataflow.Tx) error) error {
	began := time.Now()
	err := s.Store.InTx(ctx, fn)
	s.longest.mu.Lock()
	defer s.longest.mu.Unlock()
	s.longest.took = max(s.longest.took, time.Since(began))
	return err
}
