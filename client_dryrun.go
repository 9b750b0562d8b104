package dataflow

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// DryRunParams say what a [Client.DryRun] reads. The zero value reads the next 10
// records.
type DryRunParams struct {
	// Limit is how many records are read, up to 10,000. 0: 10.
	Limit int
	// From is the cursor behind which it begins, as JSON; JSON null is the beginning.
	// Nil: where the flow goes on.
	From json.RawMessage
	// Params are given to the source, as Request.Params. Nil: none.
	Params json.RawMessage
}

// DryRunReport is what a run would do with some records.
type DryRunReport struct {
	Flow string
	// From is the cursor behind which was read, nil for the beginning; To the last
	// resume point among the records, nil if there was none.
	From json.RawMessage
	To   json.RawMessage
	// Records are what was read, in its order. More is true when the reading has
	// stopped at the limit, and not at the source's end.
	Records []DryRunRecord
	More    bool
	// Counters are as a run would count these records, with those as dropped that are
	// bad, whatever the flow's policy says of them.
	Counters Counters
	// Written is true if the records were written, in a transaction that was rolled
	// back. Otherwise the sink is outside the database, and was not called.
	Written bool
}

// DryRunRecord is a record that was read, and what would become of it.
type DryRunRecord struct {
	// Key names the record. Before is the record as it was read, and After what the
	// transform made of it, as JSON. What cannot be written as JSON is a text.
	Key    string
	Before json.RawMessage
	After  []json.RawMessage
	// Outcome is what would become of it.
	Outcome DryRunOutcome
	// Stage and Error say where and why a bad record failed, and Action what the flow's
	// policy does with it.
	Stage  Stage
	Error  string
	Action Action
}

// DryRunOutcome is what would become of a record.
type DryRunOutcome string

// The outcomes.
const (
	DryRunInsert    DryRunOutcome = "insert"
	DryRunUpdate    DryRunOutcome = "update"
	DryRunRedundant DryRunOutcome = "redundant"
	// DryRunWrite: it would be written; the sink does not tell whether it is new there,
	// or was not called.
	DryRunWrite    DryRunOutcome = "write"
	DryRunFiltered DryRunOutcome = "filtered"
	DryRunBad      DryRunOutcome = "bad"
)

// DryRun takes the next records of a flow through its code, and leaves no trace: neither
// the flow's cursor, counters and dead letters, nor runs. With a target of [ToTx], they
// are written as in a run, record by record where the database refuses some, in a
// transaction that is rolled back. With [ToReplace] too, but nothing is replaced by them.
// Other sinks are not called. params may be nil.
//
// Not everything can be taken back. What the transform does elsewhere is done; numbers
// that the database gives to new rows are used up; and constraints that are checked at a
// commit are not checked. The rows that it writes are locked until it has ended.
//
// What would end a run's attempt is DryRun's error, such as a source that cannot be
// read. The process must have the flow's code: ErrNotRegistered. While it works a run of
// the flow, which has the same source, it is ErrAlreadyRunning.
func (c *Client) DryRun(ctx context.Context, name string, params *DryRunParams) (*DryRunReport, error) {
	fail := func(err error) (*DryRunReport, error) {
		return nil, public(fmt.Errorf("dry run of flow %q: %w", name, private(err)))
	}
	p := DryRunParams{}
	if params != nil {
		p = *params
	}
	f, err := c.Flow(ctx, name)
	if err != nil {
		return fail(err)
	}
	if !f.Registered() {
		return fail(fmt.Errorf("%w: this process does not have the flow's code", ErrNotRegistered))
	}
	if err := c.gate.enter(); err != nil {
		return fail(err)
	}
	defer c.gate.leave()
	if err := c.notWorking(f); err != nil {
		return fail(err)
	}
	if err := p.settle(ctx, f); err != nil {
		return fail(err)
	}
	var report *DryRunReport
	err = guard(func() error {
		report, err = f.code.dryRun(ctx, f, &p)
		return err
	})
	if err != nil {
		return fail(err)
	}
	return report, nil
}

// notWorking returns an error while this process works a run of a flow.
func (c *Client) notWorking(f *Flow) error {
	for _, a := range c.leases.Holders() {
		if a.flow.ID == f.ID {
			return fmt.Errorf("%w: this process works run %d, with the same source: try again when it has ended, or in another process", ErrAlreadyRunning, a.claimed.RunID)
		}
	}
	return nil
}

// dryRunDefault is how many records a dry run reads if nothing is said.
const dryRunDefault = 10

// settle checks the parameters and fills in where the reading begins.
func (p *DryRunParams) settle(ctx context.Context, f *Flow) error {
	if p.Limit < 0 || p.Limit > maxPage {
		return &ConfigError{Field: "Limit", Reason: fmt.Sprintf("%d is not from 1 to %d, nor 0 for %d", p.Limit, maxPage, dryRunDefault)}
	}
	p.Limit = cmp.Or(p.Limit, dryRunDefault)
	given := p.From != nil
	if err := errors.Join(checkPlace("From", &p.From, f.code.checkCursor), checkPlace("Params", &p.Params, f.checkParams)); err != nil {
		return err
	}
	if given {
		return nil
	}
	cur, err := f.client.store.CursorGet(ctx, f.ID)
	if err == nil {
		p.From = cur.Cursor
	}
	return err
}
