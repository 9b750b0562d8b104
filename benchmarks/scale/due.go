package main

import (
	"context"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"github.com/activedataflow/dataflow"
)

// everyMinute is the schedule of both sides.
const everyMinute = "* * * * *"

// nextMinute returns the next minute that leaves time to prepare.
func nextMinute() time.Time {
	at := time.Now().Truncate(time.Minute).Add(time.Minute)
	if time.Until(at) < 5*time.Second {
		at = at.Add(time.Minute)
	}
	return at
}

func sleepUntil(ctx context.Context, at time.Time) error {
	select {
	case <-time.After(time.Until(at)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Of the runs of one tick: how many there are, how many have started, and how long after the
// tick they were added and started.
const sqlTickOutcome = `
select count(*), count(started_at),
	coalesce(extract(epoch from max(created_at) - $1), 0)::float8,
	coalesce(extract(epoch from max(started_at) - $1), 0)::float8,
	coalesce(extract(epoch from percentile_disc(0.99) within group (order by created_at) - $1), 0)::float8
from dataflow_run where trigger = 'schedule' and scheduled_for = $1`

// due lets flows be due at one moment. The last of them must have started within a minute.
func (e *env) due(flows int, rt func(dataflow.Schedule) dataflow.Runtime, config func() *river.Config) side {
	return func(ctx context.Context) (m metrics, err error) {
		d, err := e.fresh(ctx)
		if err != nil {
			return nil, err
		}
		defer d.drop(ctx, &err)
		r := &reads{}
		client, err := e.client(d, config(), noops(flows, r, rt(dataflow.Schedule{Cron: everyMinute})))
		if err != nil {
			return nil, err
		}
		if err := client.Register(ctx); err != nil {
			return nil, err
		}
		// As autovacuum does after so many new rows. Tables that are empty stay as they are: an
		// analyzed one makes the planner keep plans that read whole tables.
		if err := d.exec(ctx, "analyze dataflow_flow"); err != nil {
			return nil, err
		}
		var at time.Time
		// Ticks during the registration and the start are not measured.
		for next := nextMinute(); ; next = nextMinute() {
			if _, err := d.pool.Exec(ctx, "update dataflow_flow set next_run_at = $1, next_run_local = $2", next, next.UTC().Format("2006-01-02T15:04:05")); err != nil {
				return nil, err
			}
			if at = next; time.Until(next) > 3*time.Second {
				break
			}
		}
		r.expect(flows)
		if err := client.Start(ctx); err != nil {
			return nil, err
		}
		defer stop(ctx, client)
		if late := time.Since(at); late > 0 {
			return nil, fmt.Errorf("starting %d flows ended %s after their tick", flows, late.Round(time.Second))
		}
		if err := sleepUntil(ctx, at); err != nil {
			return nil, err
		}
		u, err := d.use(ctx)
		if err != nil {
			return nil, err
		}
		limit, cancel := context.WithDeadline(ctx, at.Add(59*time.Second))
		defer cancel()
		waitErr := r.wait(limit)
		if m, err = u.done(ctx, max(r.count(), 1)); err != nil {
			return nil, err
		}
		// Only now: the count of many runs takes as long as the work of hundreds.
		var runs, started int
		var fired, last, p99 float64
		if err := d.pool.QueryRow(ctx, sqlTickOutcome, at).Scan(&runs, &started, &fired, &last, &p99); err != nil {
			return nil, err
		}
		if waitErr != nil {
			last = 60 // not within the minute
		}
		m["fired"], m["fired p99"], m["last"], m["started"] = fired, p99, last, float64(started)
		return m, nil
	}
}

// minutely is a schedule of River with the same ticks.
type minutely struct{}

// Next implements river.PeriodicSchedule.
func (minutely) Next(t time.Time) time.Time { return t.Truncate(time.Minute).Add(time.Minute) }

// dueRiver lets as many periodic jobs be due at one moment.
func (e *env) dueRiver(jobs int, config func() *river.Config) side {
	return func(ctx context.Context) (m metrics, err error) {
		d, err := e.fresh(ctx)
		if err != nil {
			return nil, err
		}
		defer d.drop(ctx, &err)
		r := &reads{}
		conf := config()
		for i := range jobs {
			conf.PeriodicJobs = append(conf.PeriodicJobs, river.NewPeriodicJob(minutely{}, func() (river.JobArgs, *river.InsertOpts) {
				return noopArgs{FlowID: int64(i)}, nil
			}, nil))
		}
		rc, err := riverClient(d, conf, r)
		if err != nil {
			return nil, err
		}
		if err := sleepUntil(ctx, nextMinute().Add(-20*time.Second)); err != nil { // so that a leader is there, and no tick before
			return nil, err
		}
		at := nextMinute()
		r.expect(jobs)
		if err := rc.Start(ctx); err != nil {
			return nil, err
		}
		defer stop(ctx, rc)
		if err := sleepUntil(ctx, at); err != nil {
			return nil, err
		}
		u, err := d.use(ctx)
		if err != nil {
			return nil, err
		}
		limit, cancel := context.WithDeadline(ctx, at.Add(59*time.Second))
		defer cancel()
		waitErr := r.wait(limit)
		last := time.Since(at).Seconds()
		if waitErr != nil {
			last = 60 // not within the minute
		}
		if m, err = u.done(ctx, jobs); err != nil {
			return nil, err
		}
		var fired float64
		err = d.pool.QueryRow(ctx, "select coalesce(extract(epoch from max(created_at) - $1), 0)::float8 from river_job where kind = 'noop' and created_at < $1 + interval '59 s'", at).Scan(&fired)
		m["last"], m["fired"] = last, fired
		return m, err
	}
}

// starting measures NewClient and Start of flows that are registered already.
func (e *env) starting(flows int) side {
	var d *database
	return func(ctx context.Context) (metrics, error) {
		schedule := dataflow.Schedule{Cron: "0 0 1 1 *"}
		if d == nil { // once: registering may take long
			var err error
			if d, err = e.fresh(ctx); err != nil {
				return nil, err
			}
			client, err := e.client(d, nil, noops(flows, &reads{}, dataflow.Heartbeat{Schedule: schedule}))
			if err != nil {
				return nil, err
			}
			began := time.Now()
			if err := client.Register(ctx); err != nil {
				return nil, err
			}
			first := time.Since(began).Seconds()
			if err := d.exec(ctx, "vacuum analyze"); err != nil {
				return nil, err
			}
			fmt.Printf("| first registration of %d flows | %s s | | | | | | |\n", flows, number(first))
		}
		all := noops(flows, &reads{}, dataflow.Heartbeat{Schedule: schedule})
		u, err := d.use(ctx)
		if err != nil {
			return nil, err
		}
		client, err := e.client(d, nil, all)
		if err != nil {
			return nil, err
		}
		if err := client.Start(ctx); err != nil {
			return nil, err
		}
		defer stop(ctx, client)
		return u.done(ctx, flows)
	}
}

// settling is how long a started process is left alone before its idle cost is measured.
const settling = 15 * time.Second

// idling measures the CPU of a process that has nothing to do, and that of Postgres.
func (e *env) idling(flows int, config func() *river.Config) side {
	return func(ctx context.Context) (m metrics, err error) {
		d, err := e.fresh(ctx)
		if err != nil {
			return nil, err
		}
		defer d.drop(ctx, &err)
		client, err := e.client(d, config(), noops(flows, &reads{}, dataflow.Heartbeat{Schedule: dataflow.Schedule{Cron: "0 0 1 1 *"}}))
		if err != nil {
			return nil, err
		}
		if err := client.Start(ctx); err != nil {
			return nil, err
		}
		defer stop(ctx, client)
		return d.idle(ctx)
	}
}

func (e *env) idlingRiver() side {
	return func(ctx context.Context) (m metrics, err error) {
		d, err := e.fresh(ctx)
		if err != nil {
			return nil, err
		}
		defer d.drop(ctx, &err)
		rc, err := riverClient(d, e.plain(), &reads{})
		if err != nil {
			return nil, err
		}
		if err := rc.Start(ctx); err != nil {
			return nil, err
		}
		defer stop(ctx, rc)
		return d.idle(ctx)
	}
}

func (d *database) idle(ctx context.Context) (metrics, error) {
	if err := d.exec(ctx, "vacuum analyze"); err != nil {
		return nil, err
	}
	if err := sleepUntil(ctx, time.Now().Add(settling)); err != nil {
		return nil, err
	}
	u, err := d.use(ctx)
	if err != nil {
		return nil, err
	}
	if err := sleepUntil(ctx, time.Now().Add(d.env.size.idleFor)); err != nil {
		return nil, err
	}
	m, err := u.done(ctx, 1)
	if err == nil {
		m["own %"], m["Postgres %"], m["statements/s"] = 100*m[ownCores], 100*m[serverCores], m["statements"]/m["seconds"]
	}
	return m, err
}
