package dataflow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/activedataflow/dataflow/internal/exact"
	"github.com/activedataflow/dataflow/internal/stored"
)

// noReplayError is why no dead letter of a flow can be replayed, whatever becomes of its record.
type noReplayError string

func (n noReplayError) Error() string { return string(n) }

// Is reports whether target is [errors.ErrUnsupported].
func (noReplayError) Is(target error) bool { return target == errors.ErrUnsupported }

// replayable returns why no dead letter can be replayed, or nil if each may be.
func (p *flowCode) replayable() error {
	p = p.again
	switch {
	case p.target.kind == toFenced:
		return noReplayError("its sink keeps the checkpoint, and cannot write a record without one: mend the record in the source, and run a backfill that reads it again")
	case p.replaces():
		return noReplayError(replacesAll + ": mend what is wrong with the record, and start a run, which reads it again")
	case p.target.ordered():
		return noReplayError(fmt.Sprintf("its target (%s) needs the order of the source, and the record would come after newer ones: change the row in the source once more, which sends it anew, and then close the dead letter", describe(p.target.part()).Type))
	default:
		return nil
	}
}

// replay takes one dead letter's record through the transform to the sink, for somebody.
func (p *flowCode) replay(ctx context.Context, store Store, l *DeadLetterRecord, by, reason string) error {
	return p.replayIf(ctx, store, l, by, reason, func() error { return nil })
}

// replayIf is replay, if may returns nil just before the record is written.
func (p *flowCode) replayIf(ctx context.Context, store Store, l *DeadLetterRecord, by, reason string, may func() error) error {
	if err := p.replayable(); err != nil {
		return err
	}
	p = p.again
	made, err := p.remake(ctx, store, []*DeadLetterRecord{l})
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
		err := guard(func() error {
			return p.sink.write(ctx, fmt.Sprintf("dead letter %d", l.ID), made.rows, 0, made.rows.len(), keys, nil)
		})
		if err != nil {
			return fmt.Errorf("write: %w", foreign(err))
		}
	}
	write := func() error { return p.replayTx(ctx, store, l, by, reason, made) }
	err = write()
	for try := 0; err != nil && try < staleTries && ctx.Err() == nil && store.Classify(err) == FaultStale; try++ {
		err = write()
	}
	return err
}

// replayTx marks a dead letter as replayed, and writes its record if the target is in the same transaction.
func (p *flowCode) replayTx(ctx context.Context, store Store, l *DeadLetterRecord, by, reason string, made *madeBatch) error {
	n := made.rows.len()
	return store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := store.With(tx)
		if err != nil {
			return err
		}
		ours, err := q.DeadLetterReplayed(ctx, l.ID, by, reason, false)
		if err != nil {
			return err
		}
		if !ours {
			return errReplayed
		}
		if n == 0 {
			return nil
		}
		if p.target.kind == toTx {
			if err := guard(func() error { return p.sink.writeTx(ctx, p.target.sink, made.rows, 0, n) }); err != nil {
				return fmt.Errorf("write: %w", foreign(err))
			}
		}
		return q.AfterWrote(ctx, l.FlowID, n)
	})
}

// remake takes the records of dead letters through the transform. One that fails is an error.
func (p *flowCode) remake(ctx context.Context, q Queries, letters []*DeadLetterRecord) (*madeBatch, error) {
	read, made := p.types.newRead(), p.types.newMade()
	read.count = len(letters)
	for _, l := range letters {
		if err := p.decodeLetter(ctx, q, l, read.rows.grow()); err != nil {
			return nil, err
		}
	}
	if err := p.apply(ctx, read, made); err != nil {
		return nil, fmt.Errorf("transform: %w", foreign(err))
	}
	made.out.dropFailed(made.rows)
	for _, err := range made.out.failed {
		return nil, fmt.Errorf("transform: %w", foreign(err))
	}
	return made, nil
}

// readLetter returns an error if the record of a dead letter cannot be read.
func (p *flowCode) readLetter(ctx context.Context, q Queries, l *DeadLetterRecord) error {
	return p.decodeLetter(ctx, q, l, p.types.newRead().rows.grow())
}

// decodeLetter reads the record of a dead letter into row. From the read stage it is what the
// source could tell, and the source reads it again, if it can.
func (p *flowCode) decodeLetter(ctx context.Context, q Queries, l *DeadLetterRecord, row any) error {
	err := errors.ErrUnsupported
	if l.Stage == StageRead {
		if l.EditedAt == nil && (stored.HasReplaced(l.Payload) || bytes.ContainsRune(l.Payload, '\uFFFD')) {
			return errors.New("the record held text that is not UTF-8, which a dead letter cannot keep: let the source read it again by a backfill, or put the right text in its place by an edit")
		}
		run, rerr := q.RunByID(ctx, l.RunID)
		if rerr != nil {
			return fmt.Errorf("get run %d: %w", l.RunID, rerr)
		}
		err = p.types.parse(ctx, RawRecord{Key: l.Key, Raw: l.Payload, Edited: l.EditedAt != nil, Params: run.Params}, row)
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("the source cannot read the record %s: %w", stored.Clip(string(l.Payload)), foreign(err))
		}
	}
	if err != nil {
		err = decodePayload(l, row)
	}
	if err != nil {
		return fmt.Errorf("the record %s does not fit %s: %w", stored.Clip(string(l.Payload)), p.types.recordType(), err)
	}
	return nil
}

// decodePayload reads the record of a dead letter as a T. After a later stage it is one that
// the engine has written. From the read stage it is any text, or fields under other names, such
// as a file's columns, and edited it may have any fields. It must not become a T that lacks some.
func decodePayload(l *DeadLetterRecord, row any) error {
	switch {
	case l.Stage != StageRead && l.EditedAt == nil && stored.HasReplaced(l.Payload):
		return errors.New("it held text that is not UTF-8, which a dead letter cannot keep: let the source read it again by a backfill, or convert it to UTF-8 first")
	case l.Stage != StageRead && l.EditedAt == nil:
		return exact.Unmarshal(l.Payload, row)
	case l.EditedAt == nil && bytes.HasPrefix(bytes.TrimSpace(l.Payload), []byte{'"'}):
		return errors.New("it failed when it was read, and nothing but its text is known: edit it into a JSON object with the record's fields")
	}
	if err := exact.Strict(l.Payload, row); err != nil || string(bytes.TrimSpace(l.Payload)) != "null" {
		return err
	}
	// Of a null, package json makes zero values.
	if data, err := json.Marshal(row); err != nil || string(data) != "null" {
		return errors.New("it is null: discard the dead letter if nothing is to be written")
	}
	return nil
}

// errReplayed says that somebody else has written a dead letter, or has ended its tries.
var errReplayed = errors.New("somebody else has replayed or closed it")

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
		return w.p.replayIf(ctx, w.a.store, letters[0], runText(w.a.run), reasonRetried, func() error { return w.stillHeld(ctx, letters[0]) })
	}
	made, err := w.p.remake(ctx, w.a.store, letters)
	if err != nil {
		return err
	}
	return w.whileHeld(ctx, func(ctx context.Context, q Queries) error {
		for _, l := range letters {
			ours, err := q.DeadLetterReplayed(ctx, l.ID, runText(w.a.run), reasonRetried, true)
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
		if err := guard(func() error { return w.p.sink.writeTx(ctx, w.p.again.target.sink, made.rows, 0, made.rows.len()) }); err != nil {
			return fmt.Errorf("write: %w", foreign(err))
		}
		return q.AfterWrote(ctx, w.a.flow.ID, made.rows.len())
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
