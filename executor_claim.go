package dataflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/activedataflow/dataflow/internal/group"
	"github.com/activedataflow/dataflow/internal/lease"
)

// claims are those of this process: their leases, and how they are made and ended. The claims and the
// ends that come at about the same time are made in one transaction.
type claims struct {
	*lease.Keeper[*attempt]
	changes *group.Group[change, changed]
	starts  *group.Group[start, InsertAnswer] // nil: the store cannot start runs together

	working  atomic.Int64 // runs that are being claimed, worked or ended
	starting atomic.Int64 // runs that are being added and claimed
}

// start is a run to add and to claim.
type start struct {
	insert *RunInsertParams
	claim  *RunClaimParams
}

// change is a run to end or to claim.
type change struct {
	end   *RunEndParams
	claim *RunClaimParams // nil: the run is to end
}

// changed is the answer to a change.
type changed struct {
	end   EndAnswer
	claim ClaimAnswer
}

func newClaims(b base, keeper *lease.Keeper[*attempt]) *claims {
	c := &claims{Keeper: keeper}
	c.changes = group.New(group.Config{
		Most: mostTogether, Beside: mostTogether / 3, Linger: linger, Timeout: min(b.config.Lease/2, handBackTimeout),
		Askers: func() int { return int(c.working.Load()) },
	}, b.change)
	if store, ok := b.store.(InsertClaimer); ok {
		c.starts = group.New(group.Config{
			Most: mostTogether, Linger: linger, Timeout: min(b.config.Lease/2, handBackTimeout),
			Askers: func() int { return int(c.starting.Load()) },
		}, func(ctx context.Context, starts []start) ([]InsertAnswer, error) { return startAll(ctx, store, starts) })
	}
	return c
}

// ask has a change made together with others. If something is in the way, it asks once more: it is mostly gone
// by then, as the lock of a renewal of leases, which may be in the way of many.
func (c *claims) ask(ctx context.Context, what change) (changed, error) {
	answer, err := c.changes.Do(ctx, what)
	if err == nil && (answer.end.Busy || answer.claim.Busy) {
		return c.changes.Do(ctx, what)
	}
	return answer, err
}

// startAll adds runs and claims them. Of several runs of one flow it starts the first one. The others are
// started after that, so that they do not coalesce with a run that is claimed already.
func startAll(ctx context.Context, store InsertClaimer, starts []start) ([]InsertAnswer, error) {
	answers := make([]InsertAnswer, len(starts))
	seen := make(map[int64]bool, len(starts))
	var places []int
	var inserts []*RunInsertParams
	var claims []*RunClaimParams
	for i, s := range starts {
		if !seen[s.insert.FlowID] {
			seen[s.insert.FlowID] = true
			places, inserts, claims = append(places, i), append(inserts, s.insert), append(claims, s.claim)
		}
	}
	started, err := store.InsertAndClaim(ctx, inserts, claims)
	for i, a := range started {
		answers[places[i]] = a
	}
	return answers, err
}

// change ends runs, and then claims others.
func (b base) change(ctx context.Context, changes []change) ([]changed, error) {
	var ends []*RunEndParams
	var claims []*RunClaimParams
	for _, c := range changes {
		if c.claim != nil {
			claims = append(claims, c.claim)
		} else {
			ends = append(ends, c.end)
		}
	}
	ended, claimed, err := b.store.EndAndClaim(ctx, ends, claims)
	if err != nil {
		return nil, err
	}
	inProgress := make(map[int64]bool, len(claimed))
	for _, a := range claimed {
		if a.Claim != nil {
			inProgress[a.Claim.Run.ID] = true
		}
	}
	answers := make([]changed, len(changes))
	for i, c := range changes {
		if c.claim != nil {
			answers[i].claim, claimed = claimed[0], claimed[1:]
			continue
		}
		answers[i].end, ended = ended[0], ended[1:]
		if next := answers[i].end.Next; next != nil && inProgress[next.ID] {
			answers[i].end.Next = nil // it needs no job any more
		}
	}
	return answers, nil
}

// enter counts a run that is being claimed, worked or ended, until leave is called.
func (c *claims) enter() (leave func()) {
	c.working.Add(1)
	return func() {
		c.working.Add(-1)
		c.changes.Fewer()
	}
}

const (
	// mostTogether is how many claims and ends one transaction makes. Each claim takes a lock of
	// Postgres's lock table, which all processes share.
	mostTogether = 100

	// linger is how long a claim, or an end, waits for others that come at the same time. One
	// that comes alone does not wait.
	linger = 3 * time.Millisecond
)

