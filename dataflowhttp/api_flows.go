package dataflowhttp

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

func listFlows(ctx context.Context, a *api, q *call) (*flowPage, error) {
	v := values{q: q}
	lag := v.flag("lag")
	p := &dataflow.FlowListParams{State: jsonview.StoredState(v.text("state")), Due: v.flag("due"), Overdue: v.flag("overdue"), Trouble: v.flag("trouble"), LastRuns: int(min(v.number("last_runs"), 1<<30)), After: v.text("after"), Limit: v.limit()}
	if v.err != nil {
		return nil, v.err
	}
	if p.State != "" && !p.State.Valid() {
		return nil, &problemError{http.StatusUnprocessableEntity, "bad_value", fmt.Sprintf("state: %q is not a state of a flow: use active or paused", v.text("state"))}
	}
	flows, err := a.client.Flows(ctx, p)
	if err != nil {
		return nil, err
	}
	page := flowPage{Flows: jsonview.All(flows, a.flow)}
	if lag {
		a.lags(ctx, flows, page.Flows)
	}
	if len(flows) == p.Limit {
		page.Next = flows[len(flows)-1].Name
	}
	return &page, nil
}

func showFlow(ctx context.Context, a *api, q *call) (*jsonview.Flow, error) {
	f, err := a.client.Flow(ctx, q.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return ptr(a.flow(f)), nil
}

func showWhy(ctx context.Context, a *api, q *call) (*jsonview.Why, error) {
	e, err := a.client.Why(ctx, q.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return ptr(jsonview.OfWhy(e, a.mask.Text)), nil
}

func showCursor(ctx context.Context, a *api, q *call) (*jsonview.Cursor, error) {
	c, err := a.client.Cursor(ctx, q.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return ptr(a.cursor(c)), nil
}

func listChanges(ctx context.Context, a *api, q *call) (*changePage, error) {
	v := values{q: q}
	p := &dataflow.CursorHistoryParams{Before: v.number("before"), Limit: v.limit()}
	if v.err != nil {
		return nil, v.err
	}
	changes, err := a.client.CursorHistory(ctx, q.PathValue("name"), p)
	if err != nil {
		return nil, err
	}
	page := changePage{Changes: jsonview.All(changes, a.change)}
	if len(changes) == p.Limit {
		page.Next = changes[len(changes)-1].ID
	}
	return &page, nil
}

// mostTicks is how many ticks are previewed at most.
const mostTicks = 1000

func listTicks(ctx context.Context, a *api, q *call) (*tickList, error) {
	v := values{q: q}
	n := cmp.Or(v.number("n"), 10)
	if n > mostTicks {
		v.wrong("n", "it is %d: use %d at most", n, mostTicks)
	}
	if v.err != nil {
		return nil, v.err
	}
	f, err := a.client.Flow(ctx, q.PathValue("name"))
	if err != nil {
		return nil, err
	}
	ticks, err := f.Next(time.Now(), int(n)) //nolint:forbidigo // a preview by this process's clock
	if err != nil {
		return nil, err
	}
	return &tickList{Ticks: jsonview.All(ticks, time.Time.UTC)}, nil
}

func showLag(ctx context.Context, a *api, q *call) (*jsonview.Lag, error) {
	f, err := a.client.Flow(ctx, q.PathValue("name"))
	if err != nil {
		return nil, err
	}
	lag, err := f.Lag(ctx)
	if err != nil {
		return nil, err
	}
	return ptr(jsonview.OfLag(lag)), nil
}

// lagPatience is how long the flows of a list wait for their sources to tell their lag.
const lagPatience = time.Second

// lagsAtOnce is how many sources are asked for their lag at once. They may share a pool with runs.
const lagsAtOnce = 4

// lags asks the sources of flows for their lag, and fills in what they tell in time.
func (a *api) lags(ctx context.Context, flows []*dataflow.Flow, views []jsonview.Flow) {
	ctx, cancel := context.WithTimeout(ctx, lagPatience)
	defer cancel()
	type told struct {
		i   int
		lag *dataflow.Lag
		err error
	}
	answers, places, asked := make(chan told, len(flows)), make(chan struct{}, lagsAtOnce), 0
	for i, f := range flows {
		if !f.Registered() {
			continue
		}
		asked++
		views[i].Lag = &jsonview.Lag{Error: "the source has not told it within " + lagPatience.String()}
		go func() { // a source may not heed its context: nobody waits for it
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
			case <-ctx.Done():
				return
			}
			lag, err := f.Lag(ctx)
			answers <- told{i, lag, err}
		}()
	}
	for range asked {
		select {
		case t := <-answers:
			switch {
			case t.err != nil && ctx.Err() != nil: // it has waited in vain
			case t.err != nil:
				views[t.i].Lag.Error = a.mask.Text(t.err.Error())
			case *t.lag == (dataflow.Lag{}):
				views[t.i].Lag = nil // the source tells none
			default:
				views[t.i].Lag = ptr(jsonview.OfLag(t.lag))
			}
		case <-ctx.Done():
			return
		}
	}
}

func listBackfills(ctx context.Context, a *api, q *call) (*backfillList, error) {
	f, err := a.client.Flow(ctx, q.PathValue("name"))
	if err != nil {
		return nil, err
	}
	all, err := f.Backfills(ctx)
	if err != nil {
		return nil, err
	}
	return &backfillList{Backfills: jsonview.All(all, a.backfill)}, nil
}

func listParts(ctx context.Context, a *api, q *call) (*partList, error) {
	f, err := a.client.Flow(ctx, q.PathValue("name"))
	if err != nil {
		return nil, err
	}
	declared, err := f.Declared()
	if err != nil {
		return nil, err
	}
	parts := jsonview.OfDefinition(f, declared)
	for i := range parts {
		parts[i].Declared, parts[i].Stored = a.mask.JSON(parts[i].Declared), a.mask.JSON(parts[i].Stored)
	}
	return &partList{Parts: parts}, nil
}

func listQueues(ctx context.Context, a *api, _ *call) (*queueList, error) {
	queues, err := dataflow.RiverQueues(ctx, a.client)
	if err != nil {
		return nil, err
	}
	return &queueList{Queues: jsonview.All(queues, jsonview.OfQueue)}, nil
}

// backfill is the progress of a backfill as the options allow it to be shown.
func (a *api) backfill(b *dataflow.BackfillProgress) jsonview.Backfill {
	v := jsonview.OfBackfill(b)
	v.FromCursor, v.UntilCursor, v.Reason = a.mask.JSON(v.FromCursor), a.mask.JSON(v.UntilCursor), a.mask.Text(v.Reason)
	return v
}
