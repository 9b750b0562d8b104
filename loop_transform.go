package dataflow

import (
	"context"
	"fmt"
	"time"

	"github.com/activedataflow/dataflow/internal/batch"
)

// madeBatch is a batch together with its transformed records.
type madeBatch struct {
	*readBatch
	results   any      // a *Results[Out]
	out       *outcome // of results
	rows      records  // of results
	makeBegan time.Time
	makeTook  time.Duration
}

// batchesAlone is how many batches are worked one by one at the beginning of an attempt, if
// workers died on its run. Then the next death can be blamed on one batch: the one after the
// run's cursor. One batch may be committed, one written, one transformed and one read at the
// same time: so many may lie between the cursor and the batch that killed the worker.
const batchesAlone = 4

// batchMaker transforms a batch while the one before it is written.
type batchMaker struct {
	p         *flowCode
	a         *attempt
	read      *batch.Ahead[*readBatch]
	abandoned <-chan error     // gets an error if the source is given up
	turnstile *batch.Turnstile // see batchesAlone
	free      chan *madeBatch  // to be filled again
	// transforming is full while the transform is in use.
	transforming chan struct{}
	watch        *busyWatch
}

// recycle takes back a batch that was written, to be filled again. The reader takes back its
// readBatch.
func (m *batchMaker) recycle(b *madeBatch) {
	b.readBatch, b.makeBegan, b.makeTook = nil, time.Time{}, 0
	b.out.reset(b.rows)
	select {
	case m.free <- b:
	default:
	}
}

// make transforms all batches that are read. When the client stops, it stops waiting for the
// source.
func (m *batchMaker) make(ctx context.Context, hand func(*madeBatch) bool) error {
	return guard(func() error {
		for number := 1; ; number++ {
			if m.a.stopping() {
				return ErrStopped
			}
			b, ok, err := m.next(ctx)
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

// next returns the next batch that is read, or false at the end.
func (m *batchMaker) next(ctx context.Context) (*readBatch, bool, error) {
	select {
	case b, ok := <-m.read.Batches():
		if !ok {
			return nil, false, m.read.Err()
		}
		return b, true, nil
	case <-m.a.gate.stopping:
		return nil, false, ErrStopped
	case err := <-m.abandoned:
		return nil, false, err
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
}

// apply hands a batch to the transform. A panic is an error, so that its place can be added to it.
func (p *flowCode) apply(ctx context.Context, b *readBatch, made *madeBatch) error {
	return guard(func() error { return p.types.apply(ctx, b, made) })
}

func (m *batchMaker) apply(ctx context.Context, b *readBatch) (*madeBatch, error) {
	var made *madeBatch
	select {
	case made = <-m.free:
	default:
		made = m.p.types.newMade()
	}
	made.readBatch = b
	if b.count == 0 {
		return made, nil
	}
	select {
	case m.transforming <- struct{}{}:
		defer func() { <-m.transforming }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	began := time.Now() //nolint:forbidigo // how long it takes, not what time it is
	m.watch.begin()
	defer m.watch.end(ctx)
	if err := m.p.apply(ctx, b, made); err != nil {
		return nil, fmt.Errorf("transform records %s to %s: %w", b.key(0), b.key(b.count-1), foreign(err))
	}
	made.out.dropFailed(made.rows)
	made.makeBegan, made.makeTook = began, time.Since(began)
	return made, nil
}