// alone reports whether a run whose group has failed is tried by itself: something was in the
// way of the run, or the error may be about another run of the group. When the database is
// away, the group would only fail once more for each run.
func (e *FlowExecutor) alone(ctx context.Context, busy bool, err error) bool {
	return busy || err != nil && ctx.Err() == nil && e.client.store.Classify(err) != FaultUnavailable
}

// suspectAfter is how many workers in a row a run must lose to become a suspect: it may be a
// poison run, which kills its workers. A process works one suspect at a time, until the
// suspect commits a checkpoint. So a poison run does not take other suspects down with it
// again and again. A suspect is claimed by itself.
const suspectAfter = 2

// errOneSuspect rolls a claim back.
var errOneSuspect = fmt.Errorf("%w: this process works another run that lost its workers: it works such runs one at a time", ErrAlreadyRunning)

// errGroupFull says that a run waits for a place in its group.
var errGroupFull = fmt.Errorf("%w: the flow's group has no place", ErrAlreadyRunning)

func (e *FlowExecutor) claimParams(flow *Flow, runID int64) *RunClaimParams {
	c, slots := e.client.config, flow.slots()
	return &RunClaimParams{
		RunID: runID, FlowID: flow.ID, Worker: c.ID, Lease: c.Lease, CodeVersion: c.CodeVersion,
		Slots: slots.Slots, Backfills: slots.Backfills, Restart: !flow.code.resumable(), Suspect: suspectAfter,
	}
}

// claim claims the run. It returns nil if another claim was faster. If the answer to a claim is
// lost, and it came about, the run waits until the lease has lapsed.
func (e *FlowExecutor) claim(ctx context.Context, flow *Flow, runID int64) (a *attempt, err error) {
	if flow.opts.Group != "" {
		return e.claimAlone(ctx, flow, runID)
	}
	answer, err := e.client.leases.ask(ctx, change{claim: e.claimParams(flow, runID)})
	switch {
	case e.alone(ctx, answer.claim.Busy, err):
		return e.claimAlone(ctx, flow, runID)
	case err != nil || answer.claim.Claim == nil:
		return nil, err
	default:
		return e.attempt(flow, answer.claim.Claim), nil
	}
}

// claimAlone claims the run in a transaction of its own, which waits for others.
func (e *FlowExecutor) claimAlone(ctx context.Context, flow *Flow, runID int64) (a *attempt, err error) {
	// If two claims take one slot at once, one is rolled back. The next slot may be free.
	for range 1 + flow.opts.MaxBackfills {
		err = e.client.store.InTx(ctx, func(ctx context.Context, tx Tx) (err error) {
			a, err = e.claimTx(ctx, tx, flow, runID)
			return err
		})
		if err != nil && a != nil { // the commit failed: claimTx may have isolated the run
			a = nil
			e.client.leases.Release(runID)
		}
		if !errors.Is(err, ErrAlreadyRunning) || errors.Is(err, errOneSuspect) {
			return a, err
		}
	}
	return nil, nil //nolint:nilnil // another claim was faster
}

// claimTx claims the run in a transaction. It returns ErrAlreadyRunning if another claim was
// first, or if the run must wait. The caller must roll back after an error.
func (e *FlowExecutor) claimTx(ctx context.Context, tx Tx, flow *Flow, runID int64) (*attempt, error) {
	q, err := e.client.store.With(tx)
	if err != nil {
		return nil, err
	}
	claim, err := q.RunClaim(ctx, e.claimParams(flow, runID))
	if err != nil || claim == nil {
		return nil, err
	}
	if claim.Run.Rescues >= suspectAfter && !e.client.leases.Isolate(runID) {
		return nil, errOneSuspect
	}
	return e.attempt(flow, claim), nil
}

// attempt begins an attempt at a run that was claimed.
func (e *FlowExecutor) attempt(flow *Flow, claim *Claim) *attempt {
	c := e.client
	attrs := runAttrs(claim.Run)
	if e.job != nil {
		attrs = append(attrs, slog.Int64(logJob, e.job.ID))
	}
	a := &attempt{
		base: c.pools.runs, control: c.store, gate: c.gate, leases: c.leases.Keeper, jobs: c.jobs, flow: flow, run: claim.Run, job: e.job, log: c.log.With(attrs...), started: c.now(),
		claimed: LeaseRef{RunID: claim.Run.ID, LeaseNumber: claim.Run.LeaseNumber},
		place:   place{seq: claim.Seq, cursor: claim.Cursor, fence: claim.Seq, setSeq: claim.SetSeq},
		sizes:   sizes{set: flow.Runtime.Settings().BatchSize},
	}
	if e.job != nil && c.config.Slice > 0 && flow.code.resumable() {
		a.slice.timer = time.NewTimer(c.config.Slice)
	}
	return a
}

