package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

func (a *app) cursorCommand() *cobra.Command {
	return a.example(a.group("cursor", "Show and set where flows go on",
		a.cursorShowCommand(), a.cursorSetCommand(), a.cursorHistoryCommand(),
	), "cursor show orders")
}

// place formats a cursor for people.
func place(cursor json.RawMessage) string {
	if cursor == nil {
		return "the beginning"
	}
	return string(jsonview.Canonical(cursor))
}

func (a *app) cursorShowCommand() *cobra.Command {
	return a.example(&cobra.Command{
		Use: "show NAME", Short: "Show where a flow goes on, and who moved its cursor there", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeFlows,
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			cur, err := s.client.Cursor(ctx, args[0])
			if err != nil {
				return err
			}
			return s.showCursor(cur, "")
		}),
	}, "cursor show orders")
}

func (s *session) showCursor(cur *dataflow.FlowCursor, next string) error {
	by := "-"
	switch {
	case cur.Change != nil:
		by = fmt.Sprintf("%s: %s", orDash(cur.Change.Actor), orDash(cur.Change.Reason))
	case cur.RunID != 0:
		by = fmt.Sprintf("run %d", cur.RunID)
	}
	return s.show(jsonview.OfCursor(cur), func(p *page) {
		p.table(nil, [][]string{
			{"flow", cur.FlowName},
			{"cursor", place(cur.Cursor)},
			{"sequence number", fmt.Sprint(cur.Seq)},
			{"moved", moment(cur.At)},
			{"by", by},
		})
		if next != "" {
			p.line("%s", next)
		}
	})
}

// cursorTarget is the cursor to set, and the cursor that the caller expects now.
type cursorTarget struct {
	to, ifCursor string
	beginning    bool
	ifSeq        int64
}

func (t *cursorTarget) params() (*dataflow.SetCursorParams, error) {
	p := &dataflow.SetCursorParams{}
	switch {
	case t.beginning == (t.to != ""):
		return nil, usage("say where the flow goes on: either --to CURSOR, as cursor show writes it, or --beginning")
	case t.to != "":
		p.Cursor = json.RawMessage(t.to)
	}
	if t.ifCursor != "" {
		p.IfCursor = json.RawMessage(t.ifCursor)
	}
	if t.ifSeq >= 0 {
		p.IfSeq = &t.ifSeq
	}
	return p, nil
}

func (a *app) cursorSetCommand() *cobra.Command {
	var t cursorTarget
	var by byWhom
	cmd := a.confirmable(&cobra.Command{
		Use: "set NAME", Short: "Set where a flow goes on", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeFlows,
		Long: `Set where a flow goes on.

The cursor is in the form of the flow's source, as JSON: a text needs double quotes. It is set
only if no run of the flow is in progress, and only if the flow's cursor is still the one that
you have seen: give it as cursor show writes it, by --if-seq or --if-cursor. Without them the
command shows the present cursor and asks. --yes needs one of them.

If you go back, records are read again, and an append-only sink gets them twice. To read some
records again and leave the cursor where it is, use backfill.`,
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			p, err := t.params()
			if err != nil {
				return err
			}
			p.Actor, p.Reason = by.actorOr(s.Env), by.reason
			return s.setCursor(ctx, args[0], p)
		}),
	})
	flags := cmd.Flags()
	flags.Var(filled{&t.to}, "to", "the cursor, as JSON")
	flags.BoolVar(&t.beginning, "beginning", false, "go on at the beginning")
	numberFlag(cmd, &t.ifSeq, "if-seq", -1, 0, math.MaxInt64, "only if this is the sequence number")
	flags.Var(filled{&t.ifCursor}, "if-cursor", "only if this is the cursor; null is the beginning")
	by.flags(cmd)
	return a.example(cmd, `cursor set orders --to 4711 --reason "the last hour was wrong"`, "cursor set orders --beginning --if-seq 12 --yes")
}

func (s *session) setCursor(ctx context.Context, name string, p *dataflow.SetCursorParams) error {
	cur, err := s.client.Cursor(ctx, name)
	if err != nil {
		return err
	}
	if p.IfSeq == nil && p.IfCursor == nil {
		if s.yes {
			return usage("--yes needs the cursor that you have seen: give it as in --if-cursor %s, or its sequence number by --if-seq, which each run raises", quoted(string(jsonview.OrNull(cur.Cursor))))
		}
		p.IfSeq = &cur.Seq
	}
	if !s.yes && !s.Ask { // one answer that names all that is missing
		return usage("there is no terminal to ask on: use --yes, with the cursor that you have seen, as in --yes --if-cursor %s", quoted(string(jsonview.OrNull(cur.Cursor))))
	}
	what := fmt.Sprintf("This sets the cursor of flow %q from %s to %s.", name, clip(place(cur.Cursor), 200), clip(place(p.Cursor), 200))
	if err := s.confirm(ctx, what); err != nil {
		return err
	}
	if cur, err = s.client.SetCursor(ctx, name, p); err != nil {
		return err
	}
	return s.showCursor(cur, fmt.Sprintf("The flow's next run goes on there: %s enqueue %s starts one now.", s.program.Name, quoted(name)))
}

func (a *app) cursorHistoryCommand() *cobra.Command {
	var p dataflow.CursorHistoryParams
	cmd := &cobra.Command{
		Use: "history NAME", Short: "List who set a flow's cursor, newest first", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeFlows,
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			changes, err := s.client.CursorHistory(ctx, args[0], &p)
			if err != nil {
				return err
			}
			return showList(s, changes, p.Limit, func(c *dataflow.CursorChange) int64 { return c.ID }, jsonview.OfCursorChange, func(page *page) {
				if len(changes) == 0 {
					page.line("Nobody has set the cursor.")
					return
				}
				page.table([]string{"CHANGE", "AT", "FROM", "TO", "SEQ", "BY", "REASON"}, jsonview.All(changes, func(c *dataflow.CursorChange) []string {
					return []string{fmt.Sprint(c.ID), moment(&c.At), clip(place(c.From), 40), clip(place(c.To), 40), fmt.Sprint(c.Seq), orDash(c.Actor), orDash(clip(c.Reason, 60))}
				}))
			})
		}),
	}
	idFlag(cmd, &p.Before, "before", "only changes older than this one, such as the last of the previous page")
	limitFlag(cmd, &p.Limit, 20, "how many")
	return a.example(cmd, "cursor history orders")
}
