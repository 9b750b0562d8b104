package dataflowhttp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

func ptr[T any](v T) *T { return &v }

// decodeStrictly reads one JSON value, and refuses fields that v does not have.
func decodeStrictly(data []byte, v any) error {
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
	run, err := a.client.Enqueue(ctx, q.PathValue("name"), &dataflow.TriggerOptions{At: b.At, Params: given(b.Params), Actor: q.actor, Reason: b.Reason})
	if err != nil {
		return nil, err
	}
	return ptr(a.run(run)), nil
}

func backfill(ctx context.Context, a *api, q *call, b *backfillBody) (*runList, error) {
	runs, err := a.client.BackfillRanges(ctx, q.PathValue("name"), cmp.Or(b.Ranges, 1), &dataflow.BackfillParams{
		From: given(b.From), Until: given(b.Until), Params: given(b.Params), Append: b.Append, At: b.At, Actor: q.actor, Reason: b.Reason,
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
	c, err := a.client.SetCursor(ctx, q.PathValue("name"), &dataflow.SetCursorParams{
		Cursor: given(b.Cursor), IfSeq: b.IfSeq, IfCursor: b.IfCursor, Actor: q.actor, Reason: b.Reason,
	})
	if err != nil {
		return nil, err
	}
	return ptr(jsonview.OfCursor(c)), nil
}

func replay(ctx context.Context, a *api, q *call, b *replayBody) (*replayed, error) {
	if b.IDs != nil && len(b.IDs) == 0 {
		return nil, &dataflow.ConfigError{Field: "ids", Reason: "it is empty: name dead letters, or leave it out to replay all that are open"}
	}
	report, err := a.client.Replay(ctx, q.PathValue("name"), b.IDs...)
	if err != nil {
		return nil, err
	}
	answer := replayed{Replayed: append([]int64{}, report.Replayed...), Failed: make(map[int64]string)}
	for id, failed := range report.Failed {
		answer.Failed[id] = failed.Error()
	}
	return &answer, nil
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
	v.Runtime, v.Source, v.Sink = masked(v.Runtime), masked(v.Source), masked(v.Sink)
	return v
}

func (a *api) run(r *dataflow.Run) jsonview.Run {
	v := jsonview.OfRun(r)
	v.Params = a.payload(v.Params)
	return v
}

func (a *api) deadLetter(l *dataflow.DeadLetterRecord) jsonview.DeadLetter {
	v := jsonview.OfDeadLetter(l)
	v.Payload = a.payload(v.Payload)
	return v
}

// payload is a user's data as the options allow it to be shown.
func (a *api) payload(data json.RawMessage) json.RawMessage {
	if a.opts.HidePayloads && data != nil {
		return json.RawMessage(`"hidden"`)
	}
	return masked(data)
}

// secret finds the names of keys whose values are not shown.
var secret = regexp.MustCompile(`(?i)passw|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|authorization|credential|cookie|iban|card[_-]?number|^(dsn|pin|cvc|cvv)$`)

// masked replaces the values of keys that look like secrets, at any depth.
func masked(data json.RawMessage) json.RawMessage {
	if text := bytes.TrimSpace(data); len(text) == 0 || !bytes.ContainsRune([]byte(`{["`), rune(text[0])) {
		return data
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return data
	}
	out, err := json.Marshal(mask(v))
	if err != nil {
		return data
	}
	return out
}

func mask(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if secret.MatchString(key) && value != nil {
				v[key] = "***"
			} else {
				v[key] = mask(value)
			}
		}
		return v
	case []any:
		for i := range v {
			v[i] = mask(v[i])
		}
		return v
	case string:
		// A line that is no record is kept as a text. If it is meant as JSON, it may have such keys.
		text := strings.TrimSpace(v)
		switch {
		case !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "["):
			return v
		case json.Valid([]byte(text)):
			return string(masked(json.RawMessage(text)))
		case secret.MatchString(text):
			return "***"
		}
		return v
	default:
		return v
	}
}
