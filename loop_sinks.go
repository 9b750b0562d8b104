package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/activedataflow/dataflow/internal/stored"
)

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
		return Permanent(fmt.Errorf("the sink's checkpoint %s was not written by this library", stored.Clip(string(data))))
	}
	if stored.Same(state.Cursor, a.stored) || state.Seq < a.setSeq { // somebody has set the cursor since
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

// errPart is why nothing but a run can write to a sink that is replaced as a whole.
const errPart = "the flow's target replaces all that is there by what one run writes"

// inTx returns what writes the batches of an attempt in the checkpoints' transactions,
// nil if the sink is elsewhere.
func (p *typedPipeline[T, C, Out]) inTx(ctx context.Context, a *attempt) (sink TxSink[Out], err error) {
	if !p.replaces() {
		return p.target.txSink, nil
	}
	err = a.commitAgain(ctx, step{seq: a.seq, write: func(ctx context.Context, _ Tx, _ Queries, _ *step) error {
		sink, err = p.begin(ctx, a.flow.Name)
		return err
	}})
	a.committed = false // nothing was read: it is no progress
	return sink, err
}

// begin begins a replacement in a transaction.
func (p *typedPipeline[T, C, Out]) begin(ctx context.Context, flow string) (Replacement[Out], error) {
	var r Replacement[Out]
	err := guard(func() (err error) {
		r, err = p.target.replace.BeginTx(ctx, flow)
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("begin to replace: %w", foreign(err))
	case isNil(r):
		return nil, Permanent(errors.New("begin to replace: the sink's BeginTx returned nothing to write to"))
	default:
		return r, nil
	}
}

// end replaces, behind the last batch, what is there, if that is how the target writes. A
// run that somebody has cancelled by then is not to be seen.
func (w *batchWriter[T, C, Out]) end(ctx context.Context) error {
	r, ok := w.txSink.(Replacement[Out])
	if !ok || !w.replaces() {
		return nil
	}
	return w.commitAgain(ctx, step{seq: w.next(), write: func(ctx context.Context, _ Tx, q Queries, _ *step) error {
		if err := guard(func() error { return r.EndTx(ctx) }); err != nil {
			return fmt.Errorf("replace: %w", foreign(err))
		}
		claim, err := q.RunHeld(ctx, w.claimed, w.client.config.Lease)
		switch {
		case err != nil:
			return fmt.Errorf("replace: look at the run: %w", err)
		case claim == nil:
			return ErrFenced
		case claim.Run.CancelRequestedAt != nil:
			return errCancelled
		default:
			return nil
		}
	}})
}
