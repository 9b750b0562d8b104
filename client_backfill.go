package dataflow

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// BackfillParams say what a [Client.Backfill] reads. The zero value reads everything
// again.
type BackfillParams struct {
	// From is the cursor behind which it begins, as JSON. Nil: the beginning.
	From json.RawMessage
	// Until is the cursor up to which it goes, itself included. Nil: to the end. The
	// source must heed it, by the power [RequestChecker], as the Keyset of pgtable and
	// of sqltable does.
	Until json.RawMessage
	// Params are given to the source, as Request.Params: any JSON. The source must
	// take them, by the power [RequestChecker]. Nil: none.
	Params json.RawMessage

	// Append lets it write to a sink that only appends, where records that are there
	// already will be there twice.
	Append bool

	// At is when it starts. Zero: now.
	At time.Time
	// Actor and Reason say who asks for it and why. They are kept with the run.
	Actor  string
	Reason string
}

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
	why := startReason{
		trigger: TriggerBackfill, key: digest(p.From, p.Until),
		asked: &askedRun{backfill: true, from: p.From, until: p.Until},
	}
	if !p.At.IsZero() {
		why.asked.key = "at:" + p.At.UTC().Format(time.RFC3339Nano) + ":" + why.key
	}
	ctx = context.WithValue(ctx, triggerKey{}, &TriggerOptions{Actor: p.Actor, Reason: p.Reason, Params: p.Params})
	var run *Run
	err = c.store.InTx(ctx, func(ctx context.Context, tx Tx) (err error) {
		run, err = f.startFor(ctx, tx, why, p.At)
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
		errs = append(errs, &ConfigError{Field: "Target", Reason: errPart + ": start a run of the flow, which reads everything"})
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
	case sameJSON(*value, json.RawMessage("null")):
		*value = nil
		return nil
	case *value == nil:
		return nil
	case !json.Valid(*value):
		return &ConfigError{Field: field, Reason: fmt.Sprintf("%s is not JSON: a text, for one, stands in double quotes", clip(string(*value)))}
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

// askedRun is what a run is asked for that is not one of the flow's usual ones.
type askedRun struct {
	backfill    bool
	scope       string          // empty: a new one
	from, until json.RawMessage // of a backfill
	params      json.RawMessage // of a retry
	key         string          // under which at most one waits; empty: the usual one
}

// askedAgain is what a run was asked for, for one in its place.
func askedAgain(r *Run) *askedRun {
	a := &askedRun{backfill: r.IsBackfill(), scope: r.Scope, until: r.UntilCursor, params: r.Params}
	if !a.backfill {
		return a
	}
	a.key = "backfill " + r.Scope // whichever of its runs is tried again
	if !sameJSON(r.FromCursor, json.RawMessage("null")) {
		a.from = r.FromCursor
	}
	return a
}

// fill puts what is asked for into the parameters of a run. a may be nil.
func (a *askedRun) fill(p *RunInsertParams) {
	if a == nil {
		return
	}
	p.Backfill, p.Scope, p.From, p.Until = a.backfill, a.scope, a.from, a.until
	if a.params != nil {
		p.Params = a.params
	}
	if a.key != "" {
		p.UniqueKey = string(p.Trigger) + ":" + a.key
	}
}

// own is how many of the flow's own runs are in progress or wait.
func (a *Activity) own() int { return a.InProgress + a.Waiting - a.Backfills }

// digest tells JSON values apart.
func digest(values ...json.RawMessage) string {
	h := sha256.New()
	for _, v := range values {
		var b bytes.Buffer
		if json.Compact(&b, v) != nil {
			b.Reset()
		}
		h.Write(fmt.Appendf(nil, "%d:%s", b.Len(), b.Bytes()))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// checkParams refuses parameters that the flow's source does not take, as far as this
// process knows.
func (f *Flow) checkParams(params json.RawMessage) error {
	if !json.Valid(params) {
		return &ConfigError{Field: "Params", Reason: fmt.Sprintf("%s is not JSON: a text, for one, stands in double quotes", clip(string(params)))}
	}
	if !f.Registered() {
		return nil
	}
	return f.code.checkRequest(nil, nil, params)
}

func (p *typedPipeline[T, C, Out]) appendOnly() bool { return p.target.appendOnly() }

// checkRequest returns a *ConfigError if the source does not heed what is asked of it.
func (p *typedPipeline[T, C, Out]) checkRequest(from, until, params json.RawMessage) error {
	r := Request[C]{Params: params}
	if from != nil {
		r.Resumed = true
		if err := decodeStrict(from, &r.From); err != nil {
			return err
		}
	}
	return p.bound(&r, until)
}

// bound sets where a read ends, and asks the source whether it does what the request
// says.
func (p *typedPipeline[T, C, Out]) bound(r *Request[C], until json.RawMessage) error {
	if until != nil {
		var err error
		if r.Until, err = p.decodeCursor(until); err != nil {
			return &ConfigError{Field: "Until", Reason: err.Error()}
		}
		r.Bounded = true
	}
	if checker, ok := p.source.(RequestChecker[C]); ok {
		return guard(func() error { return checker.CheckRequest(*r) })
	}
	const power = ", by the power RequestChecker: leave it out, or use a source that does"
	switch {
	case r.Bounded:
		return &ConfigError{Field: "Until", Reason: fmt.Sprintf("the source (%s) does not say that it ends a read there%s, such as pgtable.Keyset", describe(p.source).Type, power)}
	case r.Params != nil:
		return &ConfigError{Field: "Params", Reason: fmt.Sprintf("the source (%s) does not say that it takes parameters%s", describe(p.source).Type, power)}
	default:
		return nil
	}
}
