package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

func (a *app) deadLetterCommand() *cobra.Command {
	return a.example(a.group("dead-letter", "List, edit, replay and close the bad records that were kept",
		a.deadLetterListCommand(), a.deadLetterShowCommand(), a.deadLetterReplayCommand(), a.deadLetterEditCommand(),
		a.deadLetterCloseCommand(dataflow.DeadLetterResolved), a.deadLetterCloseCommand(dataflow.DeadLetterDiscarded),
	), "dead-letter list orders --open")
}

// letterState says what became of a dead letter, or until when it is tried again by itself.
func letterState(l *dataflow.DeadLetterRecord) string {
	switch {
	case l.ClosedAt != nil:
		text := string(l.State) + " " + moment(l.ClosedAt)
		if l.ClosedBy != "" {
			text += " by " + l.ClosedBy
		}
		return text
	case l.RetryUntil != nil:
		return fmt.Sprintf("open, tried again until %s (%d of %d)", moment(l.RetryUntil), l.Tries, l.Tries+l.TriesLeft)
	default:
		return string(l.State)
	}
}

// letterID reads the id of a dead letter.
func letterID(arg string) (int64, error) {
	id, err := strconv.ParseInt(arg, 10, 63)
	if err != nil || id <= 0 {
		return 0, usage("%q is not the id of a dead letter: use a number from dead-letter list", clip(arg, 40))
	}
	return id, nil
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
			if p.Run != 0 { // nor is an unknown run
				if _, err := s.client.Run(ctx, p.Run); err != nil {
					return err
				}
			}
			letters, err := s.client.DeadLetters(ctx, &p)
			if err != nil {
				return err
			}
			return showList(s, letters, p.Limit, func(l *dataflow.DeadLetterRecord) int64 { return l.ID }, jsonview.OfDeadLetter, func(page *page) {
				if len(letters) == 0 {
					page.line("There are no such dead letters.")
					return
				}
				page.table([]string{"ID", "FLOW", "RUN", "STAGE", "KEY", "TIMES", "LAST KEPT", "STATE", "ERROR"}, jsonview.All(letters, func(l *dataflow.DeadLetterRecord) []string {
					return []string{
						fmt.Sprint(l.ID), l.FlowName, fmt.Sprint(l.RunID), string(l.Stage), clip(l.Key, 40), fmt.Sprint(l.Times), moment(&l.LastAt), letterState(l), clip(l.Error, 120),
					}
				}))
			})
		}),
	}
	flags := cmd.Flags()
	idFlag(cmd, &p.Run, "run", "only dead letters of this run")
	flags.BoolVar(&p.Open, "open", false, "only dead letters that are open: neither replayed, nor resolved, nor discarded")
	flags.Var(filled{(*string)(&p.State)}, "state", "only dead letters in this state: open, replayed, resolved or discarded")
	idFlag(cmd, &p.Before, "before", "only dead letters older than this one, such as the last of the previous page")
	limitFlag(cmd, &p.Limit, 20, "how many")
	return a.example(cmd, "dead-letter list orders --open")
}

func (a *app) deadLetterShowCommand() *cobra.Command {
	return a.example(&cobra.Command{
		Use: "show ID", Short: "Show a dead letter with its record", Args: cobra.ExactArgs(1),
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			id, err := letterID(args[0])
			if err != nil {
				return err
			}
			l, err := s.client.DeadLetter(ctx, id)
			if err != nil {
				return err
			}
			return s.showLetter(l)
		}),
	}, "dead-letter show 7")
}

// showLetter shows a dead letter with its record, and what to do next.
func (s *session) showLetter(l *dataflow.DeadLetterRecord, next ...string) error {
	return s.show(jsonview.OfDeadLetter(l), func(p *page) {
		rows := [][]string{
			{"id", fmt.Sprint(l.ID)},
			{"flow", l.FlowName},
			{"run", fmt.Sprint(l.RunID)},
			{"stage", string(l.Stage)},
			{"key", l.Key},
			{"kept", moment(&l.CreatedAt)},
			{"times", fmt.Sprint(l.Times)},
			{"last kept", moment(&l.LastAt)},
			{"state", letterState(l)},
			{"reason", orDash(l.Reason)},
			{"error", l.Error},
			{"record", orDash(string(jsonview.Canonical(l.Payload)))},
		}
		if l.EditedAt != nil {
			rows = append(rows, []string{"edited", moment(l.EditedAt) + " by " + orDash(l.EditedBy)}, []string{"before that", orDash(string(jsonview.Canonical(l.Original)))})
		}
		p.table(nil, rows)
		for _, line := range next {
			p.line("%s", line)
		}
	})
}

