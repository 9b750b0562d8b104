package dataflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/activedataflow/dataflow/internal/exact"
	"github.com/activedataflow/dataflow/internal/stored"
)

// replay takes one dead letter's record through the transform to the sink.
func (p *flowCode) replay(ctx context.Context, store Store, l *DeadLetterRecord) error {
	return p.replayIf(ctx, store, l, func() error { return nil })
}

// replayIf is replay, if may returns nil just before the record is written.
func (p *flowCode) replayIf(ctx context.Context, store Store, l *DeadLetterRecord, may func() error) error {
	if p.target.kind == toFenced {
		return errors.New("its sink keeps the checkpoint, and cannot write a record without one: run a backfill that reads the record again")
	}
	if p.replaces() {
		return errors.New(replacesAll + ": mend what is wrong with the record, and start a run, which reads it again")
	}
	made, err := p.remake(ctx, []*DeadLetterRecord{l})
	if err != nil {
		return err
	}
	if err := may(); err != nil {
		return err
	}
	n := made.rows.len()
	if p.target.kind != toTx && n > 0 {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = l.Key
			if i > 0 {
				keys[i] = fmt.Sprintf("%s/%d", l.Key, i+1)
			}
		}
		if err := p.sink.write(ctx, fmt.Sprintf("dead letter %d", l.ID), made.rows, 0, made.rows.len(), keys, nil); err != nil {
			return fmt.Errorf("write: %w", foreign(err))
		}
	}
	return store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := store.With(tx)
		if err != nil {
			return err
		}
		ours, err := q.DeadLetterReplayed(ctx, l.ID, false)
		if err != nil {
			return err
		}
		if !ours {
			return errReplayed
		}
		if p.target.kind != toTx || n == 0 {
			return nil
		}
		if err := p.sink.writeTx(ctx, p.target.sink, made.rows, 0, n); err != nil {
			return fmt.Errorf("write: %w", foreign(err))
		}
		return nil
	})
}

// remake takes the records of dead letters through the transform. One that fails is an error.
func (p *flowCode) remake(ctx context.Context, letters []*DeadLetterRecord) (*madeBatch, error) {
	read, made := p.types.newRead(), p.types.newMade()
	read.count = len(letters)
	for _, l := range letters {
		if err := decodePayload(l, read.rows.grow()); err != nil {
			return nil, fmt.Errorf("the record %s does not fit %s: %w", stored.Clip(string(l.Payload)), p.types.recordType(), err)
		}
	}
	if err := p.types.apply(ctx, read, made); err != nil {
		return nil, fmt.Errorf("transform: %w", foreign(err))
	}
	made.out.dropFailed(made.rows)
	for _, err := range made.out.failed {
		return nil, fmt.Errorf("transform: %w", foreign(err))
	}
	return made, nil
}

// decodePayload reads the record of a dead letter. After a later stage it is a T that the
// engine has written. From the read stage it is what the source could tell: any text, or
// fields under other names, such as a file's columns. It must not become a T that lacks
// fields.
func decodePayload(l *DeadLetterRecord, row any) error {
	switch {
	case l.Stage != StageRead && stored.HasReplaced(l.Payload):
		return errors.New("it held text that is not UTF-8, which a dead letter cannot keep: let the source read it again by a backfill, or convert it to UTF-8 first")
	case l.Stage != StageRead:
		return exact.Unmarshal(l.Payload, row)
	case bytes.HasPrefix(bytes.TrimSpace(l.Payload), []byte{'"'}):
		return errors.New("it failed when it was read, and nothing but its text is known")
	default:
		return exact.Strict(l.Payload, row)
	}
}

// errReplayed says that somebody else has written a dead letter, or has ended its tries.
var errReplayed = errors.New("another process has replayed it")

// errOneByOne makes try write dead letters to a sink elsewhere one by one.
var errOneByOne = errors.New("one by one")

// writeLetters writes dead letters, all or none of them, if all are still to be tried again.
// Nothing else uses the transform at the same time.
func (w *batchWriter) writeLetters(ctx context.Context, letters []*DeadLetterRecord) error {
	if w.txSink == nil && len(letters) > 1 {
		return errOneByOne
	}
	select {
	case w.transforming <- struct{}{}:
		defer func() { <-w.transforming }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if w.txSink == nil {
		return w.p.replayIf(ctx, w.a.store, letters[0], func() error { return w.stillHeld(ctx, letters[0]) })
	}
	made, err := w.p.remake(ctx, letters)
	if err != nil {
		return err
	}
	return w.whileHeld(ctx, func(ctx context.Context, q Queries) error {
		for _, l := range letters {
			ours, err := q.DeadLetterReplayed(ctx, l.ID, true)
			if err != nil {
				return err
			}
			if !ours {
				return errReplayed
			}
		}
		if made.rows.len() == 0 {
			return nil
		}
		if w.powers.keys {
			var sinkKeys []string
			for _, key := range w.p.sink.rowKeys(w.txSink, made.rows) {
				sinkKeys = append(sinkKeys, w.held.byKey[key]...)
			}
			if err := w.endTries(ctx, q, sinkKeys, letters[0].ID); err != nil {
				return err
			}
		}
		if err := w.p.sink.writeTx(ctx, w.txSink, made.rows, 0, made.rows.len()); err != nil {
			return fmt.Errorf("write: %w", foreign(err))
		}
		return nil
	})
}

// stillHeld returns an error if a dead letter is not to be tried again, or not by this process.
func (w *batchWriter) stillHeld(ctx context.Context, l *DeadLetterRecord) error {
	return w.whileHeld(ctx, func(ctx context.Context, q Queries) error {
		held, err := q.DeadLetterHeld(ctx, l.FlowID, l.ID-1, 1)
		if err == nil && (len(held) == 0 || held[0].ID != l.ID) {
			err = errReplayed
		}
		return err
	})
}
