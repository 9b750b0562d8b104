package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/activedataflow/dataflow/internal/notes"
	"github.com/activedataflow/dataflow/internal/stored"
)

// Backfill starts a run that reads a part of a flow's source again, or a part that the flow
// has not read. The backfill has a cursor and counters of its own. So the flow's cursor stays
// where it is, and a failed backfill does not count as a failure of the flow.
//
// Otherwise a backfill is a run like any other. The flow's Runtime decides who works it: a
// started client or a [Client.Tick], in slices if River does. It is retried when it fails, and
// [Client.Cancel] ends it. [Client.Retry] continues a failed or cancelled backfill where it
// stopped.
//
// A backfill never causes a tick to be skipped. Unless the flow has MaxBackfills, it takes a
// place of the flow's own runs, which have one place without [OverlapAllow]. The flow's own
// runs then wait while the backfill is worked. Where both wait, as at the end of a slice, the
// flow's own runs go first. A backfill on [Heartbeat] has no slices, and keeps its place to
// its end.
//
// The process must have the flow's code. Otherwise the error is ErrNotRegistered. If the
// source does not support the parameters, or the target does not allow backfills, the error is
// a *[ConfigError]. While a backfill with the same bounds waits, Backfill returns it, with
// Coalesced set. params may be nil.
func (c *Client) Backfill(ctx context.Context, name string, params *BackfillParams) (*Run, error) {
	fail := func(err error) (*Run, error) {
		return nil, public(fmt.Errorf("backfill flow %q: %w", name, private(err)))
	}
	p := BackfillParams{}
	if params != nil {
		p = *params
	}
	f, err := c.Flow(ctx, name)
	if err != nil {
		return fail(err)
	}
	if err := p.prepare(ctx, f); err != nil {
		return fail(err)
	}
	var run *Run
	err = c.store.InTx(ctx, func(ctx context.Context, tx Tx) (err error) {
		run, err = f.startTx(ctx, tx, p.request(&bounds{from: p.From, until: p.Until}), p.At)
		return err
	})
	if err != nil {
		return fail(err)
	}
	return run, nil
}

// prepare puts cursors in the place of times, and returns what is wrong with the parameters
// for a flow.
func (p *BackfillParams) prepare(ctx context.Context, f *Flow) error {
	if p.FromTime.IsZero() && p.UntilTime.IsZero() {
		return p.validate(f)
	}
	switch {
	case p.From != nil && !p.FromTime.IsZero():
		return &ConfigError{Field: "FromTime", Reason: "From is set too: set one of them"}
	case p.Until != nil && !p.UntilTime.IsZero():
		return &ConfigError{Field: "UntilTime", Reason: "Until is set too: set one of them"}
	case !p.UntilTime.IsZero() && !p.FromTime.Before(p.UntilTime):
		return &ConfigError{Field: "UntilTime", Reason: fmt.Sprintf("%s is not after FromTime, %s", p.UntilTime.Format(time.RFC3339Nano), p.FromTime.Format(time.RFC3339Nano))}
	}
	if err := p.validate(f); err != nil {
		return err
	}
	if err := p.seekTimes(ctx, f); err != nil {
		return err
	}
	return f.code.checkRequest(p.From, p.Until, p.Params)
}

// seekTimes asks the flow's source for the cursors of the times.
func (p *BackfillParams) seekTimes(ctx context.Context, f *Flow) error {
	for _, t := range []struct {
		field string
		at    time.Time
		place *json.RawMessage
	}{{"FromTime", p.FromTime, &p.From}, {"UntilTime", p.UntilTime, &p.Until}} {
		if t.at.IsZero() {
			continue
		}
		place, err := f.code.seekTime(ctx, p.Params, t.at)
		var ce *ConfigError
		switch {
		case errors.As(err, &ce) && ce.Field == "Params":
			return err
		case errors.As(err, &ce):
			return &ConfigError{Field: t.field, Reason: ce.Reason}
		case err != nil:
			return fmt.Errorf("look for the records before %s: %w", t.at.Format(time.RFC3339Nano), err)
		}
		*t.place = place
	}
	if !p.UntilTime.IsZero() && (p.Until == nil || p.From != nil && stored.Same(p.From, p.Until)) {
		between := "before"
		if !p.FromTime.IsZero() {
			between = fmt.Sprintf("from %s to", p.FromTime.Format(time.RFC3339Nano))
		}
		return &ConfigError{Field: "UntilTime", Reason: fmt.Sprintf("the source has no records %s %s", between, p.UntilTime.Format(time.RFC3339Nano))}
	}
	return nil
}

// validate returns what is wrong with the parameters for a flow.
func (p *BackfillParams) validate(f *Flow) error {
	if !f.Registered() {
		return fmt.Errorf("%w: this process does not have the flow's code, which it needs to check the parameters", ErrNotRegistered)
	}
	errs := []error{
		checkPlace("From", &p.From, f.code.checkCursor),
		checkPlace("Until", &p.Until, f.code.checkCursor),
		checkPlace("Params", &p.Params, func(json.RawMessage) error { return nil }),
	}
	if f.code.doubles() && !p.Append {
		errs = append(errs, &ConfigError{Field: "Append", Reason: "the flow's sink appends, or keeps each batch, so it would have records twice: set Append to allow that, or use a target that upserts"})
	}
	if f.code.replaces() {
		errs = append(errs, &ConfigError{Field: "Target", Reason: replacesAll + ": start a run of the flow, which reads everything"})
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return f.code.checkRequest(p.From, p.Until, p.Params)
}

// checkPlace returns what is wrong with a value from a caller. It makes JSON null nil.
func checkPlace(field string, value *json.RawMessage, check func(json.RawMessage) error) error {
	switch {
	case stored.Same(*value, json.RawMessage("null")):
		*value = nil
		return nil
	case *value == nil:
		return nil
	case !json.Valid(*value):
		return &ConfigError{Field: field, Reason: fmt.Sprintf("%s is not JSON: put a text in double quotes", stored.Clip(string(*value)))}
	}
	err := check(*value)
	var ce *ConfigError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ce): // with this field's name in place of the source's
		return &ConfigError{Field: field, Reason: ce.Reason}
	default:
		return &ConfigError{Field: field, Reason: err.Error()}
	}
}

