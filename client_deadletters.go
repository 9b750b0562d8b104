package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/activedataflow/dataflow/internal/notes"
	"github.com/activedataflow/dataflow/internal/stored"
)

// DeadLetters lists dead letters, newest first. params may be nil.
func (c *Client) DeadLetters(ctx context.Context, params *DeadLetterListParams) ([]*DeadLetterRecord, error) {
	p, err := page(params)
	if err == nil && p.State != "" && !p.State.Valid() {
		err = &ConfigError{Field: "State", Reason: fmt.Sprintf("%q is not a state of a dead letter: use open, replayed, resolved or discarded", p.State)}
	}
	if err != nil {
		return nil, public(fmt.Errorf("list dead letters: %w", err))
	}
	letters, err := c.store.DeadLetterList(ctx, &p)
	if err != nil {
		return nil, public(fmt.Errorf("list dead letters: %w", err))
	}
	return letters, nil
}

// DeadLetter returns the dead letter with an id, or ErrNotFound.
func (c *Client) DeadLetter(ctx context.Context, id int64) (*DeadLetterRecord, error) {
	letters, err := c.store.DeadLetterList(ctx, &DeadLetterListParams{Before: id + 1, Limit: 1})
	if err == nil && (len(letters) == 0 || letters[0].ID != id) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, public(fmt.Errorf("get dead letter %d: %w", id, err))
	}
	return letters[0], nil
}

// EditDeadLetter replaces the record of an open dead letter, so that a replay can take it. The
// record as it was first kept stays in Original, and actor is stored. payload is JSON: what the
// flow's source would take for a dead letter of [StageRead], and the record's fields for any
// other. It is the whole record: what it leaves out is missing in the source's record, and zero
// in any other. If this process has the flow's code, it checks that the record can be read, and that
// [Client.Replay] takes dead letters of this flow. From then
// on only a replay tries the record, also if [RetryBadFor] had the flow's runs do so. The error
// is ErrNotFound for an unknown id, and ErrDeadLetterClosed for one that is no longer open.
func (c *Client) EditDeadLetter(ctx context.Context, id int64, payload json.RawMessage, actor string) (*DeadLetterRecord, error) {
	fail := func(err error) (*DeadLetterRecord, error) {
		return nil, public(fmt.Errorf("edit dead letter %d: %w", id, private(err)))
	}
	if !json.Valid(payload) || stored.Clean(string(payload)) != string(payload) {
		return fail(&ConfigError{Field: "payload", Reason: stored.Clip(string(payload)) + " is not JSON in UTF-8: a text, for one, stands in double quotes"})
	}
	l, err := c.DeadLetter(ctx, id)
	if err != nil {
		return nil, err
	}
	if l.ClosedAt != nil {
		return fail(closedLetter(l))
	}
	f, err := c.Flow(ctx, l.FlowName)
	if err != nil {
		return fail(err)
	}
	if f.Registered() {
		if err := guard(f.code.replayable); err != nil {
			return fail(&ConfigError{Field: "payload", Reason: "no replay would take it: " + err.Error()})
		}
		edited := *l
		now := c.now()
		edited.Payload, edited.EditedAt = payload, &now
		if err := guard(func() error { return f.code.readLetter(ctx, c.store, &edited) }); err != nil {
			return fail(&ConfigError{Field: "payload", Reason: err.Error()})
		}
	}
	err = c.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := c.store.With(tx)
		if err != nil {
			return err
		}
		if err := q.DeadLetterEdit(ctx, id, payload, actor); err != nil {
			return err
		}
		return noteAction(ctx, q, AuditEditDeadLetter, l.FlowID, l.RunID, actor, "", nil, map[string]any{"dead_letter": id})
	})
	if errors.Is(err, ErrNotFound) {
		err = ErrDeadLetterClosed
	}
	if err != nil {
		return fail(err)
	}
	c.log.InfoContext(ctx, "dataflow: dead letter edited", slog.Int64("dead_letter", id), slog.String(logFlow, l.FlowName), slog.String("actor", actor))
	return c.DeadLetter(ctx, id)
}

