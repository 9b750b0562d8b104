package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/activedataflow/dataflow/internal/stored"
)

// SetCursorParams are the parameters of [Client.SetCursor]: where a flow is to continue, and
// what the caller has seen.
type SetCursorParams struct {
	// Cursor is where the next run continues: a cursor of the source, as JSON. Nil or JSON
	// null: at the beginning.
	Cursor json.RawMessage

	// IfSeq and IfCursor are what the caller has seen, from [Client.Cursor]. Give at least
	// one. IfSeq also refuses if a run was claimed meanwhile and has read nothing. JSON null
	// as IfCursor is the beginning.
	IfSeq    *int64
	IfCursor json.RawMessage

	// Actor and Reason say who sets the cursor and why. They are stored in the history.
	Actor  string
	Reason string
}

// Cursor returns where a flow continues, or ErrNotFound. For a flow with [OverlapAllow], whose
// source has no cursor, that is always the beginning.
func (c *Client) Cursor(ctx context.Context, name string) (*FlowCursor, error) {
	rec, err := c.store.FlowByName(ctx, name)
	var cur *FlowCursor
	if err == nil {
		cur, err = currentCursor(ctx, c.store, rec.ID)
	}
	if err != nil {
		return nil, public(fmt.Errorf("get cursor of flow %q: %w", name, err))
	}
	return cur, nil
}

// currentCursor returns a flow's cursor, and how it was set.
func currentCursor(ctx context.Context, q Queries, flowID int64) (*FlowCursor, error) {
	cur, err := q.CursorGet(ctx, flowID)
	if err != nil || cur.At == nil || cur.RunID != 0 {
		return cur, err
	}
	history, err := q.CursorHistory(ctx, &CursorHistoryParams{FlowID: flowID, Limit: 1})
	if err == nil && len(history) > 0 {
		cur.Change = history[0]
	}
	return cur, err
}

// CursorHistory lists how a flow's cursor was set, newest first. The runs show how they moved
// it. params may be nil.
func (c *Client) CursorHistory(ctx context.Context, name string, params *CursorHistoryParams) ([]*CursorChange, error) {
	var p CursorHistoryParams
	rec, err := c.store.FlowByName(ctx, name)
	if err == nil {
		p, err = page(params)
		p.FlowID = rec.ID
	}
	var changes []*CursorChange
	if err == nil {
		changes, err = c.store.CursorHistory(ctx, &p)
	}
	if err != nil {
		return nil, public(fmt.Errorf("list cursor changes of flow %q: %w", name, err))
	}
	return changes, nil
}

// SetCursor sets where a flow continues, if the flow is still where the caller has seen it. It
// returns the new place. If the flow has moved, the error is ErrCursorMoved, and the result is
// where the flow is now.
//
// While a run of the flow is in progress, the error is ErrAlreadyRunning: wait for the run, or
// pause the flow and cancel the run. A run that was taken for dead, and wakes up later, cannot
// commit anything. A run that waits for its next attempt or slice continues at the new cursor.
//
// If this process has the flow's code, the cursor must be one of the flow's source. Otherwise
// the error is a *[ConfigError]. Without the code, the next run fails on such a cursor.
//
// After a step back, records are read again. The sink decides what happens to them. A sink
// that upserts writes them again. A sink that only appends has them twice. A sink that knows
// its earlier batches or keys may leave them out.
func (c *Client) SetCursor(ctx context.Context, name string, params *SetCursorParams) (*FlowCursor, error) {
	fail := func(err error) error { return public(fmt.Errorf("set cursor of flow %q: %w", name, err)) }
	own := SetCursorParams{}
	if params != nil {
		own = *params
	}
	params = &own
	f, err := c.Flow(ctx, name)
	if err != nil {
		return nil, fail(private(err))
	}
	if err := params.validate(f); err != nil {
		return nil, fail(err)
	}
	var cur *FlowCursor
	err = c.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := c.store.With(tx)
		if err != nil {
			return err
		}
		if cur, err = q.CursorLock(ctx, f.ID); err != nil {
			return err
		}
		if err := params.check(ctx, q, cur); err != nil {
			return err
		}
		err = q.CursorSet(ctx, &CursorSetParams{FlowID: f.ID, Seq: cur.Seq, From: cur.Cursor, To: params.Cursor, Actor: params.Actor, Reason: params.Reason})
		if err != nil {
			return err
		}
		before := cursorState(cur)
		if cur, err = currentCursor(ctx, q, f.ID); err != nil {
			return err
		}
		return noteAction(ctx, q, AuditSetCursor, f.ID, 0, params.Actor, params.Reason, before, cursorState(cur))
	})
	if errors.Is(err, ErrCursorMoved) {
		return cur, fail(err)
	}
	if err != nil {
		return nil, fail(err)
	}
	c.log.InfoContext(ctx, "dataflow: cursor set", slog.String(logFlow, name), slog.String("cursor", stored.PlaceText(cur.Cursor)), slog.Int64("seq", cur.Seq),
		slog.String("actor", params.Actor), slog.String(logReason, params.Reason))
	return cur, nil
}

// cursorState is what the audit log shows of a cursor.
func cursorState(c *FlowCursor) map[string]any {
	return map[string]any{"cursor": c.Cursor, "seq": c.Seq}
}

// validate returns what is wrong with the parameters, as far as this process can tell.
func (p *SetCursorParams) validate(f *Flow) error {
	var errs []error
	if p.IfSeq == nil && p.IfCursor == nil {
		errs = append(errs, &ConfigError{Field: "IfSeq", Reason: "neither it nor IfCursor is set: give one of them, from client.Cursor, so that you overwrite nothing that you have not seen"})
	}
	for _, c := range []struct {
		field  string
		cursor json.RawMessage
	}{{"Cursor", p.Cursor}, {"IfCursor", p.IfCursor}} {
		if c.cursor != nil && !json.Valid(c.cursor) {
			errs = append(errs, &ConfigError{Field: c.field, Reason: fmt.Sprintf("%s is not JSON: put a text in double quotes", stored.Clip(string(c.cursor)))})
		}
	}
	if stored.Same(p.Cursor, json.RawMessage("null")) {
		p.Cursor = nil
	}
	if err := errors.Join(errs...); err != nil || !f.Registered() || p.Cursor == nil {
		return err
	}
	return checkPlace("Cursor", &p.Cursor, f.code.checkCursor)
}

// check compares what the caller has seen with the flow's cursor, which is locked.
func (p *SetCursorParams) check(ctx context.Context, q Queries, cur *FlowCursor) error {
	live, err := q.RunLive(ctx, cur.FlowID)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(live, func(r *Run) bool { return r.State == RunInProgress && !r.IsBackfill() }); i >= 0 {
		return fmt.Errorf("%w: run %d is in progress on worker %s: wait until it has ended, or pause the flow and cancel the run", ErrAlreadyRunning, live[i].ID, live[i].Worker)
	}
	if p.IfSeq != nil && *p.IfSeq != cur.Seq {
		return fmt.Errorf("%w: its sequence number is not %d: it is %d, at %s", ErrCursorMoved, *p.IfSeq, cur.Seq, stored.PlaceText(cur.Cursor))
	}
	seen := p.IfCursor
	if stored.Same(seen, json.RawMessage("null")) {
		seen = nil
	}
	if p.IfCursor != nil && !stored.Same(seen, cur.Cursor) {
		return fmt.Errorf("%w: it is not at %s: it is at %s, with the sequence number %d", ErrCursorMoved, stored.PlaceText(seen), stored.PlaceText(cur.Cursor), cur.Seq)
	}
	return nil
}
