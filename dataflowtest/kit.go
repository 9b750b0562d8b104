// Package dataflowtest tests flows: on a database of their own, with a clock that the test moves,
// and with crashes where the test wants them.
//
//	func TestOrders(t *testing.T) {
//		orders := dataflowtest.NewSource("a", "b", "c")
//		sink := dataflowtest.NewSink[string]()
//		kit := dataflowtest.New(t, dataflow.NewFlow("orders", orders, dataflow.Identity[string](), sink.Target(), nil))
//		kit.CrashAt(dataflowtest.AfterWrite, 1) // the process dies with a written batch
//		run := kit.Work("orders")               // another one takes the run over
//		dataflowtest.RequireExactlyOnce(t, orders.Rows(), sink.Rows(kit))
//	}
//
// Nothing waits for real time, but for what the flow's own code and the database do. The engine's
// short waits for trouble that should pass, two seconds at most, are real too.
package dataflowtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // The "sqlite" driver.

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// TB is what this package uses of a *testing.T.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	FailNow()
	Cleanup(fn func())
}

// Begin is the time at which the clock of each Kit begins: a Monday.
var Begin = time.Date(2029, time.January, 1, 0, 0, 0, 0, time.UTC)

// lease is the lease of a Kit's clients, in the Kit's time.
const lease = time.Minute

// mostSteps is how many times Advance and Work look for what is due. A flow that is always due
// ends a test in place of hanging it.
const mostSteps = 100_000

// Kit works flows for a test. One goroutine at a time may use it. Its methods fail the test at
// once if the database or the configuration is at fault. A run that fails is no failure of the
// test: see [Kit.RequireRun].
type Kit struct {
	t      TB
	driver dataflow.Driver
	config dataflow.Config
	db     *sql.DB // of New; nil for NewOn
	client *dataflow.Client

	mu  sync.Mutex // guards now: the goroutines of a flow ask for it too
	now time.Time

	crash *crash // nil: none is due
}

var databases atomic.Int64

// New returns a Kit on a fresh SQLite database in memory, which ends with the test. The flows are
// registered.
func New(t TB, flows ...*dataflow.Flow) *Kit {
	t.Helper()
	k := &Kit{t: t}
	dsn := fmt.Sprintf("file:/dataflowtest-%d?vfs=memdb&_pragma=foreign_keys(1)", databases.Add(1))
	keep, err := sql.Open("sqlite", dsn) // the database lives as long as one of its connections
	k.require(err)
	k.require(keep.PingContext(context.Background()))
	k.db, err = sql.Open("sqlite", dsn+"&_pragma=busy_timeout(10000)")
	k.require(err)
	k.db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = errors.Join(k.db.Close(), keep.Close()) })
	_, err = k.db.ExecContext(context.Background(), createRows)
	k.require(err)
	k.begin(dataflowsqlite.New(k.db), &dataflow.Config{Flows: flows})
	return k
}

// NewOn returns a Kit on a database of the caller's, such as a Postgres, which it migrates. The
// driver is one that [dataflow.NewClient] takes. config may be nil. Its Clock, Lease and MaxWorkers
// are the Kit's. A [Sink] needs a Kit of New.
func NewOn(t TB, driver dataflow.Driver, config *dataflow.Config) *Kit {
	t.Helper()
	k := &Kit{t: t}
	k.begin(driver, config)
	return k
}

func (k *Kit) begin(driver dataflow.Driver, config *dataflow.Config) {
	k.t.Helper()
	if config != nil {
		k.config = *config
	}
	if k.config.Logger == nil {
		k.config.Logger = slog.New(slog.DiscardHandler)
	}
	k.driver, k.now = driver, Begin
	k.config.Clock, k.config.Lease, k.config.MaxWorkers = k.Now, lease, 1
	k.client = k.process(driver, k.config.Flows)
	k.require(k.client.Migrate(context.Background()))
	k.require(k.client.Register(context.Background()))
}

// process returns a client as that of a process of its own.
func (k *Kit) process(driver dataflow.Driver, flows []*dataflow.Flow) *dataflow.Client {
	k.t.Helper()
	config := k.config
	config.Flows = flows
	c, err := dataflow.NewClient(driver, &config)
	k.require(err)
	return c
}

// Client returns the client. After a crash it is another one.
func (k *Kit) Client() *dataflow.Client { return k.client }

// Now returns the Kit's time. It is safe for concurrent use.
func (k *Kit) Now() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

// moveTo moves the clock forward.
func (k *Kit) moveTo(at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if at.After(k.now) {
		k.now = at
	}
}

