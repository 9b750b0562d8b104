package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

func (a *app) deadLetterCommand() *cobra.Command {
	return a.example(a.group("dead-letter", "List and replay the bad records that were kept",
		a.deadLetterListCommand(), a.deadLetterShowCommand(), a.deadLetterReplayCommand(),
	), "dead-letter list orders")
}

// replayed says when a dead letter was replayed, or until when it is tried again by itself.
func replayed(l *dataflow.DeadLetterRecord) string {
	if l.RetryUntil == nil {
		return moment(l.ReplayedAt)
	}
	return fmt.Sprintf("tried again until %s (%d of %d)", moment(l.RetryUntil), l.Tries, l.Tries+l.TriesLeft)
}

func (a *app) deadLetterListCommand() *cobra.Command {
	var p dataflow.DeadLetterListParams
	cmd := &cobra.Command{
		Use: "list [NAME]", Short: "List the dead letters of one flow or of all, newest first", Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeFlows,
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			if len(args) > 0 { // an unknown flow is an error, not an empty list
				if _, err := s.client.Flow(ctx, args[0]); err != nil {
					return err
				}
				p.Flow = args[0]
			}
			letters, err := s.client.DeadLetters(ctx, &p)
			if err != nil {
				return err
			}
			return s.show(jsonview.All(letters, jsonview.OfDeadLetter), func(page *page) {
				if len(letters) == 0 {
					page.line("There are no such dead letters.")
					return
				}
				page.table([]string{"ID", "FLOW", "RUN", "STAGE", "KEY", "KEPT", "REPLAYED", "ERROR"}, jsonview.All(letters, func(l *dataflow.DeadLetterRecord) []string {
					return []string{
						fmt.Sprint(l.ID), l.FlowName, fmt.Sprint(l.RunID), string(l.Stage), clip(l.Key, 40), moment(&l.CreatedAt), replayed(l), clip(l.Error, 60),
					}
				}))
			})
		}),
	}
	flags := cmd.Flags()
	idFlag(cmd, &p.Run, "run", "only dead letters of this run")
	flags.BoolVar(&p.Open, "open", false, "only dead letters that have not been replayed")
	idFlag(cmd, &p.Before, "before", "only dead letters older than this one, such as the last of the previous page")
	limitFlag(cmd, &p.Limit, 20, "how many")
	return a.example(cmd, "dead-letter list orders --open")
}

func (a *app) deadLetterShowCommand() *cobra.Command {
	return a.example(&cobra.Command{
		Use: "show ID", Short: "Show a dead letter with its record", Args: cobra.ExactArgs(1),
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 63)
			if err != nil || id <= 0 {
				return usage("%q is not the id of a dead letter: use a number from dead-letter list", clip(args[0], 40))
			}
			letters, err := s.client.DeadLetters(ctx, &dataflow.DeadLetterListParams{Before: id + 1, Limit: 1})
			if err != nil {
				return err
			}
			if len(letters) == 0 || letters[0].ID != id {
				return fmt.Errorf("get dead letter %d: %w", id, dataflow.ErrNotFound)
			}
			l := letters[0]
			return s.show(jsonview.OfDeadLetter(l), func(p *page) {
				p.table(nil, [][]string{
					{"id", fmt.Sprint(l.ID)},
					{"flow", l.FlowName},
					{"run", fmt.Sprint(l.RunID)},
					{"stage", string(l.Stage)},
					{"key", l.Key},
					{"kept", moment(&l.CreatedAt)},
					{"replayed", replayed(l)},
					{"error", l.Error},
					{"record", orDash(string(jsonview.Canonical(l.Payload)))},
				})
			})
		}),
	}, "dead-letter show 7")
}

type replayView struct {
	Flow     string            `json:"flow"`
	Replayed []int64           `json:"replayed"`
	Failed   map[string]string `json:"failed"`
}

func (a *app) deadLetterReplayCommand() *cobra.Command {
	var ids []int64
	var all bool
	cmd := &cobra.Command{
		Use: "replay NAME", Short: "Send dead letters through a flow's transform to its sink again", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeFlows,
		Long: `Send dead letters through a flow's transform to its sink again: those given by --id, or, with
--all, all that have not been replayed. A dead letter that fails again stays, and the exit code
is 1.

The program must have the flow's code.`,
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			if all == (len(ids) > 0) {
				return usage("say which dead letters: either --id ID, from dead-letter list, or --all")
			}
			report, err := s.client.Replay(ctx, args[0], ids...)
			if report == nil {
				return err
			}
			if err := s.showReplay(args[0], report); err != nil {
				return err
			}
			if err == nil && len(report.Failed) > 0 {
				err = fmt.Errorf("of %s, %d failed", plural(len(report.Replayed)+len(report.Failed), "dead letter", "dead letters"), len(report.Failed))
			}
			return err
		}),
	}
	cmd.Flags().Var(idList{&ids}, "id", "the ids of dead letters, separated by commas")
	cmd.Flags().BoolVar(&all, "all", false, "all dead letters that have not been replayed")
	return a.example(cmd, "dead-letter replay orders --id 7,8", "dead-letter replay orders --all")
}

func (s *session) showReplay(flow string, r *dataflow.ReplayReport) error {
	v := replayView{Flow: flow, Replayed: append([]int64{}, r.Replayed...), Failed: make(map[string]string)}
	slices.Sort(v.Replayed)
	for id, err := range r.Failed {
		v.Failed[fmt.Sprint(id)] = message(err)
	}
	return s.show(v, func(p *page) {
		if len(r.Replayed)+len(r.Failed) == 0 {
			p.line("Flow %q has no dead letters that have not been replayed.", flow)
			return
		}
		p.line("%s replayed.", plural(len(r.Replayed), "dead letter was", "dead letters were"))
		for _, id := range slices.Sorted(maps.Keys(r.Failed)) {
			p.line("%d failed: %s", id, clip(message(r.Failed[id]), 200))
		}
	})
}
