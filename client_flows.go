package dataflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/activedataflow/dataflow/internal/schedule"
)

// Flow returns a flow by its name, bound to this client, or ErrNotFound. A flow is in the
// database once a client that declares it has started.
func (c *Client) Flow(ctx context.Context, name string) (*Flow, error) {
	rec, err := c.store.FlowByName(ctx, name)
	if err != nil {
		return nil, public(fmt.Errorf("get flow %q: %w", name, c.flows.unstored(name, err)))
	}
	return c.flows.bind(rec), nil
}

// Flows lists the flows in the database, in the order of their names. This process need not
// have their code. params may be nil.
func (c *Client) Flows(ctx context.Context, params *FlowListParams) ([]*Flow, error) {
	p, err := page(params)
	if err != nil {
		return nil, public(fmt.Errorf("list flows: %w", err))
	}
	if p.State != "" && !p.State.Valid() {
		return nil, public(fmt.Errorf("list flows: %w", &ConfigError{Field: "State", Reason: fmt.Sprintf("%q is not a state of a flow: use active or inactive", p.State)}))
	}
	if p.Trouble && (p.Due || p.Overdue) {
		return nil, public(fmt.Errorf("list flows: %w", &ConfigError{Field: "Trouble", Reason: "it is not for Due or Overdue: ask for one of them"}))
	}
	if p.LastRuns < 0 || p.LastRuns > defaultPage {
		return nil, public(fmt.Errorf("list flows: %w", &ConfigError{Field: "LastRuns", Reason: fmt.Sprintf("%d is out of range: use 0 to %d", p.LastRuns, defaultPage)}))
	}
	list := c.store.FlowList
	if p.Trouble {
		list = c.store.FlowTrouble
	}
	recs, err := list(ctx, &p)
	if err != nil {
		return nil, public(fmt.Errorf("list flows: %w", err))
	}
	flows := make([]*Flow, len(recs))
	for i, rec := range recs {
		flows[i] = c.flows.bind(rec)
	}
	if err := lastRuns(ctx, c.store, flows, p.LastRuns); err != nil {
		return nil, public(fmt.Errorf("list the last runs of flows: %w", err))
	}
	return flows, nil
}

// lastRuns reads the newest runs of flows.
func lastRuns(ctx context.Context, q Queries, flows []*Flow, limit int) error {
	if limit == 0 || len(flows) == 0 {
		return nil
	}
	byID, ids := make(map[int64]*Flow, len(flows)), make([]int64, len(flows))
	for i, f := range flows {
		byID[f.ID], ids[i] = f, f.ID
	}
	runs, err := q.RunsLast(ctx, ids, limit)
	if err != nil {
		return err
	}
	for _, run := range runs {
		f := byID[run.FlowID]
		f.LastRuns = append(f.LastRuns, run)
	}
	return nil
}

// Pause makes a flow inactive. Until Resume, no process starts a run of it. A run in progress
// goes on. Registering the flow again does not undo the pause. Its ticks are in the ledger as
// paused. actor and reason are stored with the flow. A second Pause changes only these.
func (c *Client) Pause(ctx context.Context, name, actor, reason string) (*Flow, error) {
	f, err := setFlowState(ctx, c, name, &FlowStateParams{State: FlowInactive, Actor: actor, Reason: reason})
	if err != nil {
		return nil, public(fmt.Errorf("pause flow %q: %w", name, err))
	}
	return f, nil
}

// Resume makes a flow active again, also one that failures have paused (see
// Schedule.PauseAfter). Its waiting runs go on. Its next tick is the next one from now: no
// missed tick is made up for.
func (c *Client) Resume(ctx context.Context, name, actor, reason string) (*Flow, error) {
	f, err := setFlowState(ctx, c, name, &FlowStateParams{State: FlowActive, Actor: actor, Reason: reason})
	if err == nil {
		c.worker.wakeAll(ctx, f.ID)
		err = c.jobs.wake(ctx, f)
	}
	if err != nil {
		return nil, public(fmt.Errorf("resume flow %q: %w", name, err))
	}
	return f, nil
}