// CloseDeadLettersParams say which dead letters of a flow to close, what became of their
// records, who says so, and why.
type CloseDeadLettersParams struct {
	// IDs are those of open dead letters of the flow. All is true for all that are open.
	// One of the two is required.
	IDs []int64
	All bool
	// State is what became of the records: [DeadLetterResolved] if they were dealt with
	// elsewhere, [DeadLetterDiscarded] if they are not wanted. Required.
	State DeadLetterState
	// Actor and Reason are stored with the dead letters.
	Actor  string
	Reason string
}

// CloseDeadLetters closes open dead letters of a flow without a replay, and returns how many.
// They stay in the list, with who, when and why, until [RetentionOptions] remove them. Flows no
// longer try them again. It closes all of them or none: if one of the IDs is not an open dead
// letter of the flow, the error names it, and is ErrNotFound or ErrDeadLetterClosed.
func (c *Client) CloseDeadLetters(ctx context.Context, name string, params *CloseDeadLettersParams) (int64, error) {
	fail := func(err error) (int64, error) {
		return 0, public(fmt.Errorf("close dead letters of flow %q: %w", name, private(err)))
	}
	p := CloseDeadLettersParams{}
	if params != nil {
		p = *params
	}
	switch {
	case p.State != DeadLetterResolved && p.State != DeadLetterDiscarded:
		return fail(&ConfigError{Field: "State", Reason: fmt.Sprintf("%q: use resolved or discarded", p.State)})
	case p.All == (len(p.IDs) > 0):
		return fail(&ConfigError{Field: "IDs", Reason: "say which dead letters: either IDs or All"})
	}
	rec, err := c.store.FlowByName(ctx, name)
	if err != nil {
		return fail(err)
	}
	do := &DeadLetterCloseParams{FlowID: rec.ID, IDs: slices.Compact(slices.Sorted(slices.Values(p.IDs))), State: p.State, By: p.Actor, Reason: p.Reason}
	if p.All {
		do.NotOfRun = -1 // no run
	}
	var n int64
	err = c.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := c.store.With(tx)
		if err != nil {
			return err
		}
		if n, err = q.DeadLetterClose(ctx, do); err != nil {
			return err
		}
		if !p.All && n != int64(len(do.IDs)) {
			return whichNotOpen(ctx, q, name, do)
		}
		if n == 0 {
			return nil
		}
		after := map[string]any{"state": p.State, "closed": n}
		chosenLetters(after, do.IDs)
		return noteAction(ctx, q, AuditCloseDeadLetters, rec.ID, 0, p.Actor, p.Reason, map[string]any{"state": DeadLetterOpen}, after)
	})
	if err != nil {
		return fail(err)
	}
	c.log.InfoContext(ctx, "dataflow: dead letters "+string(p.State), slog.String(logFlow, name), slog.Int64("dead_letters", n), slog.String("actor", p.Actor), slog.String(logReason, p.Reason))
	return n, nil
}

// chosenLetters notes for the audit log which dead letters somebody chose. Of many, it notes the
// first and how many there are.
func chosenLetters(to map[string]any, ids []int64) {
	const shown = 100
	switch {
	case len(ids) == 0:
		to["all_open"] = true
	case len(ids) <= shown:
		to["dead_letters"] = ids
	default:
		to["dead_letters"], to["more"] = ids[:shown], len(ids)-shown
	}
}

// whichNotOpen names the first dead letter that was to be closed and could not be, in the
// transaction that has closed the others.
func whichNotOpen(ctx context.Context, q Queries, name string, p *DeadLetterCloseParams) error {
	for _, id := range p.IDs {
		l, err := letterOf(ctx, q, name, id)
		switch {
		case err != nil:
			return fmt.Errorf("dead letter %d: %w", id, err)
		case l.State != p.State || l.ClosedBy != p.By || l.Reason != p.Reason:
			return fmt.Errorf("dead letter %d: %w", id, closedLetter(l))
		}
	}
	return fmt.Errorf("%w: one was closed before", ErrDeadLetterClosed)
}

