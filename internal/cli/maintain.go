package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

type migratedRuntimes struct {
	To     string            `json:"to"`
	DryRun bool              `json:"dry_run"`
	Flows  []migratedRuntime `json:"flows"`
}

type migratedRuntime struct {
	Flow      string          `json:"flow"`
	From      json.RawMessage `json:"from"`
	To        json.RawMessage `json:"to"`
	Cancelled []int64         `json:"cancelled"`
	Enqueue   bool            `json:"enqueue"`
	Enqueued  int64           `json:"enqueued,omitempty"`
}

func (a *app) migrateRuntimeCommand() *cobra.Command {
	var o dataflow.MigrateRuntimesOptions
	cmd := &cobra.Command{
		Use: "migrate-runtime [NAME...] --to RUNTIME", Short: "Move flows to another runtime, such as job_queue", ValidArgsFunction: a.completeFlows,
		Long: `Move the named flows, or all, to another runtime: from heartbeat to job_queue, for
example, or back. Interval, schedule, batch size, cursor and state stay as they are. Runs that
wait on the old runtime are cancelled, and active flows get a run on the new one. If the command
is repeated, it completes a move that was interrupted, and otherwise changes nothing.`,
		RunE: a.on(func(ctx context.Context, s *session, names []string) error {
			if o.To == "" {
				return usage("say which runtime the flows get: --to job_queue or --to heartbeat")
			}
			o.Flows = names
			plan := o
			plan.DryRun = true
			report, err := s.client.MigrateRuntimes(ctx, &plan)
			if err != nil {
				return err
			}
			if !o.DryRun && len(report.Flows) > 0 {
				if err := s.confirm(ctx, moves(report)); err != nil {
					return err
				}
				work, end := s.longWork(ctx, 0)
				report, err = s.client.MigrateRuntimes(work, &o)
				end()
				if err != nil {
					return err
				}
			}
			report.DryRun = o.DryRun
			view, err := viewMigrated(report)
			if err != nil {
				return err
			}
			return s.show(view, view.page)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.To, "to", "", "the type of the runtime, such as job_queue")
	flags.StringVar(&o.Queue, "queue", "", "the River queue (default: "+dataflow.DefaultQueue+")")
	numberFlag(cmd, &o.Priority, "priority", 0, 1, priorityMost, "River's priority, 1 to 4")
	flags.StringVar(&o.Actor, "actor", "", "who does this (default: migration)")
	flags.BoolVar(&o.DryRun, "dry-run", false, "only show what would be done")
	return a.example(a.confirmable(cmd), "migrate-runtime --to job_queue --dry-run", "migrate-runtime orders --to job_queue --yes")
}

// moves says what a migration of runtimes would do.
func moves(plan *dataflow.MigrateRuntimesReport) string {
	moved, completed, cancelled := 0, 0, 0
	for _, f := range plan.Flows {
		if f.From.Type() == f.To.Type() { // an earlier move was interrupted
			completed++
		} else {
			moved++
		}
		cancelled += len(f.Cancelled)
	}
	text := "This "
	if moved > 0 {
		text += fmt.Sprintf("moves %s to %s, ", plural(moved, "flow", "flows"), plan.To)
	}
	if completed > 0 {
		text += fmt.Sprintf("completes the move of %s to %s, ", plural(completed, "flow", "flows"), plan.To)
	}
	return text + "and cancels " + plural(cancelled, "waiting run", "waiting runs") + "."
}

func viewMigrated(r *dataflow.MigrateRuntimesReport) (*migratedRuntimes, error) {
	view := &migratedRuntimes{To: r.To, DryRun: r.DryRun, Flows: make([]migratedRuntime, len(r.Flows))}
	for i, f := range r.Flows {
		from, err := json.Marshal(f.From)
		if err != nil {
			return nil, err
		}
		to, err := json.Marshal(f.To)
		if err != nil {
			return nil, err
		}
		view.Flows[i] = migratedRuntime{
			Flow: f.Flow, From: jsonview.Canonical(from), To: jsonview.Canonical(to), Cancelled: append([]int64{}, f.Cancelled...), Enqueue: f.Enqueue, Enqueued: f.Enqueued,
		}
	}
	return view, nil
}

func (v *migratedRuntimes) page(p *page) {
	if len(v.Flows) == 0 {
		p.line("There is nothing to move to %s.", v.To)
		return
	}
	p.table([]string{"FLOW", "FROM", "TO", "CANCELLED RUNS", "NEW RUN"}, jsonview.All(v.Flows, func(f migratedRuntime) []string {
		run := "-"
		switch {
		case f.Enqueued != 0:
			run = fmt.Sprint(f.Enqueued)
		case f.Enqueue:
			run = "one"
		}
		cancelled := "-"
		if len(f.Cancelled) > 0 {
			cancelled = clip(fmt.Sprint(f.Cancelled), 40)
		}
		return []string{f.Flow, runtimeText(f.From), runtimeText(f.To), cancelled, run}
	}))
	if v.DryRun {
		p.line("This is a dry run: nothing was changed. Without --dry-run, the command asks and does it.")
	}
}

// runtimeText shows the parts of a Runtime that a migration changes.
func runtimeText(data json.RawMessage) string {
	var v struct{ Type, Queue string }
	if err := json.Unmarshal(data, &v); err != nil {
		return clip(string(data), 40)
	}
	if v.Queue != "" {
		return v.Type + " " + v.Queue
	}
	return v.Type
}

type cleanupView struct {
	Success         int64 `json:"success"`
	Failed          int64 `json:"failed"`
	Cancelled       int64 `json:"cancelled"`
	SkippedTicks    int64 `json:"skipped_ticks"`
	DeadLetters     int64 `json:"dead_letters"`
	OpenDeadLetters int64 `json:"open_dead_letters"`
	Audit           int64 `json:"audit"`
	DryRun          bool  `json:"dry_run"`
}

func (a *app) cleanupCommand() *cobra.Command {
	var o dataflow.RetentionOptions
	var keep, success, failed, cancelled, open, audit retention
	cmd := &cobra.Command{
		Use: "cleanup", Short: "Remove old runs, skipped ticks and closed dead letters", Args: cobra.NoArgs,
		Long: `Remove ended runs, skipped ticks and closed dead letters that are older than --keep: a duration
such as 90d or 12h, or "forever". The default is 30 days. The last success of each flow stays.
The audit log is kept for 365 days, unless --audit says how long.

Dead letters that are still open stay, and their runs with them: their records may be nowhere
else. Only --open-dead-letters removes them.`,
		RunE: a.on(func(ctx context.Context, s *session, _ []string) error {
			o.SkippedTicks, o.DeadLetters, o.OpenDeadLetters, o.Audit = keep.or(0), keep.or(0), open.or(0), audit.or(0)
			o.Success, o.Failed, o.Cancelled = success.or(keep.or(0)), failed.or(keep.or(0)), cancelled.or(keep.or(0))
			plan := o
			plan.DryRun = true
			counting, end := s.longWork(ctx, 0)
			report, err := s.client.Cleanup(counting, &plan)
			end()
			if err != nil {
				return err
			}
			if !o.DryRun && report.Total() > 0 {
				what := fmt.Sprintf("%s: this removes %d runs, %d entries of skipped ticks, %d closed and %d open dead letters and %d entries of the audit log, for good.",
					s.name, report.Success+report.Failed+report.Cancelled, report.SkippedTicks, report.DeadLetters, report.OpenDeadLetters, report.Audit)
				if err := s.confirm(ctx, what); err != nil {
					return err
				}
				work, end := s.longWork(ctx, report.Total())
				report, err = s.client.Cleanup(work, &o)
				end()
				if err != nil {
					return fmt.Errorf("%w: %d rows were removed before", err, report.Total())
				}
			}
			view := cleanupView(*report)
			view.DryRun = o.DryRun
			return s.show(view, func(p *page) {
				if view.page(p); o.DryRun && report.Total() > 0 {
					p.line("This is a dry run: without --dry-run, the command asks and removes them.")
				}
			})
		}),
	}
	flags := cmd.Flags()
	flags.Var(&keep, "keep", "how long to keep everything without a flag of its own")
	flags.Var(&success, "success", "how long to keep successful runs")
	flags.Var(&failed, "failed", "how long to keep failed runs")
	flags.Var(&cancelled, "cancelled", "how long to keep cancelled runs")
	flags.Var(&open, "open-dead-letters", "how long to keep dead letters that nobody has closed (default forever)")
	flags.Var(&audit, "audit", "how long to keep the audit log")
	flags.BoolVar(&o.DryRun, "dry-run", false, "only count what would be removed")
	return a.example(a.confirmable(cmd), "cleanup --dry-run", "cleanup --keep 7d --failed 90d --yes")
}

func (v cleanupView) page(p *page) {
	done := "Removed"
	if v.DryRun {
		done = "Would remove"
	}
	p.line("%s %d successful, %d failed and %d cancelled runs, %d entries of skipped ticks, %d closed and %d open dead letters, %d entries of the audit log.",
		done, v.Success, v.Failed, v.Cancelled, v.SkippedTicks, v.DeadLetters, v.OpenDeadLetters, v.Audit)
}

// retention is a flag that says how long something is kept.
type retention struct {
	text string
	d    time.Duration
}

// or returns the duration of the flag, or another one if the flag was not given.
func (r *retention) or(other time.Duration) time.Duration {
	if r.text == "" {
		return other
	}
	return r.d
}

func (r *retention) String() string { return r.text }
func (r *retention) Type() string   { return "duration" }

func (r *retention) Set(text string) error {
	r.text = text
	if text == "forever" {
		r.d = -1
		return nil
	}
	var days int64
	var rest string
	if n, _ := fmt.Sscanf(text, "%d%s", &days, &rest); n == 2 && rest == "d" && days > 0 && days <= 36500 {
		r.d = time.Duration(days) * 24 * time.Hour
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return fmt.Errorf("use a duration such as 30d or 12h, or forever")
	}
	r.d = d
	return nil
}