// setFlowState changes the state of a flow. Due ticks of an active flow that is paused are those of
// a paused one, as no run of them has begun.
func setFlowState(ctx context.Context, c *Client, name string, p *FlowStateParams) (*Flow, error) {
	var rec *FlowRecord
	err := c.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := c.store.With(tx)
		if err != nil {
			return err
		}
		if rec, err = q.FlowByName(ctx, name); err != nil {
			return c.flows.unstored(name, err)
		}
		before, now, err := q.FlowLock(ctx, rec.ID)
		if err != nil {
			return err
		}
		p.ID = before.ID
		if rec, err = q.FlowSetState(ctx, p); err != nil {
			return err
		}
		if err := noteAction(ctx, q, p.action(), rec.ID, 0, p.Actor, p.Reason, flowStateOf(before), flowStateOf(rec)); err != nil {
			return err
		}
		changed := "" // a flow that is active already stays as it is
		if !rec.IsActive() {
			changed = schedule.SkippedPaused
		}
		next, skip, err := skipDue(before, now, changed)
		if err == nil && skip != nil {
			err = q.TickSkip(ctx, skip)
		}
		if err != nil { // for example, this machine does not know the time zone: that must not prevent a pause
			c.log.WarnContext(ctx, "dataflow: due ticks are left to a process that can read the schedule", slog.String(logFlow, name), slog.String(logError, err.Error()))
			return nil
		}
		plan := &FlowPlanParams{ID: rec.ID, ProbeAt: rec.ProbeAt}
		plan.setNext(next)
		rec.NextRunAt, rec.NextRunLocal = plan.NextRunAt, plan.NextRunLocal
		return q.FlowPlan(ctx, plan)
	})
	if err != nil {
		return nil, err
	}
	c.log.InfoContext(ctx, "dataflow: flow is "+string(p.State), slog.String(logFlow, name), slog.String("actor", p.Actor), slog.String(logReason, p.Reason))
	return c.flows.bind(rec), nil
}

// action is what the audit log says of the change of a state.
func (p *FlowStateParams) action() AuditAction {
	if p.State == FlowActive {
		return AuditResume
	}
	return AuditPause
}

// flowStateOf is what the audit log shows of a flow before or after it was paused or resumed.
func flowStateOf(f *FlowRecord) map[string]any {
	state := map[string]any{"state": f.State}
	if f.TrippedAt != nil {
		state["stopped_after_failures_at"] = f.TrippedAt
	}
	return state
}

// Audit lists what was done to flows and runs by whom, newest first: an entry for each call that
// pauses or resumes a flow, cancels or retries a run, starts a backfill, sets a cursor, replays,
// edits or closes dead letters, or migrates a Runtime. A call that triggers a run has an entry if
// it names an Actor. An entry and what it tells are one transaction. Only that of a Replay is
// written before: each dead letter then says by itself that it was replayed.
//
// RetentionOptions.Audit says how long entries are kept. params may be nil.
func (c *Client) Audit(ctx context.Context, params *AuditListParams) ([]*AuditEntry, error) {
	p, err := page(params)
	if err != nil {
		return nil, public(fmt.Errorf("list the audit log: %w", err))
	}
	entries, err := c.store.AuditList(ctx, &p)
	if err != nil {
		return nil, public(fmt.Errorf("list the audit log: %w", err))
	}
	return entries, nil
}

// Processes lists the started clients on this database that are alive, in the order of their
// ids.
func (c *Client) Processes(ctx context.Context) ([]*Process, error) {
	all, err := c.store.ProcessList(ctx)
	if err != nil {
		return nil, public(fmt.Errorf("list processes: %w", err))
	}
	return all, nil
}

// Locate returns the flow with a global id, as [Flow.GlobalID] writes it, bound to this
// client. If the text is malformed, or is the id of another application or model, the error is
// ErrGlobalID. If the flow is not in the database, the error is ErrNotFound.
func (c *Client) Locate(ctx context.Context, gid string) (*Flow, error) {
	fail := func(err error) (*Flow, error) { return nil, public(fmt.Errorf("locate flow: %w", err)) }
	g, err := parseGlobalID(gid)
	if err == nil {
		err = g.ownFlow()
	}
	if err != nil {
		return fail(err)
	}
	if g.App != gidApp {
		return fail(fmt.Errorf("%q is %w of ours, but of the application %q: use gid://%s/%s/ID", gid, ErrGlobalID, g.App, gidApp, gidFlow))
	}
	rec, err := c.store.FlowByID(ctx, g.ID)
	if errors.Is(err, ErrNotFound) {
		return fail(fmt.Errorf("%s: %w", gid, err))
	}
	if err != nil {
		return fail(err)
	}
	return c.flows.bind(rec), nil
}