type replayView struct {
	Flow     string            `json:"flow"`
	Replayed []int64           `json:"replayed"`
	Failed   map[string]string `json:"failed"`
}

func (a *app) deadLetterReplayCommand() *cobra.Command {
	var ids []int64
	var all bool
	var by byWhom
	cmd := &cobra.Command{
		Use: "replay NAME", Short: "Send dead letters through a flow's transform to its sink again", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeFlows,
		Long: `Send dead letters through a flow's transform to its sink again: those given by --id, or, with
--all, all that are open. A dead letter that fails again stays open, and the exit code is 1. Its
record can be mended by dead-letter edit.

A record that failed when it was read is read again by the source's own rules: a line of a CSV
file, for one, as a line of that file.

The program must have the flow's code.`,
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			if all == (len(ids) > 0) {
				return usage("say which dead letters: either --id ID, from dead-letter list, or --all")
			}
			work, end := s.longWork(ctx, 0)
			report, err := s.client.Replay(work, args[0], &dataflow.ReplayParams{IDs: ids, Actor: by.actorOr(s.Env), Reason: by.reason})
			end()
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
	cmd.Flags().BoolVar(&all, "all", false, "all dead letters that are open")
	by.flags(cmd)
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
			p.line("Flow %q has no open dead letters.", flow)
			return
		}
		p.line("%s replayed.", plural(len(r.Replayed), "dead letter was", "dead letters were"))
		for _, id := range slices.Sorted(maps.Keys(r.Failed)) {
			p.line("dead letter %d failed: %s", id, clip(message(r.Failed[id]), 200))
		}
		if slices.ContainsFunc(slices.Collect(maps.Values(r.Failed)), func(err error) bool {
			return !errors.Is(err, dataflow.ErrNotFound) && !errors.Is(err, dataflow.ErrDeadLetterClosed) && !errors.Is(err, errors.ErrUnsupported)
		}) {
			p.line("Mend a record with %s dead-letter edit ID, or close it with dead-letter resolve or discard.", s.program.Name)
		}
	})
}

func (a *app) deadLetterEditCommand() *cobra.Command {
	var payload string
	var sets []string
	var by byWhom
	cmd := &cobra.Command{
		Use: "edit ID", Short: "Mend the record of a dead letter, so that it can be replayed", Args: cobra.ExactArgs(1),
		Long: `Mend the record of a dead letter, so that it can be replayed: give the whole record by
--payload, as JSON, or single fields by --set. The record as it was kept stays beside it, and
dead-letter show shows both.

A record that failed when it was read is in the form of its source. For a CSV file that is an
object with the names of the columns and texts, the list of the cells, or the line as a text. A
program that has the flow's code checks that the source can read it.`,
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			id, err := letterID(args[0])
			if err != nil {
				return err
			}
			if (payload == "") == (len(sets) == 0) {
				return usage("say what the record becomes: either --payload JSON, or --set FIELD=VALUE")
			}
			data := json.RawMessage(payload)
			if payload == "" {
				l, err := s.client.DeadLetter(ctx, id)
				if err != nil {
					return err
				}
				if data, err = withFields(l.Payload, sets); err != nil {
					return err
				}
			}
			l, err := s.client.EditDeadLetter(ctx, id, data, by.actorOr(s.Env))
			if err != nil {
				return valuesAsText(err, sets)
			}
			next := fmt.Sprintf("Replay it with %s dead-letter replay %s --id %d", s.program.Name, l.FlowName, l.ID)
			if f, err := s.client.Flow(ctx, l.FlowName); err != nil || !f.Registered() {
				next = fmt.Sprintf("Replay it with dead-letter replay %s --id %d of a program that has the flow's code.", l.FlowName, l.ID)
			}
			return s.showLetter(l, next)
		}),
	}
	cmd.Flags().StringVar(&payload, "payload", "", "the whole record, as JSON")
	cmd.Flags().StringArrayVar(&sets, "set", nil, "a field and its value, as FIELD=VALUE: a text stays a text, and any other value is JSON. FIELD:=JSON makes JSON of a text; may be given several times")
	cmd.Flags().StringVar(&by.actor, "actor", "", actorHelp)
	return a.example(cmd, "dead-letter edit 7 --set amount=12.50", `dead-letter edit 7 --payload '{"id": 7, "amount": "12.50"}'`)
}

