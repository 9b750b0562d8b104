package dataflow

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"
)

// attempt is one attempt at a run, as the record loop sees it.
type attempt struct {
	client    *Client
	flow      *Flow
	run       *Run // Counters grow with each checkpoint
	log       *slog.Logger
	started   time.Time
	seq       int64
	stored    json.RawMessage // the cursor at the start, nil if there is none
	batchSize int
	total     *int64
}

// stopping reports whether the client wants its runs back.
func (a *attempt) stopping() bool {
	select {
	case <-a.client.stopping:
		return true
	default:
		return false
	}
}

// from is where the attempt began: JSON null is the beginning.
func (a *attempt) from() json.RawMessage {
	if a.stored == nil {
		return json.RawMessage("null")
	}
	return a.stored
}

// commit writes and checkpoints a batch in one transaction.
func (a *attempt) commit(ctx context.Context, cursor json.RawMessage, delta Counters, write func(ctx context.Context) error) error {
	err := a.client.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		if write != nil {
			if err := write(ctx); err != nil {
				return err
			}
		}
		q, err := a.client.store.With(tx)
		if err != nil {
			return err
		}
		ok, err := q.RunCheckpoint(ctx, &RunCheckpointParams{
			RunID: a.run.ID, FlowID: a.run.FlowID, LeaseNumber: a.run.LeaseNumber,
			Seq: a.seq, From: a.from(), Cursor: cursor, Delta: delta, Total: a.total,
		})
		if err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
		if !ok {
			return ErrFenced
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.seq++
	run := *a.run
	run.Counters, run.Total, run.ToCursor = run.Counters.Add(delta), a.total, cursor
	a.run = &run
	a.client.publish(EventRunProgress, a.run, nil)
	return nil
}
