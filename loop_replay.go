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
func (p *typedPipeline[T, C, Out]) replay(ctx context.Context, store Store, l *DeadLetterRecord) error {
	if p.target.fenced != nil {
		return errors.New("its sink keeps the checkpoint, and cannot write a record without one: run a backfill that reads the record again")
	}
	if p.replaces() {
		return errors.New(replacesAll + ": mend what is wrong with the record, and start a run, which reads it again")
	}
	var row T
	if err := decodePayload(l, &row); err != nil {
		return fmt.Errorf("the record %s does not fit %T: %w", stored.Clip(string(l.Payload)), row, err)
	}
	var out Results[Out]
	out.reset()
	if err := p.transform.Apply(ctx, []T{row}, &out); err != nil {
		return fmt.Errorf("transform: %w", err)
	}
	out.dropFailed()
	if err := out.failed[0]; err != nil {
		return fmt.Errorf("transform: %w", err)
	}
	if p.target.txSink == nil && len(out.rows) > 0 {
		b := SinkBatch[Out]{ID: fmt.Sprintf("dead letter %d", l.ID), Rows: out.rows, Keys: make([]string, len(out.rows))}
		for i := range b.Keys {
			b.Keys[i] = l.Key
			if i > 0 {
				b.Keys[i] = fmt.Sprintf("%s/%d", l.Key, i+1)
			}
		}
		if err := p.target.sink.Write(ctx, b); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := store.With(tx)
		if err != nil {
			return err
		}
		ours, err := q.DeadLetterReplayed(ctx, l.ID)
		if err != nil {
			return err
		}
		if !ours {
			return errors.New("another process has replayed it")
		}
		if p.target.txSink == nil || len(out.rows) == 0 {
			return nil
		}
		if err := p.target.txSink.WriteTx(ctx, out.rows); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		return nil
	})
}

// decodePayload reads the record of a dead letter. After a later stage it is a T that the
// engine has written. From the read stage it is what the source could tell: any text, or
// fields under other names, such as a file's columns. It must not become a T that lacks
// fields.
func decodePayload[T any](l *DeadLetterRecord, row *T) error {
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