// FlowStats returns how the flows whose code this client has are doing, in the order of their
// names. It leaves out flows that are not registered yet. It asks the sources for their lag, four
// at once. If one fails, its Lag is nil, and the error is logged. It is what dashboards and
// metrics are made of, and costs one statement for each 1,000 flows, besides the sources.
func (c *Client) FlowStats(ctx context.Context) ([]*FlowStats, error) {
	var all []*FlowStats
	for ids := range slices.Chunk(c.flows.knownIDs(), idsSent) {
		some, err := c.store.FlowStats(ctx, ids)
		if err != nil {
			return nil, public(fmt.Errorf("look at flows: %w", err))
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, func(a, b *FlowStats) int { return strings.Compare(a.Flow, b.Flow) })
	places := make(chan struct{}, lagsAtOnce)
	var wg sync.WaitGroup
	for _, s := range all {
		f := c.flows.knownByID(s.FlowID)
		if f == nil {
			continue
		}
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			lag, err := f.code.lag(ctx, s.Cursor)
			if s.Lag, s.LagBytes = lag.Age, lag.Bytes; err != nil {
				c.log.WarnContext(ctx, "dataflow: a source could not tell its lag", slog.String(logFlow, s.Flow), slog.String(logError, err.Error()))
			}
		})
	}
	wg.Wait()
	return all, nil
}

// Lag asks the flow's source how far the flow's cursor is after it. A source that has not
// answered within five seconds is given up. The flow must be one that a client has returned. If this process does not have its code, the error is ErrNotRegistered.
func (f *Flow) Lag(ctx context.Context) (*Lag, error) {
	fail := func(err error) (*Lag, error) {
		return nil, public(fmt.Errorf("look up the lag of flow %q: %w", f.Name, private(err)))
	}
	if f.client == nil || !f.Registered() {
		return fail(fmt.Errorf("%w: this process does not have the flow's code", ErrNotRegistered))
	}
	if !f.code.tellsLag() {
		return &Lag{}, nil
	}
	place, err := f.client.store.CursorGet(ctx, f.ID)
	if err != nil {
		return fail(err)
	}
	lag, err := f.code.lag(ctx, place.Cursor)
	if err != nil {
		return fail(err)
	}
	return &lag, nil
}

// Declared returns what this process's code declares of the flow. What is stored differs from it
// until the code is registered, if another version was registered since, and if somebody has
// migrated the flow to another Runtime. The flow must be one that a client has returned. If this
// process does not have its code, the error is ErrNotRegistered.
func (f *Flow) Declared() (*FlowDefinition, error) {
	if f.client == nil || f.client.flows.declared[f.Name] == nil {
		return nil, public(fmt.Errorf("describe flow %q: %w: this process does not have the flow's code", f.Name, ErrNotRegistered))
	}
	d, err := f.client.flows.declared[f.Name].definition(f.client.config.CodeVersion)
	if err != nil {
		return nil, public(fmt.Errorf("describe flow %q: %w", f.Name, err))
	}
	return d, nil
}

// lagsAtOnce is how many sources are asked for their lag at once.
const lagsAtOnce = 4

// Elect reports whether this client is the one that does a task now, of all clients on the
// database that ask for it under the same name. It stays so for the lease, and renews that by
// asking again. Lease 0 lets the task go. A task is nothing but its name, and so needs no
// registration; names with a colon are the library's.
func (c *Client) Elect(ctx context.Context, task string, lease time.Duration) (bool, error) {
	if lease == 0 {
		err := c.store.UpkeepDone(ctx, task, c.config.ID, 0)
		return false, public(err)
	}
	is, err := c.store.UpkeepTake(ctx, task, c.config.ID, lease)
	return is, public(err)
}

// PoolNeeds returns how many connections each pool needs for this client's flows: its own
// pool first. Pools of parts that do not say what they need ([PoolUser]) are left out.
func (c *Client) PoolNeeds() []*PoolNeed { return c.poolNeeds(c.config.Flows) }
