package dataflowtest

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"github.com/activedataflow/dataflow"
)

// Point is a moment at which a process may die.
type Point int

const (
	// AfterWrite is after the sink has written a batch, and before its checkpoint is stored. With
	// a target of ToTx, the batch is rolled back. With one of To, it is written and will be
	// written again, under the same ID and keys.
	AfterWrite Point = iota + 1
	// AfterCommit is after the checkpoint of a batch was committed, and before the process hears
	// of it.
	AfterCommit
)

func (p Point) String() string {
	switch p {
	case AfterWrite:
		return "AfterWrite"
	case AfterCommit:
		return "AfterCommit"
	default:
		return "an unknown point"
	}
}

// CrashAt lets the process die once, at a point of the batch-th batch that it writes from now on,
// the first being 1. The code of the flow does not go on after that: its goroutine ends, and only
// deferred calls run. Another process takes the run over when the lease has lapsed. If no process
// has died by the end of the test, the test fails.
func (k *Kit) CrashAt(point Point, batch int) {
	k.t.Helper()
	if point != AfterWrite && point != AfterCommit || batch < 1 {
		k.fail("CrashAt(%s, %d): use AfterWrite or AfterCommit, and the number of a batch from 1 on", point, batch)
	}
	if k.crash != nil {
		k.fail("CrashAt(%s, %d): CrashAt(%s, %d) has not come about yet", point, batch, k.crash.point, k.crash.batch)
	}
	c := &crash{point: point, batch: batch}
	k.crash = c
	k.client = k.process(&dyingDriver{driver: k.driver, crash: c}, k.config.Flows)
	k.require(k.client.Register(context.Background()))
	k.t.Cleanup(func() {
		if !c.over() {
			k.t.Errorf("dataflowtest: CrashAt(%s, %d) did not come about: no process has written so many batches since", point, batch)
		}
	})
}

// die runs fn with the present client, in a goroutine that may die. It reports whether the process
// has died.
func (k *Kit) die(fn func(client *dataflow.Client)) bool {
	client := k.client
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn(client)
	}()
	<-done
	if k.crash == nil || !k.crash.over() {
		return false
	}
	k.crash = nil
	return true
}

// crash is a death that is due.
type crash struct {
	point Point
	batch int

	mu      sync.Mutex // guards what follows
	written int        // checkpoints that were asked for
	dead    bool
}

var errDead = errors.New("the process has died")

func (c *crash) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// wrote counts a batch that was written, and reports whether the process dies of that.
func (c *crash) wrote() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written++
	c.dead = c.dead || c.point == AfterWrite && c.written == c.batch
	return c.dead
}

// committed notes that the last batch was committed.
func (c *crash) committed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = c.dead || c.point == AfterCommit && c.written == c.batch
}

// dyingDriver is a driver whose process dies. Its store has none of the optional powers, so that
// batches are written one after the other.
type dyingDriver struct {
	driver dataflow.Driver
	crash  *crash
}

func (d *dyingDriver) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	store, err := d.driver.Store(opts)
	if err != nil {
		return nil, err
	}
	return &dyingStore{Store: store, crash: d.crash}, nil
}

type dyingStore struct {
	dataflow.Store
	crash *crash
}

func (s *dyingStore) InTx(ctx context.Context, fn func(ctx context.Context, tx dataflow.Tx) error) error {
	if s.crash.over() {
		runtime.Goexit()
	}
	err := s.Store.InTx(ctx, fn)
	if err == nil {
		s.crash.committed()
	}
	if s.crash.over() {
		runtime.Goexit()
	}
	return err
}

func (s *dyingStore) With(tx dataflow.Tx) (dataflow.Queries, error) {
	q, err := s.Store.With(tx)
	if err != nil {
		return nil, err
	}
	return &dyingQueries{Queries: q, crash: s.crash}, nil
}

type dyingQueries struct {
	dataflow.Queries
	crash *crash
}

func (q *dyingQueries) RunCheckpoint(ctx context.Context, p *dataflow.RunCheckpointParams) (dataflow.LeaseStatus, error) {
	if q.crash.wrote() {
		return dataflow.LeaseStatus{}, errDead
	}
	return q.Queries.RunCheckpoint(ctx, p)
}
