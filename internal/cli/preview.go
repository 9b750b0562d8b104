package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

// previewView is a dry run as JSON.
type previewView struct {
	Flow     string              `json:"flow"`
	From     json.RawMessage     `json:"from"`
	To       json.RawMessage     `json:"to,omitempty"`
	More     bool                `json:"more"`
	Written  bool                `json:"written"`
	Counters dataflow.Counters   `json:"counters"`
	Records  []previewRecordView `json:"records"`
	// File says how the CSV file of the flow seems to be written.
	File string `json:"file,omitempty"`
}

type previewRecordView struct {
	Key     string            `json:"key"`
	Outcome string            `json:"outcome"`
	Before  json.RawMessage   `json:"before,omitempty"`
	After   []json.RawMessage `json:"after,omitempty"`
	Stage   string            `json:"stage,omitempty"`
	Error   string            `json:"error,omitempty"`
	Action  string            `json:"action,omitempty"`
}

func viewPreview(r *dataflow.DryRunReport) previewView {
	return previewView{
		Flow: r.Flow, From: jsonview.OrNull(r.From), To: jsonview.Canonical(r.To), More: r.More, Written: r.Written, Counters: r.Counters,
		Records: jsonview.All(r.Records, func(rec dataflow.DryRunRecord) previewRecordView {
			v := previewRecordView{Key: rec.Key, Outcome: string(rec.Outcome), Before: rec.Before, After: rec.After}
			if rec.Outcome == dataflow.DryRunBad {
				v.Stage, v.Error, v.Action = string(rec.Stage), rec.Error, rec.Action.String()
			}
			return v
		}),
	}
}

func (a *app) previewCommand() *cobra.Command {
	var p dataflow.DryRunParams
	var from, params, file string
	cmd := &cobra.Command{
		Use: "preview (NAME | --file FILE)", Short: "Run the next records through a flow's code, and write nothing", ValidArgsFunction: a.completeFlows,
		Args: func(cmd *cobra.Command, args []string) error {
			if file != "" {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		Long: `Run the next records through a flow's code, and write nothing.

A sink in the database writes, and its transaction is rolled back. So the preview shows which
records are new, which replace a row, and which are refused. A sink outside the database is
not called. The flow's cursor, counters, dead letters and runs stay as they are. Other effects
of the transform are not undone.

The program must have the flow's code.

If the flow reads a CSV file, the preview also says how the file seems to be written. With
--file it does so for any file, without a flow and a database: it guesses encoding, separator,
quotes, title, header and footer, reads the file so, and says which options of csvfile that
means, and what is in doubt. No flow uses a guess.`,
	}
	flow := a.on(func(ctx context.Context, s *session, args []string) error {
		p.From, p.Params = orNone(from), orNone(params)
		guessed := ""
		if f, err := s.client.Flow(ctx, args[0]); err == nil {
			guessed = guessOf(ctx, f, s.program.Name)
		}
		r, err := s.client.DryRun(ctx, args[0], &p)
		if err != nil && guessed != "" {
			return fmt.Errorf("%w\n%s", err, guessed)
		}
		if err != nil {
			return err
		}
		v := viewPreview(r)
		v.File = guessed
		return s.show(v, func(p *page) {
			if previewPage(p, r); guessed != "" {
				p.line("%s", guessed)
			}
			if len(r.Records) > 0 {
				p.line("%s enqueue %s --wait works them.", s.program.Name, quoted(args[0]))
			}
		})
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if file != "" {
			return a.previewFile(cmd.Context(), file)
		}
		return flow(cmd, args)
	}
	flags := cmd.Flags()
	limitFlag(cmd, &p.Limit, 10, "how many records")
	flags.Var(filled{&from}, "from", "read the records after this cursor, as JSON; null is the beginning (default: the flow's cursor)")
	flags.Var(filled{&file}, "file", "guess how this CSV file is written, and show no flow")
	flags.Var(filled{&params}, "params", "parameters for the source, as JSON")
	return a.example(cmd, "preview orders --limit 20", "preview --file orders.csv")
}

func previewPage(p *page, r *dataflow.DryRunReport) {
	where := "at the beginning"
	if r.From != nil {
		where = "after " + clip(place(r.From), 80)
	}
	if len(r.Records) == 0 {
		p.line("There are no records %s.", where)
		return
	}
	p.table([]string{"KEY", "OUTCOME", "BEFORE", "AFTER"}, jsonview.All(r.Records, func(rec dataflow.DryRunRecord) []string {
		after := make([]string, len(rec.After))
		for i, v := range rec.After {
			after[i] = string(v)
		}
		last := clip(strings.Join(after, ", "), 80)
		if rec.Outcome == dataflow.DryRunBad {
			last = fmt.Sprintf("%s: %s (%s)", rec.Stage, clip(rec.Error, 80), rec.Action)
		}
		return []string{clip(rec.Key, 40), string(rec.Outcome), clip(orDash(string(rec.Before)), 80), orDash(last)}
	}))
	p.line("%s, %s: %s", plural(len(r.Records), "record", "records"), where, records(r.Counters))
	if r.Written {
		p.line("They were written and rolled back: nothing has changed.")
	} else {
		p.line("The sink is outside the database and was not called.")
	}
}
