package dataflow

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/activedataflow/dataflow/internal/group"
	"github.com/activedataflow/dataflow/internal/lease"
)

// base is what every room gets: the database, the log, the configuration and the subscribers.
type base struct {
	store  Store
	log    *slog.Logger
	config *Config
	events *subscriptions
	wakes  *group.Group[int64, struct{}] // tells other processes of flows; nil: the database cannot
}

// wakesTogether is how many flows the other processes are told of with one statement.
const wakesTogether = 1000

// newWakes tells the other processes together of flows whose runs ended together.
func newWakes(store Store) *group.Group[int64, struct{}] {
	n, ok := store.(Notifier)
	if !ok {
		return nil
	}
	return group.New(group.Config{Most: wakesTogether, Timeout: handBackTimeout, Askers: func() int { return 0 }}, func(ctx context.Context, flowIDs []int64) ([]struct{}, error) {
		return make([]struct{}, len(flowIDs)), n.Wake(ctx, flowIDs)
	})
}

// forRuns returns what the transactions of runs get, which write what a source has yielded.
func (b base) forRuns() base {
	if s, ok := b.store.(PooledStore); ok {
		b.store = s.ForRuns()
	}
	return b
}

// wakeOthers tells the other processes that a run of a flow may now be worked. If that fails,
// they find it by their polls.
func (b base) wakeOthers(ctx context.Context, flowID int64) {
	if b.wakes == nil {
		return
	}
	if _, err := b.wakes.Do(context.WithoutCancel(ctx), flowID); err != nil {
		b.log.DebugContext(ctx, "dataflow: could not tell the other processes of a run; they find it by their polls", slog.Int64("flow_id", flowID), slog.String(logError, err.Error()))
	}
}

// now returns this process's time. Events, logs and progress use it. What is stored has the
// database's time.
func (b base) now() time.Time {
	if b.config.Clock != nil {
		return b.config.Clock()
	}
	return time.Now() //nolint:forbidigo // the one place that reads the real clock
}

// passesSoon reports whether a small statement of the library's own that failed may be tried again. Such a
// statement is too much for the server only while something is in its way, such as a lock.
func (b base) passesSoon(err error) bool {
	fault := b.store.Classify(err)
	return fault.Passes() || fault == FaultTooMuch
}

// dueAt returns when a River job for a run is due that waits, by the clock that is behind. River's scheduler goes by the
// clock of a process, and whoever takes the job up by the database's, as RunAfter does.
func (b base) dueAt(run *Run, wait time.Duration) time.Time {
	if at := b.now().Add(wait); at.Before(run.RunAfter) {
		return at
	}
	return run.RunAfter
}

// renewLeases extends leases in the database.
func (b base) renewLeases(ctx context.Context, refs []lease.Ref) ([]lease.Status, error) {
	leases := make([]LeaseRef, len(refs))
	for i, ref := range refs {
		leases[i] = LeaseRef(ref)
	}
	found, err := b.store.RunRenew(ctx, leases, b.config.Lease)
	statuses := make([]lease.Status, len(found))
	for i, s := range found {
		statuses[i] = lease.Status(s)
	}
	return statuses, err
}

// troubles logs what fails again and again: at once, then every ten seconds, and when it works
// again. It is for one goroutine.
type troubles map[string]*trouble

type trouble struct {
	since time.Time
	said  time.Time
	times int
	limit time.Duration // for the next look, if one got no answer in time
}

const troubleEach = 10 * time.Second

// looks returns what does the looks of a loop.
func looks(ctx context.Context, b base) (do func(what string, look func(ctx context.Context) error)) {
	t := make(troubles)
	return func(what string, look func(ctx context.Context) error) { t.try(ctx, b, what, look) }
}

// try does a look of a loop, and notes whether it worked. A server or a network may fall silent without an error, so a
// look ends after two leases. The server may also be slow: each look that ends so lets the next one take twice as long.
func (t troubles) try(ctx context.Context, b base, what string, look func(ctx context.Context) error) {
	limit := 2 * b.config.Lease
	if before := t[what]; before != nil {
		limit = max(limit, before.limit)
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := look(limited)
	silent := err != nil && limited.Err() != nil && ctx.Err() == nil
	if silent {
		err = fmt.Errorf("the database has not answered within %s: its server or the network may be silent: %w", limit, err)
		if r, ok := b.store.(Reconnector); ok {
			r.Reconnect()
		}
	}
	t.note(ctx, b, what, err)
	if now := t[what]; silent && now != nil { // ctx may have ended meanwhile
		now.limit = min(2*limit, longestLook)
	}
}

// note notes whether something worked. What fails because ctx has ended is no trouble.
func (t troubles) note(ctx context.Context, b base, what string, err error) {
	now, before := b.now(), t[what]
	switch {
	case ctx.Err() != nil:
	case err == nil && before != nil:
		delete(t, what)
		b.log.InfoContext(ctx, "dataflow: "+what+" works again", slog.Int("failures", before.times), slog.Duration("after", now.Sub(before.since)))
	case err == nil:
	case before == nil:
		t[what] = &trouble{since: now, said: now, times: 1}
		b.log.WarnContext(ctx, "dataflow: "+what+" failed; trying again", slog.String(logError, err.Error()))
	default:
		before.times++
		if now.Sub(before.said) >= troubleEach {
			before.said = now
			b.log.WarnContext(ctx, "dataflow: "+what+" still fails; trying again", slog.Int("failures", before.times), slog.Time("since", before.since), slog.String(logError, err.Error()))
		}
	}
}
