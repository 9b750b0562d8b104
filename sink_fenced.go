package dataflow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// FencedSink writes records to another transactional store than the client's
// database, and keeps the flow's checkpoint there, beside its rows: exactly once,
// in a store of its own. Package pgtable has one for another Postgres.
//
// The store keeps, for each flow, a fence and a state. A fence is a number that
// grows with each claim of the flow; whoever comes with a lower one than is
// stored has been taken over, and must not write. The state is the engine's; the
// sink stores it and gives it back as it is.
//
// Like a [Sink], it may have the powers [Validator] and [Describer].
type FencedSink[T any] interface {
	// Claim stores the fence and returns the state that was written last, nil if
	// there is none. If a higher fence is stored, it returns ErrFenced.
	Claim(ctx context.Context, flow string, fence int64) (json.RawMessage, error)
	// WriteFenced writes the rows, of which there may be none, and the state, in
	// one transaction, unless another fence than this is stored: ErrFenced.
	WriteFenced(ctx context.Context, b FencedBatch[T]) error
}

// FencedBatch is what a [FencedSink] writes in one transaction.
type FencedBatch[T any] struct {
	Flow  string
	Fence int64
	State json.RawMessage
	Rows  []T
}

// ToFenced writes to another transactional store, which keeps the checkpoint
// beside its rows: exactly once. The source must have a cursor.
func ToFenced[T any](sink FencedSink[T]) Target[T] { return Target[T]{fenced: sink} }

// sinkState is the state that a FencedSink keeps: where the flow is, and what the
// last batch has added to the counters, in case that it is not in ours yet.
type sinkState struct {
	Cursor json.RawMessage `json:"cursor"`
	Delta  Counters        `json:"delta"`
	// Seq is the sequence number of our checkpoint before the batch.
	Seq int64 `json:"seq,omitempty"`
}

// claimSink tells the sink about the claim, and brings our checkpoint up to the
// sink's, which is committed first and so may be one batch ahead.
func (p *typedPipeline[T, C, Out]) claimSink(ctx context.Context, a *attempt) error {
	var data json.RawMessage
	err := guard(func() (err error) {
		data, err = p.target.fenced.Claim(ctx, a.sinkName(), a.fence)
		return err
	})
	if err != nil {
		return a.sinkFenced(ctx, fmt.Errorf("claim the sink's checkpoint: %w", err))
	}
	if data == nil {
		return nil
	}
	var state sinkState
	if err := json.Unmarshal(data, &state); err != nil || state.Cursor == nil {
		return Permanent(fmt.Errorf("the sink's checkpoint %s was not written by this library", clip(string(data))))
	}
	if sameJSON(state.Cursor, a.stored) || state.Seq < a.setSeq { // somebody has set the cursor since
		return nil
	}
	return a.commitAgain(ctx, step{seq: a.seq, cursor: state.Cursor, delta: state.Delta})
}

// writeFenced writes a batch and its checkpoint to the sink, and then ours.
func (w *batchWriter[T, C, Out]) writeFenced(ctx context.Context, s step, failed func(error) error) error {
	state, err := json.Marshal(sinkState{Cursor: s.cursor, Delta: s.delta, Seq: w.seq})
	if err != nil {
		return Permanent(fmt.Errorf("write the sink's checkpoint as JSON: %w", err))
	}
	// Before the sink: between its commit and ours, the letters would be lost.
	if err := w.keepLetters(ctx); err != nil {
		return err
	}
	b := FencedBatch[Out]{Flow: w.sinkName(), Fence: w.fence, State: state, Rows: w.out.rows}
	if err := guard(func() error { return w.target.fenced.WriteFenced(ctx, b) }); err != nil {
		return w.sinkFenced(ctx, failed(err))
	}
	return w.commitAgain(ctx, s)
}

// sinkName is by which name a sink elsewhere knows the flow. A backfill has a
// checkpoint of its own there too, under a name that no flow can have.
func (a *attempt) sinkName() string {
	if !a.run.IsBackfill() {
		return a.flow.Name
	}
	return a.flow.Name + "\tbackfill " + a.run.Scope
}

// sinkFenced makes sure that a sink that says that it is fenced is right. If the
// claim is still ours, no retry can mend it.
func (a *attempt) sinkFenced(ctx context.Context, err error) error {
	if !errors.Is(err, ErrFenced) || a.reclaim(ctx) != nil {
		return err
	}
	return Permanent(fmt.Errorf("the sink holds a newer claim than the client's database has ever granted: was one of them restored from a backup? %s", err.Error()))
}

// sameJSON compares texts, apart from white space.
func sameJSON(a, b json.RawMessage) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}
