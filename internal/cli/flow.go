package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

func (a *app) flowCommand() *cobra.Command {
	return a.example(a.group("flow", "List, explain, pause and resume flows",
		a.flowListCommand(), a.flowShowCommand(), a.flowWhyCommand(),
		a.flowStateCommand("pause NAME", "Start no runs of a flow, on any process, until it is resumed", "paused", (*dataflow.Client).Pause),
		a.flowStateCommand("resume NAME", "Let a flow run again; ticks missed while it was paused are not made up", "resumed", (*dataflow.Client).Resume),
	), "flow list")
}

// listPage is the page size of the lists that are shown whole.
const listPage = 1000

// flow finds a flow by its name or global id.
func (s *session) flow(ctx context.Context, name string) (*dataflow.Flow, error) {
	if strings.HasPrefix(name, "gid://") {
		return s.client.Locate(ctx, name)
	}
	return s.client.Flow(ctx, name)
}

// flows lists all flows.
func (s *session) flows(ctx context.Context, state dataflow.FlowState) ([]*dataflow.Flow, error) {
	p := dataflow.FlowListParams{State: state, Limit: listPage}
	var all []*dataflow.Flow
	for {
		flows, err := s.client.Flows(ctx, &p)
		all = append(all, flows...)
		if err != nil || len(flows) < listPage {
			return all, err
		}
		p.After = flows[len(flows)-1].Name
	}
}

func (a *app) flowListCommand() *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use: "list", Short: "List the flows in the database", Args: cobra.NoArgs,
		RunE: a.on(func(ctx context.Context, s *session, _ []string) error {
			stored := jsonview.StoredState(state)
			if state != "" && !stored.Valid() {
				return usage("%q is not a state of a flow: use active or paused", state)
			}
			flows, err := s.flows(ctx, stored)
			if err != nil {
				return err
			}
			return s.show(jsonview.All(flows, jsonview.OfFlow), func(p *page) {
				if len(flows) == 0 {
					p.line("There are no flows. A program registers its flows when it starts, and by migrate up.")
					return
				}
				p.table([]string{"FLOW", "STATE", "RUNTIME", "SCHEDULE", "NEXT TICK", "LAST RUN", "FAILURES"}, jsonview.All(flows, func(f *dataflow.Flow) []string {
					return []string{f.Name, flowState(f), f.Runtime.Type(), scheduleText(f), nextTick(f), moment(f.LastRunAt), fmt.Sprint(f.Failures)}
				}))
			})
		}),
	}
	cmd.Flags().Var(filled{&state}, "state", "only flows in this state: active or paused")
	return a.example(cmd, "flow list --state paused")
}

func (a *app) flowShowCommand() *cobra.Command {
	return a.example(&cobra.Command{
		Use: "show NAME", Short: "Show all that is stored of a flow, found by its name or global id", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeFlows,
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			f, err := s.flow(ctx, args[0])
			if err != nil {
				return err
			}
			return s.show(jsonview.OfFlow(f), func(p *page) { p.table(nil, flowFields(f)) })
		}),
	}, "flow show orders", "flow show gid://dataflow/Flow/1")
}

func flowFields(f *dataflow.Flow) [][]string {
	state := flowState(f)
	if f.StateBy != "" || f.StateReason != "" {
		state += fmt.Sprintf(", by %s at %s: %s", orDash(f.StateBy), moment(f.StateAt), orDash(f.StateReason))
	}
	return [][]string{
		{"id", fmt.Sprint(f.ID)},
		{"global id", f.GlobalID()},
		{"name", f.Name},
		{"state", state},
		{"tripped", orDash(f.TrippedReason)},
		{"runtime", string(jsonview.Canonical(f.RuntimeJSON))},
		{"source", string(jsonview.Canonical(f.Source))},
		{"sink", string(jsonview.Canonical(f.Sink))},
		{"guarantee", string(f.Guarantee)},
		{"next tick", nextTick(f)},
		{"last run", moment(f.LastRunAt)},
		{"last success", moment(f.LastSuccessAt)},
		{"last error", orDash(f.LastError)},
		{"failures", fmt.Sprint(f.Failures)},
		{"code version", orDash(f.CodeVersion)},
		{"created", moment(&f.CreatedAt)},
		{"updated", moment(&f.UpdatedAt)},
	}
}

