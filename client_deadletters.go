package dataflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// DeadLetters lists bad records that were kept, newest first. params may be nil.
func (c *Client) DeadLetters(ctx context.Context, params *DeadLetterListParams) ([]*DeadLetterRecord, error) {
	p, err := page(params)
	if err != nil {
		return nil, public(fmt.Errorf("list dead letters: %w", err))
	}
	letters, err := c.store.DeadLetterList(ctx, &p)
	if err != nil {
		return nil, public(fmt.Errorf("list dead letters: %w", err))
	}
	return letters, nil
}

// ReplayReport says what came of a [Client.Replay].
type ReplayReport struct {
	// Replayed are the ids of those that went through: to the sink, unless the
	// transform has filtered them.
	Replayed []int64
	// Failed are the errors of those that did not; they stay as they are.
	Failed map[int64]error
}

// Replay takes dead letters of a flow through its transform to its sink again: those
// with the ids, or, without ids, all that have not been replayed. With a target of
// [ToTx] each is written in the transaction that notes that it was, and so once;
// with [To], at least once. A flow with [ToFenced] is refused, because its sink
// writes no record apart from a checkpoint, and so is one with [ToReplace]. The process must have the flow's code:
// ErrNotRegistered. What fails again is no error of Replay, but in the report.
//
// They are replayed in the order in which they were kept, the oldest first.
//
// Only what is known of a record can be replayed, and the code's type must fit it. One
// that failed when it was read is known as its source had it, and so only fits if that
// is JSON in which each field is one of the type's: a line of a CSV file hardly ever
// does.
func (c *Client) Replay(ctx context.Context, name string, ids ...int64) (*ReplayReport, error) {
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
	wanted := make(map[int64]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	pages, err := c.replayPages(ctx, name, wanted)
	if err != nil {
		return nil, fail(err)
	}
	report := &ReplayReport{Failed: make(map[int64]error)}
	for _, page := range slices.Backward(pages) {
		letters, err := c.store.DeadLetterList(ctx, &page.params)
		if err != nil {
			return nil, fail(err)
		}
		for _, l := range slices.Backward(letters) {
			if l.ID < page.least || len(ids) > 0 && !wanted[l.ID] {
				continue
			}
			delete(wanted, l.ID)
			if err := c.replay(ctx, f, l); err != nil {
				report.Failed[l.ID] = err
				continue
			}
			report.Replayed = append(report.Replayed, l.ID)
		}
		if ctx.Err() != nil {
			return report, public(ctx.Err())
		}
	}
	for id := range wanted {
		report.Failed[id] = ErrNotFound
	}
	return report, nil
}

// replayPage is a page of dead letters that has some which are wanted, and the least id
// on it.
type replayPage struct {
	params DeadLetterListParams
	least  int64
}

// replayPages finds the pages of a flow's dead letters that have wanted ones, or, where
// none are named, all that are open. They are newest first, as they are listed, and are
// replayed the other way round: of a row that is there twice, what was read last stays.
func (c *Client) replayPages(ctx context.Context, name string, wanted map[int64]bool) ([]replayPage, error) {
	p := DeadLetterListParams{Flow: name, Open: len(wanted) == 0, Limit: defaultPage}
	var pages []replayPage
	for {
		letters, err := c.store.DeadLetterList(ctx, &p)
		if err != nil || len(letters) == 0 {
			return pages, err
		}
		page := replayPage{params: p, least: letters[len(letters)-1].ID}
		page.params.Before = letters[0].ID + 1 // also if there is a newer one by then
		if len(wanted) == 0 || slices.ContainsFunc(letters, func(l *DeadLetterRecord) bool { return wanted[l.ID] }) {
			pages = append(pages, page)
		}
		if p.Before = page.least; len(letters) < p.Limit {
			return pages, nil
		}
	}
}

func (c *Client) replay(ctx context.Context, f *Flow, l *DeadLetterRecord) error {
	if l.ReplayedAt != nil {
		return fmt.Errorf("it was replayed at %s", l.ReplayedAt.Format(time.RFC3339))
	}
	if len(l.Payload) == 0 {
		return errors.New("nothing is known of the record but its key")
	}
	return guard(func() error { return f.code.replay(ctx, c.store, l) })
}
