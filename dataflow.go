package dataflow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/riverqueue/river"
)

// Client registers flows, starts and lists runs, and, once started, works them.
// It is safe for concurrent use. A program has one for each database.
type Client struct {
	config Config
	store  Store
	log    *slog.Logger
	flows  map[string]*Flow // as declared, by name
	events subscriptions

	stopping chan struct{} // closed when Stop begins
	freed    chan struct{} // holds a signal when the loop has a place again
	worked   chan struct{} // holds a signal when a run that the loop has worked has ended
	working  sync.WaitGroup

	mu       sync.Mutex // guards what follows
	byID     map[int64]*Flow
	river    River
	joined   bool // river is the user's own client, who starts and stops it
	started  bool
	stopped  bool
	kill     context.CancelFunc // interrupts the runs that the loop works
	inFlight map[int64]bool     // runs that the loop works
	attempts map[int64]*attempt // what this process works, by run
	renewing bool               // a loop renews the leases of the attempts
	suspect  int64              // the run that is isolated, 0: none
	// unregistered holds why flows could not be registered, by name.
	unregistered map[string]error
	riverQueues  map[string]river.QueueConfig // that river works
	workerAdded  bool                         // our worker is in Config.River.Workers
}

// NewClient returns a client on a database. It checks the whole Config and
// returns everything that is wrong with it, joined, each as a *[ConfigError];
// it does not touch the database. config may be nil. The caller closes the
// database's pool, after Stop.
func NewClient(driver Driver, config *Config) (*Client, error) {
	if isNil(driver) {
		return nil, public(&ConfigError{Field: "driver", Reason: "it is nil: use dataflowpgx.New(pool) or dataflowsqlite.New(db)"})
	}
	conf := config.withDefaults()
	store, err := driver.Store(StoreOptions{Schema: conf.Schema, Clock: conf.Clock, Lease: conf.Lease, Logger: conf.Logger})
	if err := errors.Join(conf.validate(), err); err != nil {
		return nil, public(err)
	}
	c := &Client{
		config:       conf,
		store:        store,
		log:          conf.Logger,
		flows:        make(map[string]*Flow, len(conf.Flows)),
		byID:         make(map[int64]*Flow),
		inFlight:     make(map[int64]bool),
		attempts:     make(map[int64]*attempt),
		stopping:     make(chan struct{}),
		freed:        make(chan struct{}, 1),
		worked:       make(chan struct{}, 1),
		unregistered: make(map[string]error),
	}
	for _, f := range conf.Flows {
		c.flows[f.Name] = f
	}
	return c, nil
}

// Migrate brings River's tables and ours up to the version of this library. It
// changes nothing when they are there already, and may run in several processes
// at once.
func (c *Client) Migrate(ctx context.Context) error {
	return public(c.store.Migrate(ctx))
}

// MigrateDown takes our tables, not River's, down to a version. 0 removes them,
// with all flows, runs and checkpoints.
func (c *Client) MigrateDown(ctx context.Context, version int) error {
	return public(c.store.MigrateDown(ctx, version))
}

// Start checks that the database has been migrated, registers the flows, and
// works runs until Stop. ctx bounds the starting alone. A client starts once. Flows
// that cannot be registered do not keep it from starting: it logs them, works the
// others, and tries again now and then; see [Client.RegistrationErrors].
func (c *Client) Start(ctx context.Context) error {
	if err := c.store.CheckSchema(ctx); err != nil {
		return public(err)
	}
	if err := c.registerAtStart(ctx); err != nil {
		return err
	}
	workCtx, kill := context.WithCancel(context.WithoutCancel(ctx))
	rc, queues, err := c.begin(kill)
	if err != nil {
		kill()
		return public(fmt.Errorf("start: %w", err))
	}
	// Without the lock: River's client asks the database, which on SQLite is for
	// one at a time, and its jobs ask this client.
	if rc != nil {
		err := c.addQueues(rc, queues)
		if err == nil {
			err = rc.Start(context.WithoutCancel(ctx))
		}
		if err != nil {
			c.mu.Lock()
			c.started = false
			c.mu.Unlock()
			kill()
			return public(fmt.Errorf("start River: %w", err))
		}
	}
	if err := c.enter(); err != nil {
		return public(fmt.Errorf("start: %w meanwhile", err))
	}
	go func() {
		defer c.leave()
		c.poll(workCtx)
	}()
	c.log.InfoContext(ctx, "dataflow: started", slog.String(logWorker, c.config.ID), slog.Int("flows", len(c.flows)))
	return nil
}

// begin makes the client a started one, and returns the River client that is to
// be started too, nil if there is none, and the queues that it lacks.
func (c *Client) begin(kill context.CancelFunc) (River, map[string]river.QueueConfig, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil, nil, fmt.Errorf("%w: make a new one", ErrStopped)
	}
	if c.started {
		return nil, nil, errors.New("the client is started already")
	}
	rc, queues, err := c.startable()
	if err != nil {
		return nil, nil, err
	}
	c.started, c.kill = true, kill
	return rc, queues, nil
}

// now is this process's time, for events, logs and progress alone: what is
// stored has the database's.
func (c *Client) now() time.Time {
	if c.config.Clock != nil {
		return c.config.Clock()
	}
	return time.Now() //nolint:forbidigo // the one place that reads the real clock
}

// Migrations returns the migrations of our tables, which of them the database has,
// and their SQL. It changes nothing, and works on an empty database too.
func (c *Client) Migrations(ctx context.Context) (*MigrationStatus, error) {
	s, err := c.store.Migrations(ctx)
	return s, public(err)
}

// Subscribe returns a channel of the events of these kinds, or of all if none
// is named, that happen in this process from now on, and a function that ends
// the subscription and closes the channel. It holds 1,000 events; what a slow
// receiver leaves no room for is lost.
func (c *Client) Subscribe(kinds ...EventKind) (<-chan *Event, func()) {
	s := subscription{ch: make(chan *Event, subscriptionBuffer), kinds: make(map[EventKind]bool)}
	for _, k := range kinds {
		s.kinds[k] = true
	}
	h := &c.events
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs == nil {
		h.subs = make(map[int]subscription)
	}
	id := h.next
	h.next++
	h.subs[id] = s
	return s.ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ok := h.subs[id]; ok {
			delete(h.subs, id)
			close(s.ch)
		}
	}
}
