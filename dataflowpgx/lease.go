package dataflowpgx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
)

func (q *queries) RunRenew(ctx context.Context, claims []dataflow.LeaseRef, lease time.Duration) ([]dataflow.LeaseStatus, error) {
	ids, numbers := make([]int64, len(claims)), make([]int64, len(claims))
	for i, c := range claims {
		ids[i], numbers[i] = c.RunID, c.LeaseNumber
	}
	rows, err := q.db.Query(ctx, q.store.text(sqlRunRenew), ids, numbers, lease.Microseconds())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s dataflow.LeaseStatus, err error) {
		err = row.Scan(&s.RunID, &s.Held, &s.CancelRequested)
		return s, err
	})
}

func (q *queries) RunHeld(ctx context.Context, claim dataflow.LeaseRef, lease time.Duration) (*dataflow.Claim, error) {
	run, err := scanRun(q.db.QueryRow(ctx, q.store.text(sqlRunHeld), claim.RunID, claim.LeaseNumber, lease.Microseconds()))
	if errors.Is(err, dataflow.ErrNotFound) {
		return nil, nil //nolint:nilnil // documented: the claim has lost the run
	}
	if err != nil {
		return nil, err
	}
	held := &dataflow.Claim{Run: run}
	var cursor *string
	c := driverkit.CheckpointOf(run)
	if err := q.db.QueryRow(ctx, q.store.text(sqlCheckpointRead), run.FlowID, c.Scope, c.Partition).Scan(&held.Seq, &cursor, &held.SetSeq); err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	held.Cursor = rawJSON(cursor)
	return held, nil
}

func (q *queries) RunLapsed(ctx context.Context) (*dataflow.Run, error) {
	run, err := scanRun(q.db.QueryRow(ctx, q.store.text(sqlRunLapsed)))
	if errors.Is(err, dataflow.ErrNotFound) {
		return nil, nil //nolint:nilnil // documented: there is none
	}
	return run, err
}

func (q *queries) RunsStranded(ctx context.Context, p *dataflow.RunStrandedParams) ([]dataflow.StrandedRun, error) {
	rows, err := q.db.Query(ctx, q.store.text(sqlRunsStranded), p.Idle.Microseconds(), p.Queueless, p.After.At, p.After.ID, p.Limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (run dataflow.StrandedRun, err error) {
		err = row.Scan(&run.At, &run.ID, &run.FlowID)
		utc(&run.At)
		return run, err
	})
}

func (q *queries) RunStranded(ctx context.Context, runID int64, p *dataflow.RunStrandedParams) (*dataflow.Run, error) {
	run, err := scanRun(q.db.QueryRow(ctx, q.store.text(sqlRunStranded), p.Idle.Microseconds(), p.Queueless, runID))
	if errors.Is(err, dataflow.ErrNotFound) {
		return nil, nil //nolint:nilnil // documented: there is none
	}
	return run, err
}

func (q *queries) RunCancel(ctx context.Context, p *dataflow.RunCancelParams) (*dataflow.Run, error) {
	run, err := scanRun(q.db.QueryRow(ctx, q.store.text(sqlRunCancel), p.RunID, p.Actor, p.Reason, p.PendingOnly))
	if errors.Is(err, dataflow.ErrNotFound) {
		return q.RunByID(ctx, p.RunID) // the run has ended or does not exist
	}
	return run, err
}
