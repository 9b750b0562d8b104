package dataflow

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// notesTimeout is how long a source may take for its notes.
const notesTimeout = 5 * time.Second

// told is what a flow's source was last heard to note. What is new is logged.
type told struct {
	mu    sync.Mutex
	asked bool
	notes []string
}

// notes asks the source what it has to say about a read from a cursor, nil for the beginning.
func (p sourceCursors[C]) notes(ctx context.Context, from json.RawMessage) []string {
	req := &Request[C]{}
	if from != nil && p.resumable() {
		c, err := p.decodeCursor(from)
		if err != nil {
			return nil // the run says it
		}
		req.From, req.Resumed = c, true
	}
	notes, err := p.ask(ctx, req)
	if err != nil {
		return nil // a run meets the error too
	}
	return notes
}

func (p sourceCursors[C]) ask(ctx context.Context, req any) (notes []string, err error) {
	noter, ok := p.source.(Noter[C])
	r, typed := req.(*Request[C])
	if !ok || !typed {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, notesTimeout)
	defer cancel()
	err = guard(func() (err error) {
		notes, err = noter.Notes(ctx, *r)
		return err
	})
	return notes, err
}

// tell logs what the source notes, after the first attempt in this process and after each
// that read nothing.
func (p *flowCode) tell(ctx context.Context, a *attempt, req any, empty bool) {
	p.told.mu.Lock()
	defer p.told.mu.Unlock()
	if p.told.asked && !empty || ctx.Err() != nil {
		return
	}
	notes, err := p.ask(ctx, req)
	if err != nil {
		a.log.DebugContext(ctx, "dataflow: the source could not say what is to be noted", slog.String(logError, err.Error()))
		return
	}
	for _, note := range notes {
		if !slices.Contains(p.told.notes, note) {
			a.log.WarnContext(ctx, "dataflow: note of the source", slog.String(logReason, note))
		}
	}
	p.told.asked, p.told.notes = true, notes
}
