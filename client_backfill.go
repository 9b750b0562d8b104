package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

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
		return fmt.Errorf("%w: this process does not have the flow's code, which it needs to check the parameters", ErrNotRegistered)
	}
	errs := []error{
		checkPlace("From", &p.From, f.code.checkCursor),
		checkPlace("Until", &p.Until, f.code.checkCursor),
		checkPlace("Params", &p.Params, func(json.RawMessage) error { return nil }),
	}
	if f.code.appendOnly() && !p.Append {
		errs = append(errs, &ConfigError{Field: "Append", Reason: "the flow's sink only appends, so it would have records twice: set Append to allow that, or use a target that upserts"})
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
