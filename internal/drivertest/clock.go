package drivertest

import (
	"time"

	"github.com/activedataflow/dataflow"
)

func clockRules() []rule {
	return []rule{
		{name: "OfRows", run: clockOfRows},
		{name: "Due", run: clockDue},
		{name: "Retry", run: clockRetry},
		{name: "EachStoreItsOwn", run: clockEachStore},
	}
}

func clockOfRows(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	t.requireTime(clock.Now(), &f.CreatedAt)
	t.requireTime(clock.Now(), &f.UpdatedAt)
	asked := clock.advance(time.Hour)
	run := t.pending(f.ID)
	for _, at := range []time.Time{run.CreatedAt, run.RunAfter, run.ScheduledFor} {
		t.requireTime(asked, &at)
	}
	started := clock.advance(123 * time.Millisecond)
	c := t.claim(run.ID)
	t.requireTime(started, c.Run.StartedAt)
	t.requireTime(started.Add(lease), c.Run.LeaseUntil)
	ended := clock.advance(time.Hour)
	t.requireTime(ended, t.end(ending(c, dataflow.RunSuccess)).EndedAt)
}

// A run is due at its time, and not a millisecond earlier.
func clockDue(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	at := clock.Now().Add(time.Hour)
	run := t.insert(dataflow.RunInsertParams{FlowID: f.ID, At: at})
	t.requireDue([]int64{f.ID}, 10)
	clock.advance(time.Hour - time.Millisecond)
	t.requireDue([]int64{f.ID}, 10)
	t.requireNoClaim(run.ID)
	clock.advance(time.Millisecond)
	t.requireDue([]int64{f.ID}, 10, run.ID)
	t.claim(run.ID)
}

func clockRetry(t *test) {
	clock := t.clocked()
	f := t.flow("orders")
	c := t.inProgress(f.ID)
	p := failing(c, dataflow.RunPending, "disk full")
	p.Delay = 3 * time.Second
	t.end(p)
	clock.advance(3*time.Second - time.Millisecond)
	t.requireDue([]int64{f.ID}, 10)
	t.requireNoClaim(c.Run.ID)
	clock.advance(time.Millisecond)
	t.requireDue([]int64{f.ID}, 10, c.Run.ID)
	t.claim(c.Run.ID)
}

func clockEachStore(t *test) {
	present := t.store
	t.clocked()
	f := t.flow("orders")
	run := t.pending(f.ID)
	t.requireDue([]int64{f.ID}, 10, run.ID)
	t.store = present // years before the clock of the other store
	t.requireDue([]int64{f.ID}, 10)
	t.requireNoClaim(run.ID)
}
