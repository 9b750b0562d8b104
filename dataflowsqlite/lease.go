package dataflowsqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
)

func (q *queries) RunRenew(ctx context.Context, claims []dataflow.LeaseRef, lease time.Duration) ([]dataflow.LeaseStatus, error) {
	pairs := make([][2]int64, len(claims))
	for i, c := range claims {
		pairs[i] = [2]int64{c.RunID, c.LeaseNumber}
	}
	list, err := jsonArray(pairs)
	if err != nil {
		return nil, err
	}
	if _, err := q.db.ExecContext(ctx, q.store.text(sqlRunRenew), list, secondsText(lease)); err != nil {
		return nil, err
	}
	return collect(ctx, q, scanStatus, sqlRunStatus, list)
}

func scanStatus(row scanner) (s dataflow.LeaseStatus, err error) {
	err = row.Scan(&s.RunID, &s.Held, &s.CancelRequested)
	return s, err
}

func (q *queries) RunHeld(ctx context.Context, claim dataflow.LeaseRef, lease time.Duration) (*dataflow.Claim, error) {
	err := q.one(ctx, sqlRunHeld, claim.RunID, claim.LeaseNumber, secondsText(lease))
	if errors.Is(err, dataflow.ErrNotFound) {
		return nil, nil //nolint:nilnil // documented: the claim has lost the run
	}
	if err != nil {
		return nil, err
	}
	held := &dataflow.Claim{}
	if held.Run, err = q.RunByID(ctx, claim.RunID); err != nil {
		return nil, err
	}
	var cursor *string
	c := driverkit.CheckpointOf(held.Run)
	if err := q.db.QueryRowContext(ctx, q.store.text(sqlCheckpointRead), held.Run.FlowID, c.Scope, c.Partition).Scan(&held.Seq, &cursor, &held.SetSeq); err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	held.Cursor = rawJSON(cursor)
	return held, nil
}

func (q *queries) RunLapsed(ctx context.Context) (*dataflow.Run, error) {
	run, err := scanRun(q.db.QueryRowContext(ctx, q.store.text(sqlRunLapsed)))
	if errors.Is(err, dataflow.ErrNotFound) {
		return nil, nil //nolint:nilnil // documented: there is none
	}
	return run, err
}

func (q *queries) RunsStranded(ctx context.Context, p *dataflow.RunStrandedParams) ([]dataflow.StrandedRun, error) {
	queueless, err := jsonArray(p.Queueless)
	if err != nil {
		return nil, err
	}
	return collect(ctx, q, func(row scanner) (run dataflow.StrandedRun, err error) {
		err = row.Scan(timeText{&run.At}, &run.ID, &run.FlowID)
		return run, err
	}, sqlRunsStranded, secondsText(p.Idle), queueless, placeText(p.After), p.After.ID, p.Limit)
}

func (q *queries) RunStranded(ctx context.Context, runID int64, p *dataflow.RunStrandedParams) (*dataflow.Run, error) {
	queueless, err := jsonArray(p.Queueless)
	if err != nil {
		return nil, err
	}
	run, err := scanRun(q.db.QueryRowContext(ctx, q.store.text(sqlRunStranded), secondsText(p.Idle), queueless, runID))
	if errors.Is(err, dataflow.ErrNotFound) {
		return nil, nil //nolint:nilnil // documented: there is none
	}
	return run, err
}

func (q *queries) RunCancel(ctx context.Context, p *dataflow.RunCancelParams) (*dataflow.Run, error) {
	err := q.one(ctx, sqlRunCancel, p.RunID, p.Actor, p.Reason, p.PendingOnly)
	if err != nil && !errors.Is(err, dataflow.ErrNotFound) {
		return nil, err
	}
	return q.RunByID(ctx, p.RunID) // a run that has ended is unchanged
}
