package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

func (a *app) backfillCommand() *cobra.Command {
	var p dataflow.BackfillParams
	var by byWhom
	var at, params string
	var bounds places
	var ranges int
	var w waiting
	cmd := &cobra.Command{
		Use: "backfill NAME", Short: "Read a part of a flow's source again, and leave its cursor where it is", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeFlows,
		Long: `Read a part of a flow's source again, and leave its cursor where it is.

--from and --until are dates, times or cursors:

- A date is a day in the zone of --zone: --from 2026-11-01 --until 2026-11-30 reads all of
  November. The source must be ordered by a time, as a Keyset whose key begins with one.
- A time is a moment, such as 2026-11-28T09:30:00Z: records from the first one on are read,
  and before the second one.
- A cursor is JSON, in the form that cursor show and run show write: records after the first
  one are read, up to and including the second one.

If the source's times have no zone, a date or a time means what is written in the table.

A backfill is a run: run show tells its progress, run cancel ends it, and run retry continues
it. By default it takes one of the flow's slots, and lets the flow's own runs go first. If the
flow has MaxBackfills, up to that many backfills are worked at once, beside its own runs.

--ranges cuts the records into so many parts of about the same size. Each part is a backfill
of its own, so several machines can work them at once. Either all of them are made or none.
While one of them waits, the same command makes no more. The source must support ranges.

The program must have the flow's code, and the source must support --from, --until and
--params if they are given.`,
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			if err := w.check("wait"); err != nil {
				return err
			}
			p.Params = orNone(params)
			p.Actor, p.Reason = by.actorOr(s.Env), by.reason
			var err error
			if p.At, err = parseTime(at); err != nil {
				return err
			}
			note, err := bounds.into(&p)
			if err != nil {
				return err
			}
			dividing, end := s.longWork(ctx, 0)
			runs, err := s.client.BackfillRanges(dividing, args[0], ranges, &p)
			end()
			if err != nil {
				return inFlags(err)
			}
			if note != "" {
				s.note(note)
			}
			ctx, cancel := w.limit(ctx)
			defer cancel()
			switch {
			case w.wait:
				if err := s.waitForRanges(ctx, runs); err != nil {
					return err
				}
				return s.tellNotes(ctx, args[0])
			case ranges == 1:
				return s.enqueued(ctx, runs[0])
			default:
				return s.showRanges(runs)
			}
		}),
	}
	flags := cmd.Flags()
	flags.Var(filled{&bounds.from}, "from", "read from this date or time on, or after this cursor (default: from the beginning)")
	flags.Var(filled{&bounds.until}, "until", "read to the end of this date, before this time, or up to this cursor (default: to the end)")
	flags.Var(filled{&bounds.zone}, "zone", "the time zone of dates, and of times without one, such as Europe/Berlin (default: UTC)")
	flags.IntVar(&ranges, "ranges", 1, "how many parts to cut the records into, each a run of its own")
	flags.Var(filled{&params}, "params", "parameters for the source, as JSON")
	flags.BoolVar(&p.Append, "append", false, "write even to an append-only sink, where records may then be duplicated")
	flags.Var(filled{&at}, "at", "when to start, such as 2027-01-31T09:30:00Z (default: now)")
	w.flags(cmd, "wait", "w")
	by.flags(cmd)
	return a.example(cmd, "backfill orders --from 2026-11-28 --until 2026-11-28 --wait", "backfill orders --from 1000 --until 2000", "backfill orders --ranges 8 --wait", `backfill orders --params '{"day": "2026-11-01"}'`)
}

// orNone is the JSON of a flag, or nil if the flag is empty.
func orNone(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}

// showRanges lists the runs of ranges.
func (s *session) showRanges(runs []*dataflow.Run) error {
	return s.show(jsonview.All(runs, jsonview.OfRun), func(p *page) {
		if runs[0].Coalesced {
			p.line("Ranges of this backfill were waiting already, and no more were made. These have not ended:")
		}
		rows := make([][]string, len(runs))
		for i, run := range runs {
			rows[i] = []string{fmt.Sprint(run.ID), string(run.State), cursorOr(run.FromCursor, "the beginning"), cursorOr(run.UntilCursor, "the end")}
		}
		p.table([]string{"RUN", "STATE", "FROM", "UNTIL"}, rows)
		p.line("Processes with the flow's code work them: %s run list %s --trigger backfill shows how far they are.", s.program.Name, quoted(runs[0].FlowName))
	})
}

func cursorOr(cursor json.RawMessage, none string) string {
	if cursor == nil || string(cursor) == "null" { // a run that has begun at the beginning stores null
		return none
	}
	return clip(string(cursor), 60)
}

// waitForRanges follows runs one after the other, and works those that it can. Other
// processes may work more of them meanwhile. It returns the errors of the runs that did not
// succeed.
func (s *session) waitForRanges(ctx context.Context, runs []*dataflow.Run) error {
	var errs []error
	for _, made := range runs {
		run, err := s.client.Run(ctx, made.ID)
		if err != nil {
			err = s.unlessOver(ctx, made, err)
		} else {
			err = s.waitForEnd(ctx, run)
		}
		if errs = append(errs, err); ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// inFlags replaces the names of the library's fields in an error by the flags of backfill.
func inFlags(err error) error {
	var ce *dataflow.ConfigError
	if !errors.As(err, &ce) || errors.Is(err, dataflow.ErrNotRegistered) {
		return err
	}
	// Of several faults, each begins a line.
	return usage("%s", strings.NewReplacer(
		"\nUntil: ", "\n--until: ", "\nUntilTime: ", "\n--until: ", "\nParams: ", "\n--params: ", "\nAppend: ", "\n--append: ",
		" From: ", " --from: ", " Until: ", " --until: ", " FromTime: ", " --from: ", " UntilTime: ", " --until: ", " Params: ", " --params: ", " n: ", " --ranges: ",
		" Append: ", " --append: ", "set Append to", "give --append to",
	).Replace(message(err)))
}