// startTogether adds a run and claims it, together with others that are started at the same time. It returns
// no attempt if the run waits. It reports false if nothing came about, and the run must be started by itself.
func (e *FlowExecutor) startTogether(ctx context.Context, flow *Flow, s RuntimeSettings) (run *Run, a *attempt, done bool, err error) {
	c := e.client
	if c.leases.starts == nil || flow.opts.Group != "" || flow.asked().noted() {
		return nil, nil, false, nil
	}
	p, err := flow.workedHere(true).insertParams(ctx, s, time.Time{}, nil)
	if err != nil {
		return nil, nil, true, err
	}
	c.leases.starting.Add(1)
	answer, err := c.leases.starts.Do(ctx, start{insert: p, claim: e.claimParams(flow, 0)})
	c.leases.starting.Add(-1)
	c.leases.starts.Fewer()
	switch {
	case err != nil && (!e.alone(ctx, false, err) || errors.Is(err, context.DeadlineExceeded)): // it may have come about
		return nil, nil, true, err
	case err != nil || answer.Run == nil:
		return nil, nil, false, nil //nolint:nilerr // it may be about another run: this one is tried by itself
	case answer.Claim != nil:
		return answer.Run, e.attempt(flow, answer.Claim), true, nil
	case answer.Busy:
		a, err = e.claimAlone(ctx, flow, answer.Run.ID)
	}
	if errors.Is(err, ErrAlreadyRunning) {
		err = nil
	}
	if a == nil && err == nil {
		c.wakeOthers(ctx, flow.ID)
	}
	return answer.Run, a, true, err
}

// executeNew adds a run, claims it in the same transaction, and works it. So no other process
// can work the run first. Without room for its connections, the run waits as pending.
func (e *FlowExecutor) executeNew(ctx context.Context, flow *Flow, s RuntimeSettings) (*Run, error) {
	if err := e.client.gate.enter(); err != nil {
		return nil, public(fmt.Errorf("execute flow %q: %w", flow.Name, err))
	}
	defer e.client.gate.leave()
	leave, full := e.client.pools.enter(flow)
	if full != nil {
		leave = func() {}
	}
	var run *Run
	var a *attempt
	release := func() {}
	defer func() { release() }()
	insert := func(claim bool) error {
		return e.client.store.InTx(ctx, func(ctx context.Context, tx Tx) (err error) {
			if run, err = flow.workedHere(claim).insertRun(ctx, tx, s, time.Time{}, nil); err != nil {
				return err
			}
			if !claim {
				release = e.client.pools.hold(run.ID) // before the loop can see the run
				return nil
			}
			a, err = e.claimTx(ctx, tx, flow, run.ID)
			return err
		})
	}
	claim, started := flow.Registered() && full == nil, false
	var err error
	if claim {
		run, a, started, err = e.startTogether(ctx, flow, s)
	}
	if !started {
		err = insert(claim)
	}
	if !started && errors.Is(err, ErrAlreadyRunning) {
		a = nil
		err = insert(false) // the rollback of the claim removed the run too
	}
	if err == nil && a == nil {
		e.client.hasStarted(ctx, flow)
	}
	switch {
	case err != nil:
		leave()
		return nil, public(fmt.Errorf("start run of flow %q: %w", flow.Name, err))
	case !flow.Registered():
		leave()
		return run, public((&candidate{flow: flow, run: run}).refusal())
	}
	var worked *Run
	switch {
	case a != nil:
		a.connections = leave
		defer e.client.leases.enter()()
		worked, err = e.workClaimed(ctx, flow, run.ID, a)
	case full != nil:
		worked, err = e.executeLater(ctx, flow, run, full)
	default:
		leave()
		worked, err = e.notClaimed(ctx, flow, run.ID, nil)
	}
	if worked == nil {
		worked = run
	}
	if errors.Is(err, ErrRunFinished) {
		err = worked.Err() // another process worked the waiting run first
	}
	worked.Coalesced = run.Coalesced
	return worked, public(err)
}

// executeLater waits until there is room for the connections of a pending run, and works it.
func (e *FlowExecutor) executeLater(ctx context.Context, flow *Flow, run *Run, full error) (*Run, error) {
	e.client.pools.tell(ctx, run, full)
	leave, err := e.client.pools.wait(ctx, flow, func() bool {
		now, err := e.client.store.RunByID(ctx, run.ID)
		return err == nil && now.State != RunPending || errors.Is(err, ErrNotFound)
	})
	if errors.Is(err, errWaitOver) { // it was cancelled, or another process works it
		return e.notClaimed(ctx, flow, run.ID, nil)
	}
	if err != nil {
		return run, fmt.Errorf("claim run %d of flow %q: %w", run.ID, flow.Name, err)
	}
	return e.executeWith(ctx, flow, run.ID, leave)
}
