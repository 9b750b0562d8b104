package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
)

// history is two databases with the same flows and the same newest answers to all lists: one
// with a few ended runs, the other with millions.
type history struct{ small, full *database }

// historyFlows is how many flows the history has. The first has a tenth of all runs.
const historyFlows = 1000

// page is how many runs a list asks for.
const page = 20

// sqlFewRuns adds, for two flows, a page of runs of each state and trigger. They are the oldest
// ones, so that a list must not look for them among the others.
const sqlFewRuns = `
insert into dataflow_run (flow_id, trigger, state, scheduled_for, run_after, created_at, started_at, ended_at, max_attempts, attempt, lease_no, worker, read, written)
select f.id, t, s, at, at, at, at, at + interval '1 second', 5, 1, 1, 'worker', 10, 10
from (select id, name from dataflow_flow order by name limit 2) f,
	unnest(array['success', 'failed', 'cancelled']) with ordinality as s (s, sn),
	unnest(array['manual', 'schedule', 'retry', 'backfill', 'probe', 'registration', 'migration']) with ordinality as t (t, tn),
	generate_series(1, 20) i,
	lateral (select now() - interval '101 days' + ((sn * 100 + tn) * 100 + i) * interval '1 second' as at) x`

// sqlManyRuns adds runs that end within the days, the oldest first.
const sqlManyRuns = `
insert into dataflow_run (flow_id, trigger, state, scheduled_for, run_after, created_at, started_at, ended_at, max_attempts, attempt, lease_no, worker, read, written, river_job_id)
select ids[case when i % 10 = 0 then 1 else 2 + ((i * 7919) % (cardinality(ids) - 1))::int end], 'schedule',
	case when i % 10 = 0 or i % 50 <> 7 then 'success' else 'failed' end, at, at, at, at, at + interval '1 second', 5, 1, 1, 'worker', 10, 10, i
from generate_series(1, $1::bigint) i, (select array_agg(id order by name) as ids from dataflow_flow) f,
	lateral (select now() - interval '100 days' + i * (interval '99 days' / $1) as at) x`

