package dataflow

import (
	"context"
	"errors"
	"fmt"
)

// ReplaceSink writes to a place in the client's database whose whole content each run
// replaces by what it has written. Until a run has come to the end of its source, readers
// find what the last one has left there; and so they do if it fails, is cancelled or
// killed. Package pgtable has one for a table.
//
// Like the other sinks, it may have the powers [Validator] and [Describer].
type ReplaceSink[T any] interface {
	// BeginTx begins to write anew, in a transaction that is committed before the
	// first batch. It is called at the start of each attempt at a run, which reads the
	// source from its beginning: what another attempt at a run of this flow has written,
	// and not brought to its end, is to be thrown away. At most one attempt of a flow can
	// commit at a time. A preview begins under a name that no flow can have, and is
	// rolled back.
	BeginTx(ctx context.Context, flow string) (Replacement[T], error)
}

// Replacement is what one attempt at a run writes. All of its methods write in the
// transaction that a driver package's TxFrom(ctx) returns, which also commits a
// checkpoint: of a worker whose run was taken over it is rolled back.
type Replacement[T any] interface {
	// TxSink writes batches where no reader finds them.
	TxSink[T]
	// EndTx puts all that was written in the place of what is there. It is called once,
	// when the source has ended and all batches are committed; again, if that
	// transaction did not come to its end.
	EndTx(ctx context.Context) error
}

// ToReplace replaces what is in a sink by what the run writes, as a whole: each record of
// the last run that succeeded is there exactly once, and nothing else.
//
// The source must have no cursor: one with a cursor reads only what is new, by which the
// rest would be replaced. Nor can the flow have [OverlapAllow], backfills or
// [Client.Replay], which would replace everything by a part. A run with Params replaces
// everything by what its source reads with them.
func ToReplace[T any](sink ReplaceSink[T]) Target[T] { return Target[T]{replace: sink} }

// errPart is why nothing but a run can write to a sink that is replaced as a whole.
const errPart = "the flow's target replaces all that is there by what one run writes"

func (p *typedPipeline[T, C, Out]) replaces() bool { return p.target.replace != nil }

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
