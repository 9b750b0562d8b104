package driverkit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
)

// insertTries is how often RunInsert tries again after the waiting run that was in its way
// has been claimed.
const insertTries = 10

// RunInserter has the statements of RunInsert. Each returns dataflow.ErrNotFound if it has
// no row.
type RunInserter interface {
	// InsertRun adds a run. It adds none if the flow is inactive, has another Runtime, has a
	// waiting run with the same key, or has a run of the same tick.
	InsertRun(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error)
	// WaitingRun returns the waiting run with the same key, if the flow is active and has the
	// Runtime.
	WaitingRun(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error)
	// TickRun returns the run of the same tick, if the flow is active.
	TickRun(ctx context.Context, p *dataflow.RunInsertParams) (*dataflow.Run, error)
	FlowByID(ctx context.Context, id int64) (*dataflow.FlowRecord, error)
}

// RunInsert implements [dataflow.Queries] for a driver: it adds a run, or returns the run
// that the new one coalesces with. It returns dataflow.ErrNotFound if the flow does not exist,
// is inactive, or has another Runtime.
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
		if flow.State != dataflow.FlowActive || p.Runtime != nil && !bytes.Equal(p.Runtime, flow.RuntimeJSON) {
			return nil, dataflow.ErrNotFound
		}
	}
	return nil, fmt.Errorf("add a run to flow %d: in each of %d tries, the waiting run with key %q was claimed in between: try again",
		p.FlowID, insertTries, p.UniqueKey)
}

// RunsInserter has the statements of RunInsertMany.
type RunsInserter interface {
	RunInserter
	// InsertRuns is InsertRun, or else WaitingRun, for each of ps, all of which have keys. A run
	// may coalesce with an earlier one of ps. In place of dataflow.ErrNotFound, a run is nil.
	InsertRuns(ctx context.Context, ps []*dataflow.RunInsertParams) ([]*dataflow.Run, error)
}

// insertMany is how many runs one statement adds at most.
const insertMany = 1000

// RunInsertMany implements [dataflow.Queries] for a driver that adds many runs with one
// statement.
func RunInsertMany(ctx context.Context, q RunsInserter, ps []*dataflow.RunInsertParams) ([]*dataflow.Run, error) {
	runs := make([]*dataflow.Run, len(ps))
	var places []int // of set in ps
	for i, p := range ps {
		if p.UniqueKey != "" && (!p.Backfill || p.Scope != "") { // the others take more than one statement each
			places = append(places, i)
		}
	}
	// Two transactions that add the same runs do so in the same order, or they would deadlock.
	slices.SortStableFunc(places, func(i, j int) int {
		return cmp.Or(cmp.Compare(ps[i].FlowID, ps[j].FlowID), strings.Compare(ps[i].UniqueKey, ps[j].UniqueKey))
	})
	set := make([]*dataflow.RunInsertParams, len(places))
	for i, place := range places {
		set[i] = ps[place]
	}
	for len(set) > 0 {
		n := min(len(set), insertMany)
		added, err := q.InsertRuns(ctx, set[:n])
		if err != nil {
			return nil, err
		}
		for i, run := range added {
			runs[places[i]] = run
		}
		set, places = set[n:], places[n:]
	}
	return runs, rest(ctx, q, ps, runs)
}

// RunInsertEach implements [dataflow.Queries] for a driver that adds each run with a statement
// of its own.
func RunInsertEach(ctx context.Context, q RunInserter, ps []*dataflow.RunInsertParams) ([]*dataflow.Run, error) {
	runs := make([]*dataflow.Run, len(ps))
	return runs, rest(ctx, q, ps, runs)
}

// rest adds the runs that are nil, one by one.
func rest(ctx context.Context, q RunInserter, ps []*dataflow.RunInsertParams, runs []*dataflow.Run) error {
	for i, p := range ps {
		if runs[i] != nil {
			continue
		}
		run, err := RunInsert(ctx, q, p)
		if err != nil && !errors.Is(err, dataflow.ErrNotFound) {
			return err
		}
		runs[i] = run
	}
	return nil
}