// nextTick is when the next tick starts a run. While a flow is paused or disabled, none does.
func nextTick(f *dataflow.Flow) string {
	if !f.IsActive() || isDisabled(f) {
		return "-"
	}
	return moment(f.NextRunAt)
}

type setState func(c *dataflow.Client, ctx context.Context, name, actor, reason string) (*dataflow.Flow, error)

func (a *app) flowStateCommand(use, short, done string, set setState) *cobra.Command {
	var by byWhom
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeFlows,
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			f, err := set(s.client, ctx, args[0], by.actorOr(s.Env), by.reason)
			if err != nil {
				return err
			}
			return s.show(jsonview.OfFlow(f), func(p *page) {
				p.line("Flow %q is %s.", f.Name, done)
				switch {
				case f.IsActive() && isDisabled(f):
					p.line("Its runtime is disabled: it starts no runs until a program with an enabled one has registered it.")
				case f.IsActive() && f.NextRunAt != nil:
					p.line("Its next tick is at %s.", moment(f.NextRunAt))
				}
				if !f.IsActive() {
					p.line("A run in progress goes on. %s flow resume %s lets the flow run again.", a.program.Name, quoted(f.Name))
				}
			})
		}),
	}
	by.flags(cmd)
	reason := "the disk is full"
	if done == "resumed" {
		reason = "the disk has room again"
	}
	return a.example(cmd, fmt.Sprintf("flow %s orders --reason %q", cmd.Name(), reason))
}

// byWhom says who does something, and why.
type byWhom struct{ actor, reason string }

func (b *byWhom) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&b.actor, "actor", "", actorHelp)
	cmd.Flags().StringVar(&b.reason, "reason", "", "why")
}

// actorHelp explains --actor.
const actorHelp = "who does this (default: the user's name by USER, LOGNAME or USERNAME, else cli)"

func (b *byWhom) actorOr(env func(string) string) string {
	return cmp.Or(b.actor, env("USER"), env("LOGNAME"), env("USERNAME"), "cli")
}

func (a *app) flowWhyCommand() *cobra.Command {
	return a.example(&cobra.Command{
		Use: "why NAME", Short: "Say why a flow is not running now", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeFlows,
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			e, err := s.client.Why(ctx, args[0])
			if err != nil {
				return err
			}
			view := jsonview.OfWhy(e, func(text string) string { return s.inCommands(text, e.Flow) })
			return s.show(view, func(p *page) {
				for _, c := range view.Causes {
					p.line("%s", c.Text)
				}
			})
		}),
	}, "flow why orders")
}

// inCommands replaces the calls that the library recommends by commands.
func (s *session) inCommands(text, flow string) string {
	up := "run " + s.program.Name + " migrate up"
	resume := s.program.Name + " flow resume " + quoted(flow)
	tick := s.program.Name + " run-due"
	if len(s.config.Flows) == 0 { // it works no run
		tick = "run-due of a program with its code"
	}
	return strings.NewReplacer(
		"call client.Migrate once before Start", up,
		"call client.Migrate before Start", up,
		"call client.Resume to go on", "run "+resume+" to go on",
		"client.Resume goes on at once", resume+" goes on at once",
		"Only calls of client.Tick or of the heartbeat endpoint would.", "Only "+tick+" or a call of the heartbeat endpoint would.",
		"which client.Tick does not work", "which "+tick+" does not work",
		"or call of client.Tick, puts it back", "or "+s.program.Name+" run-due, puts it back",
	).Replace(text)
}
