package driverkit

import (
	"context"
	"errors"
	"fmt"

	"github.com/activedataflow/dataflow"
)

// insertTries is how often RunInsert tries again after the waiting run that was in its way
// has been claimed.
const insertTries = 10

// RunInserter has the statements of RunInsert. Each returns dataflow.ErrNotFound if it has
// no row.
type RunInserter interface {
	// InsertRun adds a run. It adds none if the flow is inactive, has a waiting run with the
	// same key, or has a run of the same tick.
	InsertRun(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error)
	// WaitingRun returns the waiting run with the same key, if the flow is active.
	WaitingRun(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error)
	// TickRun returns the run of the same tick, if the flow is active.
	TickRun(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error)
	FlowByID(ctx context.Context, id int64) (*dataflow.FlowRecord, error)
}

// RunInsert implements [dataflow.Queries] for a driver: it adds a run, or returns the run
// that the new one coalesces with. It returns dataflow.ErrNotFound if the flow does not exist
// or is inactive.
func RunInsert(ctx context.Context, q RunInserter, p *dataflow.RunInsertParams) (*dataflow.Run, error) {
	for range insertTries {
		run, err := q.InsertRun(ctx, p)
		if !errors.Is(err, dataflow.ErrNotFound) {
			return run, err
		}
		run, err = q.WaitingRun(ctx, p)
		if p.Trigger == dataflow.TriggerSchedule && errors.Is(err, dataflow.ErrNotFound) {
			run, err = q.TickRun(ctx, p)
		}
		if err == nil {
			run.Coalesced = true
			return run, nil
		}
		if !errors.Is(err, dataflow.ErrNotFound) {
			return nil, err
		}
		flow, err := q.FlowByID(ctx, p.FlowID)
		if err != nil {
			return nil, err
		}
		if flow.State != dataflow.FlowActive {
			return nil, dataflow.ErrNotFound
		}
	}
	return nil, fmt.Errorf("add a run to flow %d: in each of %d tries, the waiting run with key %q was claimed in between: try again",
		p.FlowID, insertTries, p.UniqueKey)
}
