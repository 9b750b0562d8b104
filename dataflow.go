package dataflow

// The client: what a user calls. It is made of the rooms below it, and no room calls it except
// through a Flow that it returned.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/activedataflow/dataflow/internal/lease"
)

// Client registers flows, starts and lists runs, and, once it is started, works them. Make one
// with [NewClient], for each database. It is safe for concurrent use.
type Client struct {
	base
	gate      *gate
	flows     *registry
	leases    *claims
	jobs      *jobs
	schedule  *scheduler
	pools     *connections
	registrar *registrar
	cleaner   *cleaner
	worker    *worker
}

// NewClient returns a client on a database. It checks the whole Config and returns all that is
// wrong with it, joined, each fault as a *[ConfigError]. It does not use the database. config
// may be nil. The caller closes the database's pool after Stop.
func NewClient(driver Driver, config *Config) (*Client, error) {
	if isNil(driver) {
		return nil, public(&ConfigError{Field: "driver", Reason: "it is nil: use dataflowpgx.New(pool) or dataflowsqlite.New(db)"})
	}
	conf := config.withDefaults()
	store, err := driver.Store(StoreOptions{Schema: conf.Schema, Clock: conf.Clock, Lease: conf.Lease, Logger: conf.Logger})
	b := base{store: store, log: conf.Logger, config: &conf, events: &subscriptions{}, wakes: newWakes(store)}
	if err := errors.Join(conf.validate(), err); err != nil {
		return nil, public(err)
	}
	if err := b.checkPools(conf.Flows); err != nil {
		return nil, public(err)
	}
	c := &Client{base: b, gate: newGate()}
	if s, ok := store.(PooledStore); ok {
		c.gate.keep = s.Keep
	}
	c.flows = newRegistry(b, c, conf.Flows)
	renewing := make(troubles)
	c.leases = newClaims(b, lease.NewKeeper[*attempt](lease.Config{
		Renew: b.renewLeases, Every: min(conf.Lease/3, renewEvery), Timeout: conf.Lease / 2, Lost: ErrFenced, Cancelled: errCancelled,
		Note: func(ctx context.Context, err error) { renewing.note(ctx, b, "renewing leases", err) },
	}))
	c.jobs = &jobs{base: b, flows: c.flows, addWorker: func(workers *river.Workers) error { return river.AddWorkerSafely(workers, NewDataFlowJob(c)) }}
	c.pools = &connections{base: b, runs: b.forRuns(), jobs: c.jobs, gate: c.gate}
	c.schedule = &scheduler{base: b, flows: c.flows, jobs: c.jobs, follow: anyFollows(conf.Flows), cancel: c.cancel}
	c.registrar = &registrar{base: b, flows: c.flows, jobs: c.jobs, gate: c.gate}
	c.cleaner = &cleaner{base: b, gate: c.gate}
	c.worker = &worker{
		base: b, flows: c.flows, gate: c.gate, pools: c.pools, schedule: c.schedule, registrar: c.registrar,
		rescuer:   &rescuer{base: b, flows: c.flows, leases: c.leases.Keeper, jobs: c.jobs},
		presence:  &presence{base: b, flows: c.flows, jobs: c.jobs},
		callbacks: &callbacks{base: b, flows: c.flows, gate: c.gate},
		execute:   NewFlowExecutor(c).executeKnown, freed: make(chan struct{}, 1), ended: make(chan struct{}, 1), woken: make(chan struct{}, 1), added: make(chan *Run, 1), inFlight: make(map[int64]bool),
	}
	c.worker.listening = c.worker.listener()
	c.worker.presence.listening = c.worker.listening
	for _, p := range c.PoolNeeds() {
		if p.Short() {
			c.log.Warn("dataflow: the pool is too small for all flows at once, so that some runs wait", slog.String(logReason, p.String()))
		}
	}
	return c, nil
}

// Migrate brings River's tables and ours to the version of this library. It changes nothing if
// they are there already. Several processes may call it at once.
func (c *Client) Migrate(ctx context.Context) error {
	return public(c.store.Migrate(ctx))
}

// MigrateDown takes our tables, not River's, down to a version. Version 0 removes them, with
// all flows, runs and checkpoints.
func (c *Client) MigrateDown(ctx context.Context, version int) error {
	return public(c.store.MigrateDown(ctx, version))
}

