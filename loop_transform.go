package dataflow

import (
	"context"
	"fmt"
	"time"

	"github.com/activedataflow/dataflow/internal/batch"
)

// madeBatch is a batch together with its transformed records.
type madeBatch[T, C, Out any] struct {
	*readBatch[T, C]
	out      Results[Out]
	makeTook time.Duration
}

// batchesAlone is how many batches are worked one by one at the beginning of an attempt, if
// workers died on its run. Then the next death can be blamed on one batch: the one after the
// run's cursor. One batch may be committed, one written, one transformed and one read at the
// same time: so many may lie between the cursor and the batch that killed the worker.
const batchesAlone = 4

// batchMaker transforms a batch while the one before it is written.
type batchMaker[T, C, Out any] struct {
	p         *typedPipeline[T, C, Out]
	a         *attempt
	read      *batch.Ahead[*readBatch[T, C]]
	abandoned <-chan error               // gets an error if the source is given up
	turnstile *batch.Turnstile           // see batchesAlone
	free      chan *madeBatch[T, C, Out] // to be filled again
}

// recycle takes back a batch that was written, to be filled again. The reader takes back its
// readBatch.
func (m *batchMaker[T, C, Out]) recycle(b *madeBatch[T, C, Out]) {
	b.readBatch = nil
	select {
	case m.free <- b:
	default:
	}
}

// make transforms all batches that are read. When the client stops, it stops waiting for the
// source.
func (m *batchMaker[T, C, Out]) make(ctx context.Context, hand func(*madeBatch[T, C, Out]) bool) error {
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-m.a.gate.stopping:
			cancel(ErrStopped)
		case err := <-m.abandoned:
			cancel(err)
		case <-waiting.Done():
		}
	}()
	return guard(func() error {
		for number := 1; ; number++ {
			if m.a.stopping() {
				return ErrStopped
			}
			b, ok, err := m.read.Next(waiting, nil)
			if err != nil || !ok || !m.a.slice.turns.MayTransform() {
				return err
			}
			made, err := m.apply(ctx, b)
			if err != nil {
				return err
			}
			if !hand(made) || !m.turnstile.Wait(ctx, number) {
				return ctx.Err()
			}
		}
	})
}

func (m *batchMaker[T, C, Out]) apply(ctx context.Context, b *readBatch[T, C]) (*madeBatch[T, C, Out], error) {
	var made *madeBatch[T, C, Out]
	select {
	case made = <-m.free:
		made.out.reset()
		made.makeTook = 0
	default:
		made = &madeBatch[T, C, Out]{}
	}
	made.readBatch = b
	if len(b.rows) == 0 {
		return made, nil
	}
	began := time.Now() //nolint:forbidigo // how long it takes, not what time it is
	if err := m.p.transform.Apply(ctx, b.rows, &made.out); err != nil {
		return nil, fmt.Errorf("transform records %s to %s: %w", b.key(0), b.key(len(b.rows)-1), foreign(err))
	}
	made.out.dropFailed()
	made.makeTook = time.Since(began)
	return made, nil
}
