package dataflowhttp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
	"github.com/activedataflow/dataflow/internal/mask"
)

func ptr[T any](v T) *T { return &v }

// decodeStrictly reads one JSON value, and refuses fields that v does not have.
func decodeStrictly(data []byte, v any) error {
	if !utf8.Valid(data) { // package json would put other characters in place of these bytes
		return errors.New("the body is not in UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("the body is not what this path takes: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the body has more than one JSON value")
	}
	for tokens := json.NewDecoder(bytes.NewReader(data)); ; {
		token, err := tokens.Token()
		if err != nil {
			return nil //nolint:nilerr // the end: all of it was decoded before
		}
		if text, ok := token.(string); ok && !storable(text) {
			return fmt.Errorf("the body has the text %q: use texts without NUL characters", text)
		}
	}
}

// given is a JSON value of a body. null is none.
func given(value json.RawMessage) json.RawMessage {
	if string(value) == "null" {
		return nil
	}
	return value
}

func pause(ctx context.Context, a *api, q *call, b *reasonBody) (*jsonview.Flow, error) {
	f, err := a.client.Pause(ctx, q.PathValue("name"), q.actor, b.Reason)
	if err != nil {
		return nil, err
	}
	return ptr(a.flow(f)), nil
}

func resume(ctx context.Context, a *api, q *call, b *reasonBody) (*jsonview.Flow, error) {
	f, err := a.client.Resume(ctx, q.PathValue("name"), q.actor, b.Reason)
	if err != nil {
		return nil, err
	}
	return ptr(a.flow(f)), nil
}

func trigger(ctx context.Context, a *api, q *call, b *runBody) (*jsonview.Run, error) {
	if err := a.unmasked("params", b.Params); err != nil {
		return nil, err
	}
	run, err := a.client.Enqueue(ctx, q.PathValue("name"), &dataflow.TriggerOptions{At: b.At, Params: given(b.Params), Actor: q.actor, Reason: b.Reason})
	if err != nil {
		return nil, err
	}
	return ptr(a.run(run)), nil
}

func backfill(ctx context.Context, a *api, q *call, b *backfillBody) (*runList, error) {
	if err := errors.Join(a.unmasked("from", b.From), a.unmasked("until", b.Until), a.unmasked("params", b.Params)); err != nil {
		return nil, err
	}
	runs, err := a.client.BackfillRanges(ctx, q.PathValue("name"), cmp.Or(b.Ranges, 1), &dataflow.BackfillParams{
		From: given(b.From), Until: given(b.Until), FromTime: b.FromTime, UntilTime: b.UntilTime, Params: given(b.Params), Append: b.Append, At: b.At, Actor: q.actor, Reason: b.Reason,
	})
	if err != nil {
		return nil, err
	}
	return &runList{Runs: jsonview.All(runs, a.run)}, nil
}

func setCursor(ctx context.Context, a *api, q *call, b *cursorBody) (*jsonview.Cursor, error) {
	// A null cursor is the beginning, and so is not the same as none.
	if b.Cursor == nil {
		return nil, &dataflow.ConfigError{Field: "cursor", Reason: "it is missing: give the cursor in the form of the flow's source, or null for the beginning"}
	}
	if b.IfCursor != nil && a.mask.Hidden(b.IfCursor) {
		return nil, &dataflow.ConfigError{Field: "if_cursor", Reason: "it holds a value that this API does not show: use if_seq"}
	}
	if err := a.unmasked("cursor", b.Cursor); err != nil {
		return nil, err
	}
	c, err := a.client.SetCursor(ctx, q.PathValue("name"), &dataflow.SetCursorParams{
		Cursor: given(b.Cursor), IfSeq: b.IfSeq, IfCursor: b.IfCursor, Actor: q.actor, Reason: b.Reason,
	})
	if err != nil {
		return nil, err
	}
	return ptr(a.cursor(c)), nil
}

func replay(ctx context.Context, a *api, q *call, b *replayBody) (*replayed, error) {
	if b.IDs != nil && len(b.IDs) == 0 {
		return nil, &dataflow.ConfigError{Field: "ids", Reason: "it is empty: name dead letters, or leave it out to replay all that are open"}
	}
	report, err := a.client.Replay(ctx, q.PathValue("name"), &dataflow.ReplayParams{IDs: b.IDs, Actor: q.actor, Reason: b.Reason})
	if err != nil {
		return nil, err
	}
	answer := replayed{Replayed: append([]int64{}, report.Replayed...), Failed: make(map[int64]string)}
	for id, failed := range report.Failed {
		answer.Failed[id] = a.mask.Text(failed.Error())
	}
	return &answer, nil
}

func closeLetters(ctx context.Context, a *api, q *call, b *closeBody) (*closed, error) {
	n, err := a.client.CloseDeadLetters(ctx, q.PathValue("name"), &dataflow.CloseDeadLettersParams{IDs: b.IDs, All: b.All, State: b.State, Actor: q.actor, Reason: b.Reason})
	if err != nil {
		return nil, err
	}
	return &closed{Closed: n}, nil
}

func editLetter(ctx context.Context, a *api, q *call, b *payloadBody) (*jsonview.DeadLetter, error) {
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	if b.Payload == nil {
		return nil, &dataflow.ConfigError{Field: "payload", Reason: "it is missing: give the whole record"}
	}
	if err := a.unmasked("payload", b.Payload); err != nil {
		return nil, err
	}
	l, err := a.client.EditDeadLetter(ctx, id, b.Payload, q.actor)
	if err != nil {
		return nil, err
	}
	return ptr(a.deadLetter(l)), nil
}

func cancel(ctx context.Context, a *api, q *call, b *reasonBody) (*jsonview.Run, error) {
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	run, err := a.client.Cancel(ctx, id, q.actor, b.Reason)
	if err != nil {
		return nil, err
	}
	return ptr(a.run(run)), nil
}

func retry(ctx context.Context, a *api, q *call, _ *noBody) (*jsonview.Run, error) {
	id, err := q.id()
	if err != nil {
		return nil, err
	}
	run, err := a.client.Retry(ctx, id, q.actor)
	if err != nil {
		return nil, err
	}
	return ptr(a.run(run)), nil
}

func (a *api) flow(f *dataflow.Flow) jsonview.Flow {
	v := jsonview.OfFlow(f)
	v.Runtime, v.Source, v.Sink = a.mask.JSON(v.Runtime), a.mask.JSON(v.Source), a.mask.JSON(v.Sink)
	v.LastError, v.TrippedReason, v.StateReason = a.mask.Text(v.LastError), a.mask.Text(v.TrippedReason), a.mask.Text(v.StateReason)
	return v
}

func (a *api) run(r *dataflow.Run) jsonview.Run {
	v := jsonview.OfRun(r)
	v.Params = a.payload(v.Params)
	v.FromCursor, v.ToCursor, v.UntilCursor = a.mask.JSON(v.FromCursor), a.mask.JSON(v.ToCursor), a.mask.JSON(v.UntilCursor)
	v.Error, v.WaitsFor, v.Reason, v.CancelReason = a.mask.Text(v.Error), a.mask.Text(v.WaitsFor), a.mask.Text(v.Reason), a.mask.Text(v.CancelReason)
	if a.opts.RiverUI != "" && v.RiverJobID != 0 {
		v.RiverJobURL = strings.TrimSuffix(a.opts.RiverUI, "/") + "/jobs/" + strconv.FormatInt(v.RiverJobID, 10)
	}
	v.Errors = slices.Clone(v.Errors)
	for i := range v.Errors {
		v.Errors[i].Error, v.Errors[i].Stack = a.mask.Text(v.Errors[i].Error), a.mask.Text(v.Errors[i].Stack)
	}
	return v
}

func (a *api) cursor(c *dataflow.FlowCursor) jsonview.Cursor {
	v := jsonview.OfCursor(c)
	v.Cursor = a.mask.JSON(v.Cursor)
	if c.Change != nil {
		v.Change = ptr(a.change(c.Change))
	}
	return v
}

func (a *api) change(c *dataflow.CursorChange) jsonview.CursorChange {
	v := jsonview.OfCursorChange(c)
	v.From, v.To, v.Reason = a.mask.JSON(v.From), a.mask.JSON(v.To), a.mask.Text(v.Reason)
	return v
}

func (a *api) deadLetter(l *dataflow.DeadLetterRecord) jsonview.DeadLetter {
	v := jsonview.OfDeadLetter(l)
	v.Payload, v.Key, v.Error, v.Reason = a.payload(v.Payload), a.mask.Text(v.Key), a.mask.Text(v.Error), a.mask.Text(v.Reason)
	if v.Original != nil {
		v.Original = a.payload(v.Original)
	}
	return v
}

// unmasked returns an error if a value that somebody gives is one that the API has hidden.
func (a *api) unmasked(field string, data json.RawMessage) error {
	if !a.mask.Hidden(data) {
		return nil
	}
	return &dataflow.ConfigError{Field: field, Reason: "it holds " + mask.Mark + ", which stands for a value that this API does not show: give the true value"}
}

// audit is an entry of the audit log as the options allow it to be shown.
func (a *api) audit(e *dataflow.AuditEntry) jsonview.AuditEntry {
	v := jsonview.OfAuditEntry(e)
	v.Reason, v.Before, v.After = a.mask.Text(v.Reason), a.mask.JSON(v.Before), a.mask.JSON(v.After)
	var after map[string]json.RawMessage
	if a.opts.HidePayloads && json.Unmarshal(v.After, &after) == nil && after["params"] != nil {
		after["params"] = a.payload(after["params"])
		if data, err := json.Marshal(after); err == nil {
			v.After = data
		}
	}
	return v
}

// payload is a user's data as the options allow it to be shown.
func (a *api) payload(data json.RawMessage) json.RawMessage {
	if a.opts.HidePayloads && data != nil {
		return json.RawMessage(`"hidden"`)
	}
	return a.mask.JSON(data)
}