// Start checks that the database was migrated, registers the flows, and works runs until Stop.
// ctx limits only the start. A client starts once. If a flow cannot be registered, the client
// starts without it, logs the error, and tries again from time to time. See
// [Client.RegistrationErrors]. It returns an error if the database's role may not write the tables.
func (c *Client) Start(ctx context.Context) error {
	if err := c.store.CheckSchema(ctx); err != nil {
		return public(err)
	}
	if err := c.jobs.checkAtStart(ctx); err != nil {
		return public(fmt.Errorf("start: %w", err))
	}
	if err := c.registrar.registerAtStart(ctx); err != nil {
		return err
	}
	workCtx, kill := context.WithCancel(context.WithoutCancel(ctx))
	if err := c.gate.open(kill); err != nil {
		kill()
		return public(fmt.Errorf("start: %w", err))
	}
	if err := c.jobs.start(ctx); err != nil {
		c.gate.reopen()
		kill()
		return public(fmt.Errorf("start: %w", err))
	}
	if err := c.gate.enter(); err != nil {
		if rc := c.jobs.own(); rc != nil { // Stop may have come before the River client was started
			err = errors.Join(err, rc.Stop(context.WithoutCancel(ctx)))
		}
		return public(fmt.Errorf("start: %w: Stop was called during Start", err))
	}
	// Before Start returns, so that the other processes, and Why, know of this one from then on.
	err := c.worker.presence.sayAlive(ctx)
	if err != nil && ctx.Err() == nil && slices.Contains([]Fault{FaultOther, FaultPermanent}, c.store.Classify(err)) { // for example, the role may not write
		c.gate.leave()
		return public(errors.Join(fmt.Errorf("start: say that this process is alive: %w", err), c.Stop(ctx)))
	}
	if err != nil {
		c.log.WarnContext(ctx, "dataflow: saying that this process is alive failed; trying again", slog.String(logError, err.Error()))
	}
	go func() {
		defer c.gate.leave()
		var cleaning sync.WaitGroup
		cleaning.Go(func() { c.cleaner.poll(workCtx) })
		cleaning.Go(func() { c.worker.listen(workCtx) })
		cleaning.Go(func() { c.worker.callbacks.poll(workCtx) })
		c.worker.poll(workCtx)
		cleaning.Wait()
	}()
	c.log.InfoContext(ctx, "dataflow: started", slog.String(logWorker, c.config.ID), slog.Int("flows", len(c.flows.declared)))
	return nil
}

// Stop ends the client. It starts no more runs. The runs in progress stop after their
// present batch and are handed back, to go on elsewhere or later. That spends no
// attempt.
//
// Shortly before ctx's deadline, Stop interrupts what is left, which rolls its batch
// back. It then gives up on code that ignores even that. It takes the run of such code
// away, so that it can commit nothing more, and returns an error that names the run.
//
// Stop returns by ctx's deadline, or a second after ctx was cancelled. It does not stop
// a River client that was joined with [UseRiver]. It may be called at any time, and
// more than once.
func (c *Client) Stop(ctx context.Context) error {
	kill := c.gate.close()

	soft, hard, cancel := stopPhases(ctx)
	defer cancel()
	err := c.stopSoftly(soft)
	if err != nil {
		err = c.stopHard(hard)
	}
	if err != nil {
		err = errors.Join(err, abandon(ctx, c))
	}
	kill()
	if err != nil {
		return public(fmt.Errorf("stop: %w", err))
	}
	c.log.InfoContext(ctx, "dataflow: stopped", slog.String(logWorker, c.config.ID))
	return nil
}

// stopPhases divides the time that ctx leaves: most of it to end batches, some to
// interrupt them, the last to hand back what cannot be interrupted.
func stopPhases(ctx context.Context) (soft, hard context.Context, cancel context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, ctx, func() {}
	}
	part := min(time.Until(deadline)/5, handBackTimeout)
	soft, cancelSoft := context.WithDeadline(ctx, deadline.Add(-2*part))
	hard, cancelHard := context.WithDeadline(ctx, deadline.Add(-part))
	return soft, hard, func() { cancelSoft(); cancelHard() }
}

// stopSoftly waits until everything has ended by itself.
func (c *Client) stopSoftly(ctx context.Context) error {
	if rc := c.jobs.own(); rc != nil {
		if err := rc.Stop(ctx); err != nil {
			return err
		}
	}
	return c.gate.wait(ctx)
}

// stopHard interrupts what is left, and waits for it.
func (c *Client) stopHard(ctx context.Context) error {
	for _, a := range c.leases.Holders() {
		a.Interrupt(ErrStopped)
	}
	c.gate.close()()
	if rc := c.jobs.own(); rc != nil {
		if err := rc.StopAndCancel(ctx); err != nil {
			return err
		}
	}
	return c.gate.wait(ctx)
}

