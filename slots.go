package dataflow

// maxBackfills is the most that FlowOptions.MaxBackfills may be.
const maxBackfills = 1000

// slots is how many runs of the flow may be in progress at once, by the settings of this
// process.
func (f *Flow) slots() FlowSlots {
	return FlowSlots{FlowID: f.ID, Slots: max(f.Runtime.Settings().Schedule.Overlap.slots(), 1), Backfills: f.opts.MaxBackfills}
}

// apart reports whether a run has one of the slots that only backfills have.
func (f *Flow) apart(run *Run) bool { return run.IsBackfill() && f.opts.MaxBackfills > 0 }

// places is how many of the runs that are in each other's way with a run may be in
// progress at once.
func (f *Flow) places(run *Run) int {
	if f.apart(run) {
		return f.opts.MaxBackfills
	}
	return f.slots().Slots
}

// inTheWay returns those of the flow's runs that are in progress that count among the
// places of a run. A claim counts likewise.
func (f *Flow) inTheWay(run *Run, inProgress []*Run) []*Run {
	var busy []*Run
	for _, r := range inProgress {
		if f.apart(run) && r.IsBackfill() || !f.apart(run) && (run.IsBackfill() || r.Slot < FirstBackfillSlot) {
			busy = append(busy, r)
		}
	}
	return busy
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
