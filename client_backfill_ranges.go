package dataflow

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow/internal/stored"
)

// MaxRanges is the most ranges that [Client.BackfillRanges] takes.
const MaxRanges = 1000

// BackfillRanges is [Client.Backfill] in up to n ranges of about the same size, each of
// them a run of its own, which can be worked by as many processes at once as
// FlowOptions.MaxBackfills says; with 0 there, one after the other. All are made, or none.
// Together they read what one backfill with these parameters would, each record once: each
// begins behind the cursor at which the one before it ends, the first at From, and the last
// goes to Until, or to the end. They are returned in this order. Fewer records than n make
// fewer ranges. With 1 it is a Backfill.
//
// The source is asked for the cursors, by its power [Splitter], and must heed Until, by
// [RequestChecker], as the Keyset of pgtable and of sqltable does. Else it is refused with a
// *[ConfigError].
//
// While one of the ranges of an earlier call with the same From, Until, Params and At waits
// to be begun, no other is made, whatever n is, since they would read the same twice. Those
// ranges of that call that have not ended are returned, with Coalesced set. A Backfill that
// waits is not looked for, nor does one find ranges. params may be nil.
func (c *Client) BackfillRanges(ctx context.Context, name string, n int, params *BackfillParams) ([]*Run, error) {
	if n == 1 {
		run, err := c.Backfill(ctx, name, params)
		if err != nil {
			return nil, err
		}
		return []*Run{run}, nil
	}
	runs, err := c.backfillRanges(ctx, name, n, params)
	if err != nil {
		return nil, public(fmt.Errorf("backfill flow %q in %d ranges: %w", name, n, private(err)))
	}
	return runs, nil
}

func (c *Client) backfillRanges(ctx context.Context, name string, n int, params *BackfillParams) ([]*Run, error) {
	if n < 1 || n > MaxRanges {
		return nil, &ConfigError{Field: "n", Reason: fmt.Sprintf("%d is not from 1 to %d: give the number of ranges", n, MaxRanges)}
	}
	b := &ranges{client: c}
	if params != nil {
		b.BackfillParams = *params
	}
	var err error
	if b.flow, err = c.Flow(ctx, name); err != nil {
		return nil, err
	}
	if err := b.validate(b.flow); err != nil {
		return nil, err
	}
	runs, err := b.waiting(ctx, c.store)
	if err != nil || len(runs) > 0 {
		return runs, err
	}
	// Not in the transaction: a source may need the one connection that there is.
	ends, err := b.flow.code.split(ctx, b.From, b.Until, b.Params, n)
	if err != nil {
		return nil, err
	}
	if err := b.check(ends); err != nil {
		return nil, err
	}
	err = c.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := c.store.With(tx)
		if err != nil {
			return err
		}
		// Of two that ask at once, the second finds the first one's.
		if _, _, err := q.FlowLock(ctx, b.flow.ID); err != nil {
			return err
		}
		if runs, err = b.waiting(ctx, q); err != nil || len(runs) > 0 {
			return err
		}
		runs, err = b.insert(ctx, tx, ends)
		return err
	})
	return runs, err
}

// ranges is what is to be read in ranges.
type ranges struct {
	BackfillParams
	client *Client
	flow   *Flow
}

// waiting returns the ranges of an earlier call that have not ended, none unless one of
// them waits to be begun.
func (b *ranges) waiting(ctx context.Context, q Queries) ([]*Run, error) {
	found, err := q.RunWaiting(ctx, b.flow.ID, rangesKey(&b.BackfillParams))
	if err != nil || len(found) == 0 {
		return nil, err
	}
	first, _, _ := strings.Cut(found[0].Scope, "/")
	live, err := q.RunLive(ctx, b.flow.ID)
	var runs []*Run
	for _, run := range live {
		if of, _, _ := strings.Cut(run.Scope, "/"); of == first {
			run.Coalesced = true
			runs = append(runs, run)
		}
	}
	return runs, err
}

// bounds are where a range begins and ends.
func (b *ranges) bounds(ends []json.RawMessage, i int) (from, until json.RawMessage) {
	from, until = b.From, b.Until
	if i > 0 {
		from = ends[i-1]
	}
	if i < len(ends) {
		until = ends[i]
	}
	return from, until
}

// check returns an error if the source does not heed the bounds of all ranges.
func (b *ranges) check(ends []json.RawMessage) error {
	for i := range len(ends) + 1 {
		from, until := b.bounds(ends, i)
		if err := b.flow.code.checkRequest(from, until, b.Params); err != nil {
			return fmt.Errorf("range %d of %d, behind %s and up to %s: %w", i+1, len(ends)+1, stored.Clip(string(from)), stored.Clip(string(until)), err)
		}
	}
	return nil
}

// insert adds the runs in a transaction, which holds the flow locked.
func (b *ranges) insert(ctx context.Context, tx Tx, ends []json.RawMessage) ([]*Run, error) {
	runs := make([]*Run, len(ends)+1)
	for i := range runs {
		from, until := b.bounds(ends, i)
		part := &bounds{from: from, until: until, part: i + 1, all: &b.BackfillParams}
		if i > 0 {
			part.scope = runs[0].Scope + "/" + strconv.Itoa(i+1)
		}
		run, err := b.flow.startTx(ctx, tx, b.request(part), b.At)
		if err != nil {
			return nil, err
		}
		runs[i] = run
	}
	return runs, nil
}