// abandon hands back the runs whose code ignores its context. This ends their claims,
// and with them the right to commit.
func abandon(ctx context.Context, c *Client) error {
	timeout := abandonTimeout
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil {
		timeout = min(timeout, time.Until(deadline))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	var errs []error
	for _, a := range c.leases.Holders() {
		executor := &FlowExecutor{client: c, job: a.job}
		answer, err := executor.endAlone(ctx, &RunEndParams{
			RunID: a.claimed.RunID, FlowID: a.flow.ID, LeaseNumber: a.claimed.LeaseNumber, State: RunPending, Refund: true,
		})
		c.leases.Drop(lease.Ref(a.claimed))
		if err == nil && answer.Run == nil {
			continue // it ended meanwhile
		}
		if err == nil {
			c.publish(ctx, EventRunReleased, answer.Run, nil)
		}
		errs = append(errs, fmt.Errorf("flow %q run %d: its code ignores its context: the run was handed back, and its goroutine is still running", a.flow.Name, a.claimed.RunID), err)
	}
	return errors.Join(errs...)
}

// Migrations returns the migrations of our tables, which of them the database has, and their
// SQL. It changes nothing, and works on an empty database too.
func (c *Client) Migrations(ctx context.Context) (*MigrationStatus, error) {
	s, err := c.store.Migrations(ctx)
	return s, public(err)
}

// Subscribe returns a channel of the events that happen in this process from now on: those of
// the given kinds, or all if there are none. It also returns a function that ends the
// subscription and closes the channel. The channel holds 1,000 events. When it is full,
// further events are lost.
func (c *Client) Subscribe(kinds ...EventKind) (<-chan *Event, func()) {
	return c.events.subscribe(kinds...)
}

// Register stores the definitions of Config.Flows. Start calls it. It never changes whether a
// flow is active. It starts no run, except for Schedule.RunAtRegistration: a schedule that is
// new or changed begins with its next tick.
//
// If a flow cannot be stored, the others still are. The errors are returned joined, and kept
// for [Client.RegistrationErrors].
func (c *Client) Register(ctx context.Context) error { return public(c.registrar.registerAll(ctx)) }

// RegistrationErrors returns, by the flows' names, why this client's last try could not store
// a flow. It is empty if all flows are stored. A started client tries again from time to time.
// The caller may change the map.
func (c *Client) RegistrationErrors() map[string]error { return c.flows.failures() }

// RiverClient returns the River client that a client uses, for the service's own jobs. The
// driver packages have a RiverClient with TTx filled in. If TTx is not the transaction type of
// the database, the error is ErrTxMismatch. It is safe for concurrent use.
func RiverClient[TTx any](c *Client) (*river.Client[TTx], error) {
	r, err := c.jobs.client()
	if err != nil {
		return nil, public(err)
	}
	rc, ok := r.Unwrap().(*river.Client[TTx])
	if !ok {
		return nil, public(fmt.Errorf("get River client: %w: this client's transactions are %s", ErrTxMismatch, c.store.TxType()))
	}
	return rc, nil
}

// RiverQueues lists the queues that River has seen in the client's database, in the order of their
// names, up to 10,000 of them. River knows a queue once a process works it, and forgets it a day
// after the last one did. The client need not be started.
func RiverQueues(ctx context.Context, c *Client) ([]*RiverQueue, error) {
	rc, err := c.jobs.client()
	if err != nil {
		return nil, public(fmt.Errorf("list River queues: %w", err))
	}
	queues, err := rc.ListQueues(ctx)
	if err != nil {
		return nil, public(fmt.Errorf("list River queues: %w", err))
	}
	return queues, nil
}

// UseRiver makes a client insert its jobs through a River client of the service, on the same
// database. The service starts and stops that River client. Call UseRiver before anything
// else. If the River client is for another kind of database, the error is ErrTxMismatch. If both
// name a schema, it must be the same. If only one does, [Client.Start] and what starts a run
// return an error unless the search path leads to the same tables.
func UseRiver[TTx any](c *Client, rc *river.Client[TTx]) error {
	if rc == nil {
		return public(&ConfigError{Field: "River client", Reason: "it is nil: make one with river.NewClient"})
	}
	if want := c.store.TxType(); reflect.TypeFor[TTx]() != want {
		return public(fmt.Errorf("use River client of %s: %w: this client's are %s", reflect.TypeFor[TTx](), ErrTxMismatch, want))
	}
	if ours := c.jobs.config.Schema; ours != "" && rc.Schema() != "" && rc.Schema() != ours {
		return public(&ConfigError{Field: "River client", Reason: fmt.Sprintf("its schema is %q, and this client's is %q: give both the same Schema, so that a run and its job are in one place", rc.Schema(), ours)})
	}
	return public(c.jobs.join(WrapRiver(rc), rc.Schema))
}

// AddWorker adds the worker of our jobs to the workers of a River client that the
// service makes. That River client must work the queues of the flows. Hand it to
// [UseRiver] before this client starts. Another River client that works these queues, such
// as that of an older release of the service, needs the worker too: without it, River fails
// the job, and tries it again later and later. [Client.Why] says so.
func (c *Client) AddWorker(workers *river.Workers) error {
	if workers == nil {
		return public(&ConfigError{Field: "workers", Reason: "it is nil: use river.NewWorkers()"})
	}
	return public(river.AddWorkerSafely(workers, NewDataFlowJob(c)))
}
