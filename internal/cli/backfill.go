package cli

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
)

func (a *app) backfillCommand() *cobra.Command {
	var p dataflow.BackfillParams
	var by byWhom
	var from, until, params, at string
	var wait bool
	cmd := &cobra.Command{
		Use: "backfill NAME", Short: "Read a part of a flow's source again, and leave its cursor where it is", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeFlows,
		Long: `Read a part of a flow's source again, and leave its cursor where it is.

--from and --until are cursors of the source, as JSON, as cursor show and run show write
them: records behind the one are read, up to the other, itself included. A backfill is a
run: run show tells how far it is, run cancel ends it, and run retry goes on where it was.
It takes a place of the flow, and lets the flow's own runs go first.

The program must have the flow's code, and the source must heed what is asked of it.`,
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			p.From, p.Until, p.Params = orNone(from), orNone(until), orNone(params)
			p.Actor, p.Reason = by.actorOr(s.Env), by.reason
			var err error
			if p.At, err = parseTime(at); err != nil {
				return err
			}
			run, err := s.client.Backfill(ctx, args[0], &p)
			if err != nil {
				return err
			}
			if wait {
				return s.waitFor(ctx, run)
			}
			return s.enqueued(ctx, run)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&from, "from", "", "the cursor behind which it begins, as JSON (default: the beginning)")
	flags.StringVar(&until, "until", "", "the cursor up to which it goes, as JSON (default: to the end)")
	flags.StringVar(&params, "params", "", "parameters for the source, as JSON")
	flags.BoolVar(&p.Append, "append", false, "write to a sink that only appends, although records may be there then twice")
	flags.StringVar(&at, "at", "", "when it starts, such as 2027-01-31T09:30:00Z (default: now)")
	flags.BoolVarP(&wait, "wait", "w", false, "show its progress until it has ended")
	by.flags(cmd)
	return a.example(cmd, "backfill orders --from 1000 --until 2000 --wait", `backfill orders --params '{"day": "2026-11-01"}'`)
}

// orNone is JSON that was given, nil if none was.
func orNone(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}