// letterOf returns a dead letter of a flow. The error names the flow that has it, if that is another one.
func letterOf(ctx context.Context, q Queries, name string, id int64) (*DeadLetterRecord, error) {
	letters, err := q.DeadLetterList(ctx, &DeadLetterListParams{Before: id + 1, Limit: 1})
	switch {
	case err != nil:
		return nil, err
	case len(letters) == 0 || letters[0].ID != id:
		return nil, ErrNotFound
	case letters[0].FlowName != name:
		return nil, fmt.Errorf("%w in this flow: it is of flow %q", ErrNotFound, letters[0].FlowName)
	default:
		return letters[0], nil
	}
}

// closedLetter says what became of a dead letter that is no longer open.
func closedLetter(l *DeadLetterRecord) error {
	text := fmt.Sprintf("it was %s at %s", l.State, l.ClosedAt.Format(time.RFC3339))
	if l.ClosedBy != "" {
		text += " by " + l.ClosedBy
	}
	if l.Reason != "" {
		text += ": " + l.Reason
	}
	return fmt.Errorf("%w: %s", ErrDeadLetterClosed, text)
}

// ReplayParams say which dead letters of a flow to replay, who asks for it, and why.
type ReplayParams struct {
	// IDs are those of dead letters of the flow. Empty: all that are open.
	IDs []int64
	// Actor and Reason are stored with the dead letters that are replayed.
	Actor  string
	Reason string
}

// ReplayReport is the outcome of a [Client.Replay].
type ReplayReport struct {
	// Replayed are the ids of the dead letters that were replayed. Each went to the sink,
	// unless the transform filtered it.
	Replayed []int64
	// Failed are the errors of the others, by id. Those dead letters stay as they are.
	Failed map[int64]error
}

// Replay takes dead letters of a flow through its transform to its sink again, oldest first:
// those with the IDs, or, without IDs, all that are open. A dead letter that fails
// again is in the report, and is no error of Replay. One that somebody else closes meanwhile
// is left out, or, if it is one of the IDs, fails with ErrDeadLetterClosed. params may be nil.
//
// With a target of [ToTx], one transaction writes the record and marks the dead letter as
// replayed, so the record is written once. With [To], it is written at least once. Replay
// refuses each dead letter of a flow with [ToFenced], because its sink writes no record without a
// checkpoint, with [ToReplace], or whose sink is [Ordered]: these errors are
// [errors.ErrUnsupported]. The process must have the flow's code. Otherwise the error is
// ErrNotRegistered.
//
// A dead letter is the record as it was read. If a later version of it has been written since,
// Replay leaves that one alone where target and source allow it; see [Target.OnlyIfNewer].
// Elsewhere it puts the earlier one over it: read the source again instead, by a backfill or from
// an earlier cursor.
//
// Replay needs the stored record. One that failed when it was read is stored as the source had
// it, and the source reads it again by its own rules if it is a [RecordParser], as those of
// csvfile, jsonl, httpjson and jsonrpc are. Otherwise it must be JSON in which each field is one
// of the type's. A record that is still wrong can be mended by [Client.EditDeadLetter].
func (c *Client) Replay(ctx context.Context, name string, params *ReplayParams) (*ReplayReport, error) {
	p := ReplayParams{}
	if params != nil {
		p = *params
	}
	fail := func(err error) error {
		return public(fmt.Errorf("replay dead letters of flow %q: %w", name, err))
	}
	f, err := c.Flow(ctx, name)
	if err != nil {
		return nil, err
	}
	if !f.Registered() {
		return nil, fail(fmt.Errorf("%w: this process does not have the flow's code", ErrNotRegistered))
	}
	if err := c.gate.enter(); err != nil {
		return nil, fail(err)
	}
	defer c.gate.leave()
	wanted := make(map[int64]bool, len(p.IDs))
	for _, id := range p.IDs {
		wanted[id] = true
	}
	pages, err := c.replayPages(ctx, name, wanted)
	if err != nil {
		return nil, fail(err)
	}
	if len(pages) > 0 {
		asked := make(map[string]any)
		chosenLetters(asked, slices.Compact(slices.Sorted(slices.Values(p.IDs))))
		if err := noteAction(ctx, c.store, AuditReplay, f.ID, 0, p.Actor, p.Reason, nil, asked); err != nil {
			return nil, fail(err)
		}
	}
	report := &ReplayReport{Failed: make(map[int64]error)}
	step := notes.Step{What: "dead letters"}
	for _, page := range pages {
		step.Total += page.count
	}
	for _, page := range slices.Backward(pages) {
		letters, err := c.store.DeadLetterList(ctx, &page.params)
		if err != nil {
			return nil, fail(err)
		}
		for _, l := range slices.Backward(letters) {
			if l.ID < page.least || len(p.IDs) > 0 && !wanted[l.ID] {
				continue
			}
			delete(wanted, l.ID)
			notes.Progress(ctx, step)
			step.Done++
			err := replay(ctx, c.pools.runs.store, f, l, &p)
			report.note(ctx, c.store, l, err, len(p.IDs) > 0)
		}
		if ctx.Err() != nil {
			return report, public(ctx.Err())
		}
	}
	for id := range wanted {
		if _, err := letterOf(ctx, c.store, name, id); err != nil {
			report.Failed[id] = err
		} else {
			report.Failed[id] = ErrNotFound // it was kept meanwhile
		}
	}
	return report, nil
}

