package dataflow

// River's client, seen through the interface [River]: how the service and this client share
// one. It knows the words only. Room jobs uses it.

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// WrapRiver makes a River client of any database into the one that a [Store] returns.
func WrapRiver[TTx any](rc *river.Client[TTx]) River { return riverClient[TTx]{rc} }

type riverClient[TTx any] struct{ *river.Client[TTx] }

func (r riverClient[TTx]) InsertTx(ctx context.Context, tx Tx, args river.JobArgs, opts *river.InsertOpts) (int64, error) {
	own, ok := tx.Unwrap().(TTx)
	if !ok {
		return 0, ErrTxMismatch
	}
	res, err := r.Client.InsertTx(ctx, own, args, opts)
	if err != nil {
		return 0, err
	}
	return res.Job.ID, nil
}

func (r riverClient[TTx]) JobCancelTx(ctx context.Context, tx Tx, jobID int64) error {
	own, ok := tx.Unwrap().(TTx)
	if !ok {
		return ErrTxMismatch
	}
	_, err := r.Client.JobCancelTx(ctx, own, jobID)
	if errors.Is(err, river.ErrNotFound) {
		return nil
	}
	return err
}

func (r riverClient[TTx]) JobCancelled(ctx context.Context, tx Tx, jobID int64) (bool, error) {
	own, ok := tx.Unwrap().(TTx)
	if !ok {
		return false, ErrTxMismatch
	}
	job, err := r.JobGetTx(ctx, own, jobID)
	if errors.Is(err, river.ErrNotFound) {
		return false, nil
	}
	return err == nil && job.State == rivertype.JobStateCancelled, err
}

func (r riverClient[TTx]) QueuePaused(ctx context.Context, queue string) (bool, error) {
	q, err := r.QueueGet(ctx, queue)
	if errors.Is(err, river.ErrNotFound) {
		return false, nil
	}
	return err == nil && q.PausedAt != nil, err
}

func (r riverClient[TTx]) QueueAdd(name string, config river.QueueConfig) error {
	return r.Queues().Add(name, config)
}

func (r riverClient[TTx]) Unwrap() any { return r.Client }

// RiverClient returns the River client that a client uses, for the service's own jobs.
// The driver packages have a RiverClient with TTx filled in. Another TTx than the
// database's returns ErrTxMismatch. It is safe for concurrent use.
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

// UseRiver makes a client insert its jobs through a River client that the service
// already has, on the same database. The service starts and stops that River client.
// Call UseRiver before anything else. A River client of another kind of database
// returns ErrTxMismatch.
func UseRiver[TTx any](c *Client, rc *river.Client[TTx]) error {
	if rc == nil {
		return public(&ConfigError{Field: "River client", Reason: "it is nil: make one with river.NewClient"})
	}
	if want := c.store.TxType(); reflect.TypeFor[TTx]() != want {
		return public(fmt.Errorf("use River client of %s: %w: this client's are %s", reflect.TypeFor[TTx](), ErrTxMismatch, want))
	}
	return public(c.jobs.join(WrapRiver(rc)))
}

// AddWorker adds the worker of our jobs to the workers of a River client that the
// service makes. That River client must work the queues of the flows. Hand it to
// [UseRiver] before this client starts.
func (c *Client) AddWorker(workers *river.Workers) error {
	if workers == nil {
		return public(&ConfigError{Field: "workers", Reason: "it is nil: use river.NewWorkers()"})
	}
	return public(river.AddWorkerSafely(workers, NewDataFlowJob(c)))
}