// valuesAsText adds to the error about a record how to give a number, if one was given as a text.
func valuesAsText(err error, sets []string) error {
	for _, set := range sets {
		if name, value, _ := strings.Cut(set, "="); !strings.HasSuffix(name, ":") && json.Valid([]byte(value)) && strings.Contains(err.Error(), "string") {
			return fmt.Errorf("%w: --set %s:=%s sets what is no text", err, name, value)
		}
	}
	return err
}

// withFields returns a record with other values of some fields, which it must have. A value
// stays a text if it was one. Any other may be of another type of JSON, and so may that of :=.
func withFields(record json.RawMessage, sets []string) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(record, &fields); err != nil || fields == nil {
		return nil, usage("the record %s has no fields to set: give the whole record by --payload", clip(string(jsonview.OrNull(record)), 100))
	}
	for _, set := range sets {
		name, value, ok := strings.Cut(set, "=")
		was, has := fields[name]
		asJSON := false
		if plain, is := strings.CutSuffix(name, ":"); is && !has {
			name, asJSON = plain, true
			was, has = fields[name]
		}
		switch {
		case !ok:
			return nil, usage("--set %s is not FIELD=VALUE", clip(set, 40))
		case !has:
			return nil, usage("the record has no field %q; its fields are %s", clip(name, 40), strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		case asJSON && !json.Valid([]byte(value)):
			return nil, usage("--set %s is not FIELD:=JSON", clip(set, 40))
		case !asJSON && (len(was) > 0 && was[0] == '"' || !json.Valid([]byte(value))):
			text, err := json.Marshal(value)
			if err != nil {
				return nil, err
			}
			fields[name] = text
		default:
			fields[name] = json.RawMessage(value)
		}
	}
	return ordered(record, fields)
}

// ordered writes fields as an object, in the order of the object that they were read from.
func ordered(record json.RawMessage, fields map[string]json.RawMessage) (json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(record))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	out := []byte{'{'}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, key...), ':'), fields[fmt.Sprint(name)]...)
	}
	return append(out, '}'), nil
}

type closeView struct {
	Flow   string `json:"flow"`
	State  string `json:"state"`
	Closed int64  `json:"closed"`
}

// deadLetterCloseCommand is resolve or discard.
func (a *app) deadLetterCloseCommand(state dataflow.DeadLetterState) *cobra.Command {
	use, short := "resolve", "Note that the records of dead letters were dealt with elsewhere"
	if state == dataflow.DeadLetterDiscarded {
		use, short = "discard", "Note that the records of dead letters are not wanted"
	}
	p := dataflow.CloseDeadLettersParams{State: state}
	var by byWhom
	cmd := a.confirmable(&cobra.Command{
		Use: use + " NAME", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeFlows,
		Long: short + ` and close
them: those given by --id, or, with --all, all that are open. They are no longer tried again or
replayed. They stay in dead-letter list, with who, when and why, until cleanup removes them for
their age.`,
		RunE: a.on(func(ctx context.Context, s *session, args []string) error {
			if p.All == (len(p.IDs) > 0) {
				return usage("say which dead letters: either --id ID, from dead-letter list, or --all")
			}
			if p.All {
				if err := s.confirm(ctx, fmt.Sprintf("This closes all open dead letters of flow %q as %s.", args[0], state)); err != nil {
					return err
				}
			}
			p.Actor, p.Reason = by.actorOr(s.Env), by.reason
			n, err := s.client.CloseDeadLetters(ctx, args[0], &p)
			if err != nil {
				return err
			}
			return s.show(closeView{Flow: args[0], State: string(state), Closed: n}, func(page *page) {
				page.line("%s %s.", plural(int(n), "dead letter is", "dead letters are"), state)
				page.line("%s dead-letter list %s --open shows those that are left.", s.program.Name, quoted(args[0]))
			})
		}),
	})
	cmd.Flags().Var(idList{&p.IDs}, "id", "the ids of dead letters, separated by commas")
	cmd.Flags().BoolVar(&p.All, "all", false, "all dead letters that are open")
	by.flags(cmd)
	reason := "entered by hand"
	if state == dataflow.DeadLetterDiscarded {
		reason = "orders of a test"
	}
	return a.example(cmd, fmt.Sprintf("dead-letter %s orders --id 7,8 --reason %q", use, reason))
}