// BackfillRanges is [Client.Backfill] in up to n ranges of about the same size, each a run of
// its own. FlowOptions.MaxBackfills says how many of them are worked at once, by any
// processes. If it is 0, they are worked one after the other. With n = 1 it is a Backfill. n
// may be up to [MaxRanges].
//
// All ranges are started, or none. Together they read what one backfill with these parameters
// reads, each record once. The first range begins at From. Each of the others begins after the
// cursor at which the previous one ends. The last ends at Until, or at the end. They are
// returned in this order. There are fewer ranges if there are fewer records than n.
//
// The source chooses the cursors through its power [Splitter], and must support Until through
// [RequestChecker], as the Keyset of pgtable and of sqltable does. Otherwise the error is a
// *[ConfigError].
//
// BackfillRanges starts nothing while a range of an earlier call with the same From, Until,
// Params and At waits to begin. n does not matter for that. It then returns the ranges of that
// call that have not ended, with Coalesced set. A waiting Backfill does not prevent ranges,
// and waiting ranges do not prevent a Backfill. params may be nil.
func (c *Client) BackfillRanges(ctx context.Context, name string, n int, params *BackfillParams) ([]*Run, error) {
	if n == 1 {
		run, err := c.Backfill(ctx, name, params)
		if err != nil {
			return nil, err
		}
		return []*Run{run}, nil
	}
	runs, err := backfillRanges(ctx, c, name, n, params)
	if err != nil {
		return nil, public(fmt.Errorf("backfill flow %q in %d ranges: %w", name, n, private(err)))
	}
	return runs, nil
}

func backfillRanges(ctx context.Context, c *Client, name string, n int, params *BackfillParams) ([]*Run, error) {
	if n < 1 || n > MaxRanges {
		return nil, &ConfigError{Field: "n", Reason: fmt.Sprintf("%d is out of range: use 1 to %d", n, MaxRanges)}
	}
	b := &ranges{client: c}
	if params != nil {
		b.BackfillParams = *params
	}
	var err error
	if b.flow, err = c.Flow(ctx, name); err != nil {
		return nil, err
	}
	if err := b.prepare(ctx, b.flow); err != nil {
		return nil, err
	}
	runs, err := b.waiting(ctx, c.store)
	if err != nil || len(runs) > 0 {
		return runs, err
	}
	if n > 1 {
		notes.Progress(ctx, notes.Step{What: "ranges", Total: int64(n), Now: "the source looks for where to cut"})
	}
	// Not in the transaction: a source may need the only connection.
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
		// Of two calls at once, the second finds the ranges of the first.
		if _, _, err := q.FlowLock(ctx, b.flow.ID); err != nil {
			return err
		}
		if runs, err = b.waiting(ctx, q); err != nil || len(runs) > 0 {
			return err
		}
		if runs, err = b.insert(ctx, tx, ends); err != nil {
			return err
		}
		after := map[string]any{"from": b.From, "until": b.Until, "ranges": len(runs)}
		if b.Params != nil {
			after["params"] = b.Params
		}
		return noteAction(ctx, q, AuditBackfill, b.flow.ID, runs[0].ID, b.Actor, b.Reason, nil, after)
	})
	return runs, err
}

// ranges is a backfill that is to be made in ranges.
type ranges struct {
	BackfillParams
	client *Client
	flow   *Flow
}

// waiting returns the ranges of an earlier call that have not ended. It returns none unless
// one of them waits to begin.
func (b *ranges) waiting(ctx context.Context, q Queries) ([]*Run, error) {
	found, err := q.RunWaiting(ctx, b.flow.ID, rangesKey(&b.BackfillParams))
	if err != nil || len(found) == 0 {
		return nil, err
	}
	first, _ := found[0].rangeOf()
	live, err := q.RunLive(ctx, b.flow.ID)
	var runs []*Run
	for _, run := range live {
		if of, _ := run.rangeOf(); of == first {
			run.Coalesced = true
			runs = append(runs, run)
		}
	}
	return runs, err
}

// bounds returns where a range begins and ends.
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

// check returns an error if the source does not support the bounds of each range.
func (b *ranges) check(ends []json.RawMessage) error {
	for i := range len(ends) + 1 {
		from, until := b.bounds(ends, i)
		if err := b.flow.code.checkRequest(from, until, b.Params); err != nil {
			return fmt.Errorf("range %d of %d, %s: %w", i+1, len(ends)+1, betweenText(from, until), err)
		}
	}
	return nil
}

// insert adds the runs in a transaction that holds the lock on the flow.
func (b *ranges) insert(ctx context.Context, tx Tx, ends []json.RawMessage) ([]*Run, error) {
	runs := make([]*Run, len(ends)+1)
	for i := range runs {
		from, until := b.bounds(ends, i)
		part := &bounds{from: from, until: until, part: i + 1, all: &b.BackfillParams}
		if i > 0 {
			part.scope = rangeScope(runs[0].Scope, i+1)
		}
		run, err := b.flow.startTx(ctx, tx, b.request(part), b.At)
		if err != nil {
			return nil, err
		}
		runs[i] = run
	}
	return runs, nil
}
