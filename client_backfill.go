package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/activedataflow/dataflow/internal/stored"
)

// Backfill starts a run that reads a part of a flow's source again, or something that
// the flow has not read. It has a cursor and counters of its own, so that the flow's own
// cursor stays where it is, and its failures do not count as the flow's.
//
// Otherwise it is a run like any other: it is worked as the flow's Runtime says, by a
// started client or a [Client.Tick], in slices if by River; it is tried again when it
// fails, cancelled by [Client.Cancel], and [Client.Retry] of a failed or cancelled one
// goes on where that has got to. A backfill makes no tick be skipped. Unless the flow has
// MaxBackfills, it takes a place of the flow, of which there is one without OverlapAllow:
// while it is worked the flow's own runs wait. They go first wherever both wait, as at the
// end of each slice. A backfill on [Heartbeat] has no slices, and keeps its place to its
// end.
//
// The process must have the flow's code: ErrNotRegistered. What the source does not
// heed, or the target is not made for, is refused with a *[ConfigError]. While one with
// the same bounds waits, that is returned, with Coalesced set. params may be nil.
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
	if err := p.validate(f); err != nil {
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

// validate returns what is wrong with the parameters for a flow.
func (p *BackfillParams) validate(f *Flow) error {
	if !f.Registered() {
		return fmt.Errorf("%w: this process does not have the flow's code, which says what the source heeds", ErrNotRegistered)
	}
	errs := []error{
		checkPlace("From", &p.From, f.code.checkCursor),
		checkPlace("Until", &p.Until, f.code.checkCursor),
		checkPlace("Params", &p.Params, func(json.RawMessage) error { return nil }),
	}
	if f.code.appendOnly() && !p.Append {
		errs = append(errs, &ConfigError{Field: "Append", Reason: "the flow's sink only appends: records that are there would be there twice: set Append if that is meant, or use a target that upserts"})
	}
	if f.code.replaces() {
		errs = append(errs, &ConfigError{Field: "Target", Reason: replacesAll + ": start a run of the flow, which reads everything"})
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return f.code.checkRequest(p.From, p.Until, p.Params)
}

// checkPlace returns what is wrong with a value that somebody has given. JSON null is
// none.
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
	case errors.As(err, &ce): // whichever name the source has for it
		return &ConfigError{Field: field, Reason: ce.Reason}
	default:
		return &ConfigError{Field: field, Reason: err.Error()}
	}
}
