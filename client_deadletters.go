package dataflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// DeadLetters lists dead letters, newest first. params may be nil.
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

// ReplayReport is the outcome of a [Client.Replay].
type ReplayReport struct {
	// Replayed are the ids of the dead letters that were replayed. Each went to the sink,
	// unless the transform filtered it.
	Replayed []int64
	// Failed are the errors of the others, by id. Those dead letters stay as they are.
	Failed map[int64]error
}

// Replay takes dead letters of a flow through its transform to its sink again, oldest first:
// those with the ids, or, without ids, all that were not replayed. A dead letter that fails
// again is in the report, and is no error of Replay.
//
// With a target of [ToTx], one transaction writes the record and marks the dead letter as
// replayed, so the record is written once. With [To], it is written at least once. Replay
// refuses a flow with [ToFenced], because its sink writes no record without a checkpoint, and
// a flow with [ToReplace]. The process must have the flow's code. Otherwise the error is
// ErrNotRegistered.
//
// A dead letter is the record as it was read. If a later version of it has been written since,
// Replay puts the earlier one over it: read the source again instead, by a backfill or from an
// earlier cursor.
//
// Replay needs the stored record, and the code's type must fit it. A record that failed when
// it was read is stored as the source had it. It fits only if it is JSON in which each field
// is one of the type's. A line of a CSV file rarely fits.
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
			if err := replay(ctx, c.pools.runs.store, f, l); err != nil {
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

// replayPage is a page of dead letters with some that are to be replayed, and the least id on
// it.
type replayPage struct {
	params DeadLetterListParams
	least  int64
}

// replayPages returns the pages of a flow's dead letters that have wanted ones, newest first.
// Without wanted ids, it returns all pages of open ones. Replay goes through them backwards,
// because, if a row is there twice, the record that was read last must win.
func (b base) replayPages(ctx context.Context, name string, wanted map[int64]bool) ([]replayPage, error) {
	p := DeadLetterListParams{Flow: name, Open: len(wanted) == 0, Limit: defaultPage}
	var pages []replayPage
	for {
		letters, err := b.store.DeadLetterList(ctx, &p)
		if err != nil || len(letters) == 0 {
			return pages, err
		}
		page := replayPage{params: p, least: letters[len(letters)-1].ID}
		page.params.Before = letters[0].ID + 1 // newer dead letters do not move the page
		if len(wanted) == 0 || slices.ContainsFunc(letters, func(l *DeadLetterRecord) bool { return wanted[l.ID] }) {
			pages = append(pages, page)
		}
		if p.Before = page.least; len(letters) < p.Limit {
			return pages, nil
		}
	}
}

func replay(ctx context.Context, store Store, f *Flow, l *DeadLetterRecord) error {
	if l.ReplayedAt != nil {
		return fmt.Errorf("it was replayed at %s", l.ReplayedAt.Format(time.RFC3339))
	}
	if len(l.Payload) == 0 {
		return errors.New("only the key of the record is stored, so it cannot be replayed")
	}
	return guard(func() error { return f.code.replay(ctx, store, l) })
}