// Work starts a run of a flow, works it until it has ended, and returns it. It moves the clock
// where the run waits: for a retry, or for the lease of a worker that crashed. What else comes due
// by then is left to the next [Kit.Advance]. A run that waits already is worked in place of a new
// one.
func (k *Kit) Work(flow string) *dataflow.Run {
	k.t.Helper()
	run, err := k.client.Enqueue(context.Background(), flow, nil)
	k.require(err)
	for range mostSteps {
		if run.State.Finished() {
			return run
		}
		k.moveTo(run.RunAfter)
		run, err = k.attempt(run.ID)
		k.require(err)
	}
	k.fail("run %d of flow %q has not ended after %d attempts: its last error is %q", run.ID, flow, mostSteps, run.Error)
	return nil
}

// attempt makes one attempt at a run, and returns the run as it is then. The error says why there
// was none.
func (k *Kit) attempt(id int64) (*dataflow.Run, error) {
	k.t.Helper()
	var err error
	crashed := k.die(func(client *dataflow.Client) {
		_, err = dataflow.NewFlowExecutor(client).Execute(context.Background(), id)
	})
	if crashed {
		k.takeOver()
	}
	run, found := k.client.Run(context.Background(), id)
	k.require(found)
	var failed *dataflow.RunError
	if errors.As(err, &failed) {
		return run, nil
	}
	return run, err
}

// takeOver lets the leases of a process that crashed lapse, and another process put its runs back.
func (k *Kit) takeOver() {
	k.t.Helper()
	k.moveTo(k.Now().Add(lease + time.Second))
	k.client = k.process(k.driver, k.config.Flows)
	k.require(k.client.Register(context.Background()))
	// A process without flows puts runs back, and works none.
	_, err := k.process(k.driver, nil).Tick(context.Background())
	k.require(err)
}

// Advance moves the clock by d. On the way it stops at each moment at which something is due: a
// tick, a retry, or a run for later. It works what is due, and returns the runs that have ended, in
// the order in which they did.
func (k *Kit) Advance(d time.Duration) []*dataflow.Run {
	k.t.Helper()
	until := k.Now().Add(d)
	var ended []*dataflow.Run
	for range mostSteps {
		ended = append(ended, k.workDue()...)
		next, ok := k.next()
		if !ok || next.After(until) {
			k.moveTo(until)
			return ended
		}
		k.moveTo(next)
	}
	k.fail("after %d steps the clock is at %s only: a flow is always due", mostSteps, k.Now())
	return nil
}

// workDue fires the due ticks, works the due runs, and returns those that have ended.
func (k *Kit) workDue() []*dataflow.Run {
	k.t.Helper()
	var ended []*dataflow.Run
	for {
		var worked []*dataflow.Run
		crashed := k.die(func(client *dataflow.Client) {
			var err error
			if worked, err = client.Tick(context.Background()); err != nil {
				k.t.Errorf("dataflowtest: %v", err)
			}
		})
		if crashed {
			k.takeOver()
		}
		due := k.runs(&dataflow.RunListParams{Due: true, Limit: 1000}) // those of a JobQueue
		for _, run := range slices.Backward(due) {
			run, err := k.attempt(run.ID)
			switch {
			case err == nil:
				worked = append(worked, run)
			case !errors.Is(err, dataflow.ErrAlreadyRunning): // otherwise another run of the flow goes first
				k.require(err)
			}
		}
		for _, run := range worked {
			if run.State.Finished() {
				ended = append(ended, run)
			}
		}
		if len(worked) == 0 && !crashed {
			return ended
		}
	}
}

// next returns the next moment at which something is due.
func (k *Kit) next() (time.Time, bool) {
	k.t.Helper()
	var next time.Time
	consider := func(at time.Time) {
		if at.After(k.Now()) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	flows, err := k.client.Flows(context.Background(), &dataflow.FlowListParams{Limit: 10_000})
	k.require(err)
	for _, f := range flows {
		if f.NextRunAt != nil {
			consider(*f.NextRunAt)
		}
		if f.ProbeAt != nil {
			consider(*f.ProbeAt)
		}
	}
	for _, run := range k.runs(&dataflow.RunListParams{States: []dataflow.RunState{dataflow.RunPending}, Limit: 10_000}) {
		consider(run.RunAfter)
	}
	return next, !next.IsZero()
}

func (k *Kit) runs(p *dataflow.RunListParams) []*dataflow.Run {
	k.t.Helper()
	runs, err := k.client.Runs(context.Background(), p)
	k.require(err)
	return runs
}

func (k *Kit) require(err error) {
	k.t.Helper()
	if err != nil {
		k.fail("%v", err)
	}
}

func (k *Kit) fail(format string, args ...any) {
	k.t.Helper()
	fail(k.t, format, args...)
}

func fail(t TB, format string, args ...any) {
	t.Helper()
	t.Errorf("dataflowtest: "+format, args...)
	t.FailNow()
}
