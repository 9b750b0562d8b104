package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func lockOrderRules() []rule {
	return []rule{{name: "NoDeadlock", run: lockOrder, needs: concurrentWriters}}
}

// lockOrderFor is several times what Postgres needs to detect a deadlock. On a slow machine some
// activity may have done nothing by then: all go on until each has done something, lockOrderMost
// at most.
const (
	lockOrderFor  = 4 * time.Second
	lockOrderMost = 3 * time.Minute
)

// traffic is everything that can happen to a few flows at once.
type traffic struct {
	flows []int64
	slots []dataflow.FlowSlots
	count sync.Map // how often each activity has done something, by its name
}

// lockOrder requires that the library's activities never deadlock. Each of them locks flows and
// runs in the library's order.
func lockOrder(t *test) {
	tr := &traffic{}
	for _, name := range []string{"a", "b"} {
		id := t.tripping(name, 2, time.Millisecond)
		t.plan(id, time.Now().Add(-10*24*time.Hour).Truncate(time.Second), time.Time{})
		tr.flows = append(tr.flows, id)
		tr.slots = append(tr.slots, dataflow.FlowSlots{FlowID: id, Slots: 2})
	}
	all := map[string]func(ctx context.Context, s dataflow.Store, n int) (bool, error){
		"fire": tr.fire, "fire too": tr.fire, "work": tr.work, "work too": tr.work, "work three": tr.work,
		"work many": tr.workMany, "work many too": tr.workMany,
		"cancel": tr.cancel, "rescue": tr.rescue, "register": tr.register, "trigger": tr.trigger, "trigger many": tr.triggerMany,
	}
	stores, began := []dataflow.Store{t.store, t.another(), t.another()}, time.Now()
	var idle atomic.Int64 // activities that have done nothing yet
	idle.Store(int64(len(all)))
	more := func() bool {
		took := time.Since(began)
		return took < lockOrderFor || took < lockOrderMost && idle.Load() > 0
	}
	var wg sync.WaitGroup
	var mu sync.Mutex // guards errs
	var errs []error
	for name, do := range all {
		store := stores[len(name)%len(stores)]
		wg.Go(func() {
			var done int64
			for n := 0; more(); n++ {
				did, err := do(t.Context(), store, n)
				if err != nil && !errors.Is(err, dataflow.ErrAlreadyRunning) {
					mu.Lock()
					errs = append(errs, fmt.Errorf("%s: %w", name, err))
					mu.Unlock()
					idle.Add(-1 << 32) // nobody waits for this one
					return
				}
				if did && err == nil {
					if done == 0 {
						idle.Add(-1)
					}
					done++
				}
			}
			tr.count.Store(name, done)
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	for name := range all {
		done, _ := tr.count.Load(name)
		require.Positive(t, done, "%q has done nothing", name)
		t.Logf("%s: %d times", name, done)
	}
}

// fire handles the due ticks. Now and then the clock goes back, and ticks come again.
func (tr *traffic) fire(ctx context.Context, s dataflow.Store, n int) (did bool, err error) {
	err = inTx(ctx, s, func(ctx context.Context, q dataflow.Queries) error {
		recs, _, err := q.FlowDue(ctx, tr.flows)
		if err != nil || len(recs) == 0 {
			return err
		}
		activities, err := q.RunActivity(ctx, tr.flows)
		if err != nil {
			return err
		}
		var skips []*dataflow.TickSkipParams
		var runs []*dataflow.RunInsertParams
		var plans []*dataflow.FlowPlanParams
		for _, rec := range recs {
			at := *rec.NextRunAt
			if a := activities[rec.ID]; a != nil && a.Waiting > 20 {
				skips = append(skips, &dataflow.TickSkipParams{FlowID: rec.ID, First: at, Last: at, Count: 1, Reason: dataflow.SkipOverlap})
			} else {
				runs = append(runs, tickParams(rec.ID, at))
				did = true
			}
			next := at.Add(time.Second)
			if n%8 == 7 {
				next = at.Add(-5 * time.Second)
			}
			plans = append(plans, planParams(rec.ID, next, time.Time{}))
		}
		if _, err := q.RunInsertMany(ctx, runs); err != nil {
			return err
		}
		if err := q.TickSkip(ctx, skips...); err != nil {
			return err
		}
		return q.FlowPlan(ctx, plans...)
	})
	return did, err
}

// work claims a due run, makes checkpoints, and ends it. It ends it in a transaction of its
// own, or in that of the checkpoint, as at the end of a slice.
func (tr *traffic) work(ctx context.Context, s dataflow.Store, n int) (bool, error) {
	due, err := s.RunDue(ctx, &dataflow.RunDueParams{FlowIDs: tr.flows, Slots: tr.slots, Limit: 5})
	if err != nil || len(due) == 0 {
		return false, err
	}
	c, err := tryClaim(ctx, s, slotParams(due[n%len(due)].ID, 2))
	if err != nil || c == nil {
		return false, err
	}
	if _, err := s.RunRenew(ctx, []dataflow.LeaseRef{ref(c)}, lease); err != nil {
		return false, err
	}
	p := progress(c)
	p.Cursor = raw("%d", n)
	if held, err := tryCheckpoint(ctx, s, p); err != nil || !held {
		return false, err
	}
	p.Seq++
	end := []*dataflow.RunEndParams{
		ending(c, dataflow.RunSuccess), failing(c, dataflow.RunFailed, "disk full"), ending(c, dataflow.RunPending),
		failing(c, dataflow.RunFailed, "disk full"), ending(c, dataflow.RunCancelled),
	}[n%5]
	return true, inTx(ctx, s, func(ctx context.Context, q dataflow.Queries) error {
		if n%2 == 0 {
			if _, err := q.RunCheckpoint(ctx, p); err != nil {
				return err
			}
		}
		if end.State == dataflow.RunCancelled {
			if _, err := q.RunCancel(ctx, &dataflow.RunCancelParams{RunID: c.Run.ID}); err != nil {
				return err
			}
		}
		_, err := q.RunEnd(ctx, end)
		return err
	})
}

// workMany claims due runs together, makes checkpoints of some, and ends them together. What is
// busy is left as it is, and rescued.
func (tr *traffic) workMany(ctx context.Context, s dataflow.Store, n int) (did bool, err error) {
	due, err := s.RunDue(ctx, &dataflow.RunDueParams{FlowIDs: tr.flows, Slots: tr.slots, Limit: 8})
	if err != nil || len(due) == 0 {
		return false, err
	}
	claims := make([]*dataflow.RunClaimParams, len(due))
	for i, run := range due {
		claims[i] = slotParams(run.ID, 2)
	}
	if n%2 == 1 {
		slices.Reverse(claims)
	}
	claimed, err := claimMany(ctx, s, claims)
	if err != nil {
		return false, err
	}
	var ends []*dataflow.RunEndParams
	for i, a := range claimed {
		if a.Claim == nil {
			continue
		}
		p := progress(a.Claim)
		p.Cursor = raw("%d", n)
		if i%2 == 0 {
			if _, err := tryCheckpoint(ctx, s, p); err != nil {
				return false, err
			}
		}
		ends = append(ends, []*dataflow.RunEndParams{ending(a.Claim, dataflow.RunSuccess), failing(a.Claim, dataflow.RunFailed, "disk full")}[(n+i)%2])
	}
	if len(ends) == 0 {
		return false, nil
	}
	ended, err := endMany(ctx, s, ends)
	for _, a := range ended {
		did = did || a.Run != nil
	}
	return did, err
}

// triggerMany adds a run to each flow, in one transaction.
func (tr *traffic) triggerMany(ctx context.Context, s dataflow.Store, n int) (did bool, err error) {
	ps := make([]*dataflow.RunInsertParams, len(tr.flows))
	for i, f := range tr.flows {
		ps[(i+n)%len(ps)] = &dataflow.RunInsertParams{FlowID: f, Trigger: dataflow.TriggerManual, UniqueKey: "now", MaxAttempts: 5}
	}
	err = inTx(ctx, s, func(ctx context.Context, q dataflow.Queries) error {
		runs, err := q.RunInsertMany(ctx, ps)
		did = slices.ContainsFunc(runs, func(r *dataflow.Run) bool { return r != nil && !r.Coalesced })
		return err
	})
	return did, err
}

func (tr *traffic) cancel(ctx context.Context, s dataflow.Store, n int) (bool, error) {
	runs, err := s.RunList(ctx, &dataflow.RunListParams{States: []dataflow.RunState{dataflow.RunPending, dataflow.RunInProgress}, Limit: 10})
	if err != nil || len(runs) == 0 {
		return false, err
	}
	run, err := s.RunCancel(ctx, &dataflow.RunCancelParams{RunID: runs[n%len(runs)].ID})
	return err == nil && run.CancelRequestedAt != nil, err
}

// rescue makes the lease of a run lapse, and puts the run back.
func (tr *traffic) rescue(ctx context.Context, s dataflow.Store, n int) (did bool, err error) {
	runs, err := s.RunList(ctx, &dataflow.RunListParams{States: []dataflow.RunState{dataflow.RunInProgress}, Limit: 4})
	if err != nil || len(runs) == 0 {
		return false, err
	}
	run := runs[n%len(runs)]
	if _, err := s.RunRenew(ctx, []dataflow.LeaseRef{{RunID: run.ID, LeaseNumber: run.LeaseNumber}}, -lease); err != nil {
		return false, err
	}
	err = inTx(ctx, s, func(ctx context.Context, q dataflow.Queries) error {
		lapsed, err := q.RunLapsed(ctx)
		if err != nil || lapsed == nil {
			return err
		}
		did = true
		_, err = q.RunEnd(ctx, &dataflow.RunEndParams{
			RunID: lapsed.ID, FlowID: lapsed.FlowID, LeaseNumber: lapsed.LeaseNumber, State: dataflow.RunPending, Rescue: true, Refund: n%2 == 0,
		})
		return err
	})
	return did, err
}

// register does what registering, pausing and resuming a flow do.
func (tr *traffic) register(ctx context.Context, s dataflow.Store, n int) (bool, error) {
	return true, inTx(ctx, s, func(ctx context.Context, q dataflow.Queries) error {
		rec, now, err := q.FlowLock(ctx, tr.flows[n%len(tr.flows)])
		if err != nil {
			return err
		}
		d := definition(rec.Name)
		d.PauseAfter, d.ProbeAfter = 2, time.Millisecond
		if _, err := q.FlowUpsert(ctx, d); err != nil {
			return err
		}
		if _, err := q.FlowSetState(ctx, &dataflow.FlowStateParams{ID: rec.ID, State: dataflow.FlowActive}); err != nil {
			return err
		}
		if err := q.TickSkip(ctx, &dataflow.TickSkipParams{FlowID: rec.ID, First: now, Last: now, Count: 1, Reason: dataflow.SkipPaused}); err != nil {
			return err
		}
		return q.FlowPlan(ctx, &dataflow.FlowPlanParams{ID: rec.ID, NextRunAt: rec.NextRunAt, ScheduleAt: &rec.ScheduleAt})
	})
}

func (tr *traffic) trigger(ctx context.Context, s dataflow.Store, n int) (bool, error) {
	run, err := s.RunInsert(ctx, &dataflow.RunInsertParams{FlowID: tr.flows[n%len(tr.flows)], Trigger: dataflow.TriggerManual, UniqueKey: "now", MaxAttempts: 5})
	return err == nil && !run.Coalesced, err
}