func (h *history) fill(ctx context.Context, d *database, runs int) error {
	tx, err := d.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // after a commit, it does nothing
	// Indexes are made again at the end, which is quicker.
	rows, err := tx.Query(ctx, "select indexname, indexdef from pg_indexes where tablename = 'dataflow_run' and indexname <> 'dataflow_run_pkey' order by 1")
	if err != nil {
		return err
	}
	var statements, again []string
	for rows.Next() {
		var name, def string
		if err := rows.Scan(&name, &def); err != nil {
			return err
		}
		statements, again = append(statements, "drop index "+name), append(again, def)
	}
	statements = append(statements, "alter table dataflow_run disable trigger all", sqlFewRuns)
	if runs > 0 {
		statements = append(statements, strings.ReplaceAll(sqlManyRuns, "$1", fmt.Sprint(runs)))
	}
	statements = append(statements, `update dataflow_flow f set last_success_run = r.id from (
		select flow_id, max(id) as id from dataflow_run where state = 'success' group by 1) r where r.flow_id = f.id`,
		"alter table dataflow_run enable trigger all")
	for _, s := range append(statements, again...) {
		if _, err := tx.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	return d.exec(ctx, "vacuum analyze", "checkpoint")
}

// open makes both databases, once.
func (h *history) open(ctx context.Context, e *env) error {
	if h.full != nil {
		return nil
	}
	began := time.Now()
	small, err := e.fresh(ctx)
	if err != nil {
		return err
	}
	client, err := e.client(small, nil, h.flows(&reads{}))
	if err != nil {
		return err
	}
	if err := client.Register(ctx); err != nil {
		return err
	}
	small.pool.Close()
	full, err := e.copyOf(ctx, small.name)
	if err != nil {
		return err
	}
	if small, err = e.connect(ctx, small.name, connections, nil); err != nil {
		return err
	}
	if err := h.fill(ctx, small, 0); err != nil {
		return err
	}
	if err := h.fill(ctx, full, e.size.history); err != nil {
		return err
	}
	h.small, h.full = small, full
	slog.InfoContext(ctx, "history is filled", "runs", e.size.history, "took", time.Since(began).Round(time.Second))
	return nil
}

func (*history) flows(r *reads) []*dataflow.Flow {
	return noops(historyFlows, r, dataflow.Heartbeat{Interval: 24 * time.Hour})
}

// lists are all filters of Client.Runs.
func lists() []dataflow.RunListParams {
	var all []dataflow.RunListParams
	for _, flow := range []string{"", flowName(0), flowName(1)} {
		for _, states := range [][]dataflow.RunState{
			nil,
			{dataflow.RunPending},
			{dataflow.RunInProgress},
			{dataflow.RunSuccess},
			{dataflow.RunFailed},
			{dataflow.RunCancelled},
			{dataflow.RunPending, dataflow.RunInProgress},
			{dataflow.RunFailed, dataflow.RunCancelled},
		} {
			for _, trigger := range []dataflow.Trigger{"", dataflow.TriggerManual, dataflow.TriggerSchedule} {
				all = append(all, dataflow.RunListParams{Flow: flow, States: states, Trigger: trigger, Limit: page})
			}
		}
		all = append(all, dataflow.RunListParams{Flow: flow, Due: true, Limit: page}, dataflow.RunListParams{Flow: flow, Overdue: true, Limit: page})
	}
	return all
}

// round asks for everything once, and works some runs.
func (h *history) round(ctx context.Context, d *database, client *dataflow.Client) error {
	for _, p := range lists() {
		runs, err := client.Runs(ctx, &p)
		if err != nil {
			return err
		}
		if len(runs) < page { // the lists of live runs are short
			continue
		}
		p.Before = runs[page/2].ID
		if _, err := client.Runs(ctx, &p); err != nil {
			return err
		}
	}
	for i := range 2 {
		name := flowName(i)
		if _, err := client.Why(ctx, name); err != nil {
			return err
		}
		if _, err := client.Trigger(ctx, name, nil); err != nil { // adds, claims and ends a run
			return err
		}
		if _, err := client.SkippedTicks(ctx, &dataflow.TickListParams{Flow: name}); err != nil {
			return err
		}
	}
	if _, err := client.Flows(ctx, nil); err != nil {
		return err
	}
	due := "update dataflow_flow set next_run_at = date_trunc('second', now()) where name = '" + flowName(1) + "'"
	if err := d.exec(ctx, due); err != nil {
		return err
	}
	_, err := client.Tick(ctx)
	return err
}

// cost is what a statement needs on average.
type cost struct{ ms, blocks, calls float64 }

const sqlCosts = `
select query, sum(calls)::float8, sum(total_exec_time) / sum(calls), (sum(shared_blks_hit + shared_blks_read) / sum(calls))::float8
from pg_stat_statements where dbid = (select oid from pg_database where datname = $1) and query ~* '(from|into|update) *dataflow_' and query !~ 'date_trunc'
group by 1`

func (e *env) costs(ctx context.Context, d *database) (map[string]cost, error) {
	rows, err := e.admin.Query(ctx, sqlCosts, d.name)
	if err != nil {
		return nil, err
	}
	all := make(map[string]cost)
	for rows.Next() {
		var query string
		var c cost
		if err := rows.Scan(&query, &c.calls, &c.ms, &c.blocks); err != nil {
			return nil, err
		}
		all[query] = c
	}
	return all, rows.Err()
}

// chunksOfRounds is how often the two databases take turns.
const chunksOfRounds = 3

// What is added to both sides of a ratio, so that it says nothing about tiny differences.
const (
	someMS     = 0.05
	someBlocks = 20
)

// compare asks both databases for the same, with one kind of plans.
func (h *history) compare(e *env, mode string) side {
	return func(ctx context.Context) (metrics, error) {
		if err := h.open(ctx, e); err != nil {
			return nil, err
		}
		found := make(map[*database][]map[string]cost)
		for range chunksOfRounds {
			for _, d := range []*database{h.small, h.full} {
				one, err := h.chunk(ctx, e, d, mode)
				if err != nil {
					return nil, err
				}
				found[d] = append(found[d], one)
			}
		}
		m := metrics{"statements": 0, "worst time": 1, "worst blocks": 1}
		for query := range found[h.full][0] {
			small, full := least(found[h.small], query), least(found[h.full], query)
			if small.calls == 0 || full.calls == 0 {
				continue
			}
			m["statements"]++
			byTime, byBlocks := (full.ms+someMS)/(small.ms+someMS), (full.blocks+someBlocks)/(small.blocks+someBlocks)
			m["worst time"], m["worst blocks"] = max(m["worst time"], byTime), max(m["worst blocks"], byBlocks)
			if byTime > 1.3 || byBlocks > 2 {
				slog.WarnContext(ctx, "grows with history", "plan", mode, "time", byTime, "blocks", byBlocks, "small ms", small.ms, "full ms", full.ms,
					"small blocks", small.blocks, "full blocks", full.blocks, "query", brief(query))
			}
		}
		return m, nil
	}
}

// brief leaves out the columns that a statement selects.
func brief(query string) string {
	text := strings.Join(strings.Fields(query), " ")
	if _, after, ok := strings.Cut(text, " from dataflow_"); ok && strings.HasPrefix(text, "select") {
		text = "select … from dataflow_" + after
	}
	return text[:min(len(text), 900)]
}

func (h *history) chunk(ctx context.Context, e *env, d *database, mode string) (map[string]cost, error) {
	own, err := e.connect(ctx, d.name, 4, map[string]string{"plan_cache_mode": mode})
	if err != nil {
		return nil, err
	}
	defer own.pool.Close()
	client, err := e.client(own, nil, h.flows(&reads{}))
	if err != nil {
		return nil, err
	}
	if err := client.Register(ctx); err != nil {
		return nil, err
	}
	for i := range e.size.rounds/chunksOfRounds + 1 {
		if i == 1 { // the first round fills the caches
			if err := e.exec(ctx, "select pg_stat_statements_reset()"); err != nil {
				return nil, err
			}
		}
		if err := h.round(ctx, own, client); err != nil {
			return nil, err
		}
	}
	return e.costs(ctx, d)
}

// least returns the lowest costs of a statement in any chunk: the machine is never too quick.
func least(chunks []map[string]cost, query string) cost {
	var all []cost
	for _, c := range chunks {
		if one, ok := c[query]; ok {
			all = append(all, one)
		}
	}
	if len(all) == 0 {
		return cost{}
	}
	low := all[0]
	for _, c := range all {
		low.ms, low.blocks = min(low.ms, c.ms), min(low.blocks, c.blocks)
	}
	return low
}

func (e *env) historyBenches() []bench {
	h := &history{}
	c := &cleaning{history: h, env: e}
	var all []bench
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		kind := strings.Split(mode, "_")[1]
		all = append(all, bench{key: "history-" + kind, short: true, pairs: 1, ours: h.compare(e, mode), rows: []row{
			{work: fmt.Sprintf("%d ended runs against a few: slowest of all statements, %s plan, times as long", e.size.history, kind), metric: "worst time", kind: atMost, target: 1.3},
			{work: "blocks that it reads, times as many", metric: "worst blocks", kind: atMost, target: 2, firm: true},
			{work: "statements compared", metric: "statements"},
		}})
	}
	all = append(all,
		bench{key: "dry-run", short: true, ours: c.dryRun, rows: []row{{work: "dry run of a clean-up", metric: "seconds", unit: "s", kind: atMost, target: 2}}},
		bench{key: "cleanup", short: true, baseName: "one delete", pairs: 2, ours: c.cleanUp, base: c.oneDelete, rows: []row{
			{work: fmt.Sprintf("clean-up of %d runs, rows", c.band()), metric: "per second", unit: "a second", kind: speedAtLeast, target: 0.3},
			{work: "its longest transaction", metric: "longest", unit: "ms", kind: atMost, target: 100},
		}},
		bench{key: "beside", baseName: "without a clean-up", pairs: 2, ours: c.beside(true), base: c.beside(false), rows: []row{
			{work: "runs beside the clean-up, of 500 a second", metric: "per second", unit: "a second", kind: speedAtLeast, target: 0.9},
		}})
	return all
}
