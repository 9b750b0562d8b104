package dataflowsqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
)

// EndAndClaim ends and claims runs one after the other, in one transaction.
func (s *store) EndAndClaim(ctx context.Context, ends []*dataflow.RunEndParams, claims []*dataflow.RunClaimParams) ([]dataflow.EndAnswer, []dataflow.ClaimAnswer, error) {
	ended, claimed := make([]dataflow.EndAnswer, len(ends)), make([]dataflow.ClaimAnswer, len(claims))
	err := s.InTx(ctx, func(ctx context.Context, tx dataflow.Tx) error {
		with, err := s.With(tx)
		if err != nil {
			return err
		}
		q := with.(*queries) //nolint:forcetypeassert // With returns it
		for i, p := range ends {
			if ended[i], err = q.end(ctx, p); err != nil {
				return err
			}
		}
		for i, p := range claims {
			if claimed[i], err = q.claim(ctx, p, cmp.Or(p.Suspect, math.MaxInt32)); err != nil {
				return err
			}
		}
		return nil
	})
	return ended, claimed, err
}

// end ends a run, and finds the run to wake.
func (q *queries) end(ctx context.Context, p *dataflow.RunEndParams) (answer dataflow.EndAnswer, err error) {
	if answer.Run, err = q.RunEnd(ctx, p); err == nil && answer.Run != nil {
		answer.Next, err = q.RunNext(ctx, answer.Run, p.Backfills)
	}
	return answer, err
}

// RunClaim claims one run in the caller's transaction.
func (q *queries) RunClaim(ctx context.Context, p *dataflow.RunClaimParams) (*dataflow.Claim, error) {
	answer, err := q.claim(ctx, p, math.MaxInt32)
	return answer.Claim, err
}

// claim claims a run. A run that has lost as many workers as suspect is busy.
func (q *queries) claim(ctx context.Context, p *dataflow.RunClaimParams, suspect int) (answer dataflow.ClaimAnswer, err error) {
	own, err := jsonArray(slotsFrom(0, max(p.Slots, 1)))
	if err != nil {
		return answer, err
	}
	backfills, err := jsonArray(slotsFrom(dataflow.FirstBackfillSlot, p.Backfills))
	if err != nil {
		return answer, err
	}
	err = q.one(ctx, sqlRunClaim, p.RunID, p.Worker, secondsText(p.Lease), p.CodeVersion, p.Restart, own, backfills, p.FlowID, suspect)
	if errors.Is(err, dataflow.ErrNotFound) {
		if err = q.db.QueryRowContext(ctx, q.store.text(sqlRunSuspect), p.RunID, suspect).Scan(&answer.Busy); err != nil || answer.Busy {
			return answer, err
		}
		_, err = q.db.ExecContext(ctx, q.store.text(sqlGroupAsk), p.RunID, max(p.Slots, 1), secondsText(p.Lease), p.Backfills)
		return answer, err
	}
	if isUniqueViolation(err) {
		return answer, dataflow.ErrAlreadyRunning
	}
	if err != nil {
		return answer, err
	}
	claim := &dataflow.Claim{}
	if claim.Run, err = q.RunByID(ctx, p.RunID); err != nil {
		return answer, err
	}
	var cursor *string
	c := driverkit.CheckpointOf(claim.Run)
	err = q.db.QueryRowContext(ctx, q.store.text(sqlCheckpointClaim), claim.Run.FlowID, c.Scope, c.Partition, nullJSON(c.From)).Scan(&claim.Seq, &cursor, &claim.SetSeq)
	if err != nil {
		return answer, fmt.Errorf("move checkpoint: %w", err)
	}
	claim.Cursor = rawJSON(cursor)
	answer.Claim = claim
	return answer, nil
}

// slotsFrom returns the numbers of n slots.
func slotsFrom(first, n int) []int {
	slots := make([]int, n)
	for i := range slots {
		slots[i] = first + i
	}
	return slots
}

func (q *queries) RunEnd(ctx context.Context, p *dataflow.RunEndParams) (*dataflow.Run, error) {
	message, history, err := driverkit.EndTexts(p)
	if err != nil {
		return nil, err
	}
	err = q.one(ctx, sqlRunEnd, p.RunID, p.LeaseNumber, string(p.State), secondsText(p.Delay), p.Refund, message, history, p.Rescue)
	if errors.Is(err, dataflow.ErrNotFound) {
		return nil, nil //nolint:nilnil // documented: the claim has lost the run
	}
	if err != nil {
		return nil, err
	}
	run, err := q.RunByID(ctx, p.RunID)
	switch {
	case err != nil || run.Scope != "": // the outcome of a backfill is not the flow's
		return run, err
	case p.Refund && p.Works:
		_, err := q.db.ExecContext(ctx, q.store.text(sqlFlowWorks), p.FlowID)
		return run, err
	case p.Refund:
		return run, nil
	}
	if err := q.db.QueryRowContext(ctx, q.store.text(sqlFlowTrips), p.FlowID, string(p.State)).Scan(&run.Tripped); err != nil {
		return nil, notFound(err)
	}
	return run, q.one(ctx, sqlFlowNote, p.FlowID, string(p.State), message, p.RunID)
}

// RunNext finds the run to wake.
func (q *queries) RunNext(ctx context.Context, ended *dataflow.Run, backfills int) (*dataflow.NextRun, error) {
	var next dataflow.NextRun
	err := q.db.QueryRowContext(ctx, q.store.text(sqlRunNext), ended.ID, ended.FlowID, ended.Scope, backfills).Scan(&next.ID, &next.MaxAttempts)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // documented: there is none
	}
	return &next, err
}
