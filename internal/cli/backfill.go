package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
)

func (a *app) backfillCommand() *cobra.Command {
	var p dataflow.BackfillParams
	var by byWhom
	var from, until, params, at string
	var ranges int
	var wait bool
	cmd := &cobra.Command{
		Use: "backfill NAME", Short: "Read a part of a flow's source again, and leave its cursor where it is", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeFlows,
		Long: `Read a part of a flow's source again, and leave its cursor where it is.

--from and --until are cursors of the source, as JSON, as cursor show and run show write
them: records behind the one are read, up to the other, itself included. A backfill is a
run: run show tells how far it is, run cancel ends it, and run retry goes on where it was.
It takes a place of the flow, and lets the flow's own runs go first, unless the flow has
MaxBackfills: then so many are worked at once, beside them.

--ranges cuts what is to be read into so many parts of about the same size, each of them a
backfill of its own, so that they can be worked at once, on several machines. All of them
are made, or none. While one of them waits, asking again makes no others. The source must
tell where it can be cut.

The program must have the flow's code, and the source must heed what is asked of it.`,
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			p.From, p.Until, p.Params = orNone(from), orNone(until), orNone(params)
			p.Actor, p.Reason = by.actorOr(s.Env), by.reason
			var err error
			if p.At, err = parseTime(at); err != nil {
				return err
			}
			runs, err := s.client.BackfillRanges(ctx, args[0], ranges, &p)
			if err != nil {
				return inFlags(err)
			}
			switch {
			case ranges == 1 && wait:
				return s.waitFor(ctx, runs[0])
			case ranges == 1:
				return s.enqueued(ctx, runs[0])
			case wait:
				return s.waitForRanges(ctx, runs)
			default:
				return s.showRanges(runs)
			}
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&from, "from", "", "the cursor behind which it begins, as JSON (default: the beginning)")
	flags.StringVar(&until, "until", "", "the cursor up to which it goes, as JSON (default: to the end)")
	flags.IntVar(&ranges, "ranges", 1, "how many parts to cut it into, each a run of its own")
	flags.StringVar(&params, "params", "", "parameters for the source, as JSON")
	flags.BoolVar(&p.Append, "append", false, "write to a sink that only appends, although records may be there then twice")
	flags.StringVar(&at, "at", "", "when it starts, such as 2027-01-31T09:30:00Z (default: now)")
	flags.BoolVarP(&wait, "wait", "w", false, "show its progress until it has ended")
	by.flags(cmd)
	return a.example(cmd, "backfill orders --from 1000 --until 2000 --wait", "backfill orders --ranges 8 --wait", `backfill orders --params '{"day": "2026-11-01"}'`)
}

// orNone is JSON that was given, nil if none was.
func orNone(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}

// showRanges lists the runs of ranges.
func (s *session) showRanges(runs []*dataflow.Run) error {
	return s.show(views(runs, viewRun), func(p *page) {
		if runs[0].Coalesced {
			p.line("Ranges of this were waiting already, and no others were made. Those that have not ended are:")
		}
		rows := make([][]string, len(runs))
		for i, run := range runs {
			rows[i] = []string{fmt.Sprint(run.ID), string(run.State), cursorOr(run.FromCursor, "the beginning"), cursorOr(run.UntilCursor, "the end")}
		}
		p.table([]string{"RUN", "STATE", "FROM", "UNTIL"}, rows)
	})
}

func cursorOr(cursor json.RawMessage, none string) string {
	if cursor == nil || string(cursor) == "null" { // as one has that has begun there
		return none
	}
	return clip(string(cursor), 60)
}

// waitForRanges follows runs, one after the other, and works those that it may, while
// others may work more of them. It returns how those ended that did not succeed.
func (s *session) waitForRanges(ctx context.Context, runs []*dataflow.Run) error {
	var errs []error
	for _, run := range runs {
		run, err := s.client.Run(ctx, run.ID)
		if err == nil {
			err = s.waitFor(ctx, run)
		}
		if errs = append(errs, err); ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// inFlags names the flags of backfill where the library names its fields.
func inFlags(err error) error {
	var ce *dataflow.ConfigError
	if !errors.As(err, &ce) || errors.Is(err, dataflow.ErrNotRegistered) {
		return err
	}
	return usage("%s", strings.NewReplacer(
		" From: ", " --from: ", " Until: ", " --until: ", " Params: ", " --params: ", " n: ", " --ranges: ",
		" Append: ", " --append: ", "set Append if", "give --append if",
	).Replace(message(err)))
}
