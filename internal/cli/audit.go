package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

func (a *app) auditCommand() *cobra.Command {
	var p dataflow.AuditListParams
	cmd := &cobra.Command{
		Use: "audit", Short: "List who did what to flows and runs, newest first", Args: cobra.NoArgs,
		Long: `List the audit log, newest first: who paused, resumed, triggered, backfilled, cancelled or retried
what, set a cursor, or dealt with dead letters. -o json has what it was before and after.`,
	}
	cmd.RunE = a.on(func(ctx context.Context, s *session, _ []string) error {
		if cmd.Flags().Changed("flow") { // an unknown flow is an error, not a list of all
			if _, err := s.client.Flow(ctx, p.Flow); err != nil {
				return err
			}
		}
		entries, err := s.client.Audit(ctx, &p)
		if err != nil {
			return err
		}
		return showList(s, entries, p.Limit, func(e *dataflow.AuditEntry) int64 { return e.ID }, jsonview.OfAuditEntry, func(page *page) {
			if len(entries) == 0 {
				page.line("Nobody has done anything.")
				return
			}
			page.table([]string{"ENTRY", "AT", "BY", "ACTION", "FLOW", "RUN", "REASON"}, jsonview.All(entries, func(e *dataflow.AuditEntry) []string {
				run := "-"
				if e.RunID != 0 {
					run = fmt.Sprint(e.RunID)
				}
				return []string{fmt.Sprint(e.ID), moment(&e.At), orDash(e.Actor), string(e.Action), e.FlowName, run, orDash(clip(e.Reason, 60))}
			}))
		})
	})
	cmd.Flags().StringVar(&p.Flow, "flow", "", "only what was done to this flow")
	cmd.Flags().Var(filled{&p.Actor}, "actor", "only what this actor did")
	idFlag(cmd, &p.Before, "before", "only entries older than this one, such as the last of the previous page")
	limitFlag(cmd, &p.Limit, 20, "how many")
	return a.example(cmd, "audit", "audit --flow orders --actor ann")
}
