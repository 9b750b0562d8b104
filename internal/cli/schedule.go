package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

func (a *app) scheduleCommand() *cobra.Command {
	return a.example(a.group("schedule", "Preview, compare and export schedules",
		a.scheduleNextCommand(), a.scheduleSyncCommand(), a.scheduleExportCommand()), "schedule next orders")
}

type ticksView struct {
	Flow  string      `json:"flow"`
	State string      `json:"state"`
	Ticks []time.Time `json:"ticks"`
}

func (a *app) scheduleNextCommand() *cobra.Command {
	var n int
	var after string
	cmd := &cobra.Command{
		Use: "next [NAME]", Short: "Show the next ticks of one flow or of all", Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeFlows,
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			from, err := parseTime(after)
			if err != nil {
				return err
			}
			if from.IsZero() {
				if from, err = s.store.Now(ctx); err != nil {
					return err
				}
			}
			flows, err := s.flowsNamed(ctx, args)
			if err != nil {
				return err
			}
			var all []ticksView
			for _, f := range flows {
				ticks, err := f.Next(from, n)
				if err != nil {
					return err
				}
				all = append(all, ticksView{Flow: f.Name, State: flowState(f), Ticks: jsonview.All(ticks, time.Time.UTC)})
			}
			return s.show(jsonview.All(all, func(v ticksView) ticksView { return v }), func(p *page) { ticksPage(p, all) })
		}),
	}
	numberFlag(cmd, &n, "number,n", 5, 1, pageMost, "how many ticks")
	cmd.Flags().Var(filled{&after}, "after", "only ticks after this time, such as 2027-03-28T00:00:00Z (default: now)")
	return a.example(cmd, "schedule next orders -n 10", "schedule next --after 2027-03-28T00:00:00Z")
}

// flowsNamed returns one flow, or all if none is named.
func (s *session) flowsNamed(ctx context.Context, args []string) ([]*dataflow.Flow, error) {
	if len(args) == 0 {
		return s.flows(ctx, "")
	}
	f, err := s.client.Flow(ctx, args[0])
	return []*dataflow.Flow{f}, err
}

func ticksPage(p *page, all []ticksView) {
	var rows [][]string
	for _, v := range all {
		if len(v.Ticks) == 0 {
			rows = append(rows, []string{v.Flow, v.State, "-"})
		}
		for _, tick := range v.Ticks {
			rows = append(rows, []string{v.Flow, v.State, fmt.Sprintf("%s %s", moment(&tick), tick.UTC().Format("Mon"))})
		}
	}
	p.table([]string{"FLOW", "STATE", "TICK"}, rows)
}

func (a *app) scheduleSyncCommand() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use: "sync", Short: "Write the program's flows and schedules to the database", Args: cobra.NoArgs,
		Long: `Write the program's flows and schedules to the database, as the program does when it starts.
Flows that are not in this program stay in the database, and paused flows stay paused.`,
		RunE: a.on(func(ctx context.Context, s *session, _ []string) error {
			changes, err := s.client.SyncSchedules(ctx, dryRun)
			if err != nil {
				return err
			}
			return s.show(jsonview.All(changes, func(c dataflow.ScheduleChange) dataflow.ScheduleChange { return c }), func(p *page) {
				for _, c := range changes {
					p.line("%s", c)
				}
				switch {
				case len(changes) == 0:
					p.line("There is no difference.")
				case dryRun:
					p.line("This is a dry run: nothing was changed.")
				}
			})
		}),
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show the differences")
	return a.example(cmd, "schedule sync --dry-run")
}

func (a *app) scheduleExportCommand() *cobra.Command {
	return a.example(&cobra.Command{
		Use: "export", Short: "Print the schedules in the database as YAML, to read and compare them", Args: cobra.NoArgs,
		RunE: a.on(func(ctx context.Context, s *session, _ []string) error {
			export, err := s.client.ExportSchedules(ctx)
			if err != nil {
				return err
			}
			for i, f := range export.Flows {
				export.Flows[i].State = dataflow.FlowState(jsonview.FlowState(f.State))
				export.Flows[i].Runtime, export.Flows[i].Schedule = jsonview.Canonical(f.Runtime), jsonview.Canonical(f.Schedule)
			}
			return s.show(export, func(p *page) { p.buf.WriteString(clean(export.String())) })
		}),
	}, "schedule export > schedules.yaml")
}