// note adds the outcome for a dead letter. One that somebody else has closed meanwhile, such as another
// Replay, is left out unless it was chosen.
func (r *ReplayReport) note(ctx context.Context, q Queries, l *DeadLetterRecord, err error, chosen bool) {
	if errors.Is(err, errReplayed) {
		if !chosen {
			return
		}
		if now, lerr := letterOf(ctx, q, l.FlowName, l.ID); lerr == nil && now.ClosedAt != nil {
			err = closedLetter(now)
		}
	}
	if err != nil {
		r.Failed[l.ID] = err
		return
	}
	r.Replayed = append(r.Replayed, l.ID)
}

// replayPage is a page of dead letters with some that are to be replayed, how many these are,
// and the least id on it.
type replayPage struct {
	params DeadLetterListParams
	least  int64
	count  int64
}

// replayPages returns the pages of a flow's dead letters that have wanted ones, newest first.
// Without wanted ids, it returns all pages of open ones. Replay goes through them backwards,
// because, if a row is there twice, the record that was read last must win.
func (b base) replayPages(ctx context.Context, name string, wanted map[int64]bool) ([]replayPage, error) {
	p := DeadLetterListParams{Flow: name, Open: len(wanted) == 0, Limit: defaultPage}
	oldest := int64(0)
	if len(wanted) > 0 { // a flow may have many more
		ids := slices.Sorted(maps.Keys(wanted))
		oldest, p.Before = ids[0], min(max(ids[len(ids)-1], 0), math.MaxInt64-1)+1
	}
	var pages []replayPage
	for {
		letters, err := b.store.DeadLetterList(ctx, &p)
		if err != nil || len(letters) == 0 {
			return pages, err
		}
		page := replayPage{params: p, least: letters[len(letters)-1].ID}
		page.params.Before = letters[0].ID + 1 // newer dead letters do not move the page
		for _, l := range letters {
			if len(wanted) == 0 || wanted[l.ID] {
				page.count++
			}
		}
		if page.count > 0 {
			pages = append(pages, page)
		}
		if p.Before = page.least; len(letters) < p.Limit || page.least <= oldest {
			return pages, nil
		}
	}
}

func replay(ctx context.Context, store Store, f *Flow, l *DeadLetterRecord, p *ReplayParams) error {
	if l.ClosedAt != nil {
		return closedLetter(l)
	}
	if len(l.Payload) == 0 {
		return errors.New("only the key of the record is stored: give the record by an edit, or let a backfill read it again")
	}
	return guard(func() error { return f.code.replay(ctx, store, l, p.Actor, p.Reason) })
}
