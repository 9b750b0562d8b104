package dataflow

import (
	"context"
	"fmt"
	"iter"
)

// bind makes a Flow of what is stored, with its code if this process has it.
func (c *Client) bind(rec *FlowRecord) *Flow {
	f := &Flow{FlowRecord: *rec, client: c}
	runtime, err := parseRuntime(rec.RuntimeJSON, c.config.Runtimes)
	if err != nil {
		runtime = unreadRuntime{err: fmt.Errorf("flow %q: %w", rec.Name, err)}
	}
	f.Runtime = runtime
	if declared := c.flows[rec.Name]; declared != nil {
		f.code, f.opts = declared.code, declared.opts
	}
	return f
}

// flowByID returns a flow as this process registered it, or as it is stored.
func (c *Client) flowByID(ctx context.Context, id int64) (*Flow, error) {
	c.mu.Lock()
	f := c.byID[id]
	c.mu.Unlock()
	if f != nil {
		return f, nil
	}
	rec, err := c.store.FlowByID(ctx, id)
	if err != nil {
		return nil, err
	}
	f = c.bind(rec)
	if f.Registered() {
		c.mu.Lock()
		c.byID[id] = f
		c.mu.Unlock()
	}
	return f, nil
}

// enabledFlows lists the flows whose code this process has, and whose runs are to
// be worked.
func (c *Client) enabledFlows() []FlowSlots {
	c.mu.Lock()
	defer c.mu.Unlock()
	flows := make([]FlowSlots, 0, len(c.byID))
	for _, f := range c.byID {
		if f.Runtime.Settings().Enabled {
			flows = append(flows, f.slots())
		}
	}
	return flows
}

// registeredFlows lists the flows whose code this process has.
func (c *Client) registeredFlows() []int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make([]int64, 0, len(c.byID))
	for id := range c.byID {
		ids = append(ids, id)
	}
	return ids
}

// lane is what the process's loops keep apart: a flow's own runs, and its backfills that
// have slots apart.
type lane struct {
	flowID int64
	apart  bool
}

// laneOf returns the lane of a run, and how many runs of that may be in progress at once.
func (c *Client) laneOf(run *Run) (lane, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.byID[run.FlowID]
	if f == nil {
		return lane{flowID: run.FlowID}, 1
	}
	return lane{flowID: run.FlowID, apart: f.apart(run)}, f.places(run)
}

// eachFlow calls fn with each flow in the database, in the order of their names.
func (c *Client) eachFlow(ctx context.Context, fn func(f *Flow) error) error {
	p := &FlowListParams{Limit: defaultPage}
	for {
		recs, err := c.store.FlowList(ctx, p)
		if err != nil {
			return err
		}
		for _, rec := range recs {
			if err := fn(c.bind(rec)); err != nil {
				return err
			}
		}
		if len(recs) < p.Limit {
			return nil
		}
		p.After = recs[len(recs)-1].Name
	}
}

// runsOf yields all runs of a flow in some states, newest first. What is yielded may be
// changed meanwhile.
func (c *Client) runsOf(ctx context.Context, flow string, states ...RunState) iter.Seq2[*Run, error] {
	return func(yield func(*Run, error) bool) {
		p := &RunListParams{Flow: flow, States: states, Limit: pageOfRuns}
		for {
			runs, err := c.store.RunList(ctx, p)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, run := range runs {
				if !yield(run, nil) {
					return
				}
			}
			if len(runs) < p.Limit {
				return
			}
			p.Before = runs[len(runs)-1].ID
		}
	}
}

// pageOfRuns is how many runs are in memory at once.
const pageOfRuns = 1000

func inactiveError(rec *FlowRecord) error {
	why := "it is inactive"
	if rec.StateBy != "" {
		why += ", by " + rec.StateBy
	}
	if rec.StateReason != "" {
		why += ": " + rec.StateReason
	}
	return fmt.Errorf("%w: %s", ErrDisabled, why)
}
