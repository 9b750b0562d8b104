package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/activedataflow/dataflow/internal/stored"
)

// sinkState is the state that a FencedSink keeps: the flow's cursor, and the counters of the
// last batch, in case our checkpoint lacks that batch.
type sinkState struct {
	Cursor json.RawMessage `json:"cursor"`
	Delta  Counters        `json:"delta"`
	// Seq is the sequence number of our checkpoint before the batch.
	Seq int64 `json:"seq,omitempty"`
}

// claimSink tells the sink about the claim. Then it brings our checkpoint up to the sink's,
// which is committed first, and so may be one batch ahead.
func (p *flowCode) claimSink(ctx context.Context, a *attempt) error {
	var data json.RawMessage
	err := guard(func() (err error) {
		data, err = p.sink.claim(ctx, a.sinkName(), a.place.fence)
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
	if stored.Same(state.Cursor, a.place.cursor) || state.Seq < a.place.setSeq { // it is the same, or somebody has set our cursor since
		return nil
	}
	return a.commitAgain(ctx, step{seq: a.place.seq, cursor: state.Cursor, delta: state.Delta})
}

// sinkName is the name by which a sink elsewhere knows the flow. A backfill has its own
// checkpoint there too, under a name that no flow can have.
func (a *attempt) sinkName() string {
	if !a.run.IsBackfill() {
		return a.flow.Name
	}
	return a.flow.Name + "\tbackfill " + a.run.Scope
}

// sinkFenced checks an ErrFenced of the sink. If the claim is still ours, sink and database
// disagree: no retry can help, and the error becomes permanent.
func (a *attempt) sinkFenced(ctx context.Context, err error) error {
	if !errors.Is(err, ErrFenced) || a.reclaim(ctx) != nil {
		return err
	}
	return Permanent(fmt.Errorf("the sink holds a newer claim than the client's database has ever granted: check whether one of them was restored from a backup: %s", err.Error()))
}

// replacesAll is why only a run can write to a target that is replaced as a whole.
const replacesAll = "the flow's target replaces all that is there by what one run writes"

// beginSink finds what writes the batches in the checkpoints' transactions: the target's
// TxSink, or the replacement that it begins.
func (w *batchWriter) beginSink(ctx context.Context) error {
	if !w.p.replaces() {
		if w.p.target.kind == toTx {
			w.setSink(w.p.target.sink)
		}
		return nil
	}
	err := w.a.commitAgain(ctx, step{seq: w.a.place.seq, writes: replacementBegin})
	w.a.chain.progressed = false // nothing was read: it is no progress
	return err
}

// beginReplacement begins to replace the target in a transaction.
func (p *flowCode) beginReplacement(ctx context.Context, flow string) (any, error) {
	var r any
	err := guard(func() (err error) {
		r, err = p.sink.beginReplacement(ctx, flow)
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

// endReplacement puts what the attempt has written in place of what was there, after the
// last batch, if the target writes so.
func (w *batchWriter) endReplacement(ctx context.Context) error {
	if !w.p.replaces() {
		return nil
	}
	return w.a.commitAgain(ctx, step{seq: w.a.nextSeq(), writes: replacementEnd})
}

// replace ends the replacement in a transaction, unless somebody has cancelled the run by
// then: its rows must not be seen.
func (w *batchWriter) replace(ctx context.Context, tx Tx, q Queries, s *step) error {
	r, ok := w.txSink.(interface {
		EndTx(ctx context.Context) error
	})
	if !ok {
		return nil
	}
	end := func() error { return guard(func() error { return r.EndTx(ctx) }) }
	parts, can := w.txSink.(PartReplacement)
	whole := end
	if can {
		whole = func() error { return w.a.store.Savepoint(ctx, tx, end) }
	}
	err := whole()
	if err != nil && can && w.divisible(err) {
		w.letters = nil
		err = guard(func() error {
			return parts.EndPartsTx(ctx, func(e *RecordError) error {
				e.Stage = StageWrite
				s.delta.Written--
				return w.applyPolicy(ctx, e, &s.delta)
			})
		})
		s.letters = w.letters
	}
	if err != nil {
		return fmt.Errorf("replace: %w", foreign(err))
	}
	claim, err := q.RunHeld(ctx, w.a.claimed, w.a.config.Lease)
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
}
