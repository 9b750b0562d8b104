// Package lease keeps the leases of the runs that a process works: one loop renews them all
// with one statement, and tells the holder whose lease is lost, or whose run is to be
// cancelled. It knows nothing of flows and of databases.
package lease

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Ref names a lease: a run, and the number of its claim. A process that loses a run and
// claims it again holds another lease.
type Ref struct{ RunID, LeaseNumber int64 }

// Status is what the database says of a lease that was to be renewed.
type Status struct {
	RunID           int64
	Held            bool // false: another process has the run, or it has ended
	CancelRequested bool // somebody wants the run to end
}

// Holder is what works under a lease.
type Holder interface {
	// Interrupt ends the work with a cause. It returns at once.
	Interrupt(cause error)
	// Leaving reports whether the holder is giving its lease away in a transaction whose
	// outcome it has yet to hear of. A lost lease is no surprise to it then.
	Leaving() bool
}

// Config is what a [Keeper] is made of. All fields must be set.
type Config struct {
	// Renew prolongs leases in the database. Leases that it says nothing of stay as they are.
	Renew func(ctx context.Context, leases []Ref) ([]Status, error)
	// Every is the time between two renewals, Timeout the most that one of them takes.
	Every   time.Duration
	Timeout time.Duration
	// Lost and Cancelled are the causes with which holders are interrupted.
	Lost      error
	Cancelled error
	// Note is told of each renewal, with its error, by one goroutine at a time.
	Note func(ctx context.Context, err error)
}

// Keeper renews leases. It is safe for concurrent use. Its loop runs while there is
// anything to renew, so that nothing has to be closed.
type Keeper[H Holder] struct {
	config Config

	mu      sync.Mutex // guards what follows
	holders map[int64]held[H]
	looping bool
	suspect int64 // the run that is isolated, 0: none
}

type held[H Holder] struct {
	ref    Ref
	holder H
}

// NewKeeper returns a keeper without leases.
func NewKeeper[H Holder](config Config) *Keeper[H] {
	return &Keeper[H]{config: config, holders: make(map[int64]held[H])}
}

// Hold renews a lease from now on, until release is called. ctx gives values alone: the
// loop goes on when it is done.
func (k *Keeper[H]) Hold(ctx context.Context, ref Ref, holder H) (release func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.holders[ref.RunID] = held[H]{ref: ref, holder: holder}
	if !k.looping {
		k.looping = true
		go k.loop(context.WithoutCancel(ctx))
	}
	return func() { k.Drop(ref) }
}

// Drop renews a lease no more. One that is not held may be dropped.
func (k *Keeper[H]) Drop(ref Ref) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.holders[ref.RunID].ref == ref {
		delete(k.holders, ref.RunID)
	}
}

// Holds reports whether a lease is held here.
func (k *Keeper[H]) Holds(ref Ref) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	h, ok := k.holders[ref.RunID]
	return ok && h.ref == ref
}

// Holders returns the holders of all leases, in no order.
func (k *Keeper[H]) Holders() []H {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]H, 0, len(k.holders))
	for _, h := range k.holders {
		all = append(all, h.holder)
	}
	return all
}

// Interrupt ends the work under a lease. It does nothing if the lease is not held here, as
// when the run was lost and claimed again. A holder that is leaving is not told that its
// lease is lost: it must hear of the commit that gives the lease away.
func (k *Keeper[H]) Interrupt(ref Ref, cause error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h, ok := k.holders[ref.RunID]
	if !ok || h.ref != ref || errors.Is(cause, k.config.Lost) && h.holder.Leaving() {
		return
	}
	h.holder.Interrupt(cause)
}

// Isolate lets one run at a time be worked alone among its kind, and reports whether this
// one may be. If so, [Keeper.Release] must follow.
func (k *Keeper[H]) Isolate(runID int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.suspect != 0 {
		return false
	}
	k.suspect = runID
	return true
}

// Isolated returns the run that is isolated now, 0 if there is none.
func (k *Keeper[H]) Isolated() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.suspect
}

// Release makes room for another isolated run. A run that is not isolated may be released.
func (k *Keeper[H]) Release(runID int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.suspect == runID {
		k.suspect = 0
	}
}

// loop renews the leases until there are none.
func (k *Keeper[H]) loop(ctx context.Context) {
	tick := time.NewTicker(k.config.Every)
	defer tick.Stop()
	for range tick.C {
		refs := k.refs()
		if refs == nil {
			return
		}
		k.config.Note(ctx, k.renew(ctx, refs))
	}
}

// refs returns the leases, nil if there are none: the loop ends then.
func (k *Keeper[H]) refs() []Ref {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.holders) == 0 {
		k.looping = false
		return nil
	}
	refs := make([]Ref, 0, len(k.holders))
	for _, h := range k.holders {
		refs = append(refs, h.ref)
	}
	return refs
}

func (k *Keeper[H]) renew(ctx context.Context, refs []Ref) error {
	ctx, cancel := context.WithTimeout(ctx, k.config.Timeout)
	defer cancel()
	statuses, err := k.config.Renew(ctx, refs)
	if err != nil {
		return err
	}
	asked := make(map[int64]Ref, len(refs))
	for _, ref := range refs {
		asked[ref.RunID] = ref
	}
	for _, s := range statuses {
		switch {
		case !s.Held:
			k.Interrupt(asked[s.RunID], k.config.Lost)
		case s.CancelRequested:
			k.Interrupt(asked[s.RunID], k.config.Cancelled)
		}
	}
	return nil
}
