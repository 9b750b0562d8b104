package dataflow

// The flows that this process has: as its code declares them, and as the database stores them.
// It knows the words.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/activedataflow/dataflow/internal/stored"
)

// registry holds the flows that this process has: as its code declares them, and, once they
// are registered, as they are stored.
type registry struct {
	base
	client   *Client          // for the flows that it returns
	declared map[string]*Flow // by name; it does not change

	mu     sync.Mutex // guards what follows
	known  map[int64]*Flow
	byName map[string]*Flow // those of known, and others that runs were asked for
	seen   *view            // of known; nil: it has changed since
	failed map[string]error // by name: why a flow could not be registered
}

func newRegistry(b base, c *Client, declared []*Flow) *registry {
	r := &registry{base: b, client: c, declared: make(map[string]*Flow, len(declared)), known: make(map[int64]*Flow), byName: make(map[string]*Flow), failed: make(map[string]error)}
	for _, f := range declared {
		r.declared[f.Name] = f
	}
	return r
}

// bind returns a stored flow as a Flow of this client, with its code if this process has it.
func (r *registry) bind(rec *FlowRecord) *Flow {
	f := &Flow{FlowRecord: *rec, client: r.client}
	runtime, err := parseRuntime(rec.RuntimeJSON, r.config.Runtimes)
	if err != nil {
		runtime = unreadRuntime{err: fmt.Errorf("flow %q: %w", rec.Name, err)}
	}
	f.Runtime = runtime
	if declared := r.declared[rec.Name]; declared != nil {
		f.code, f.opts = declared.code, declared.opts
	}
	return f
}

// get returns a flow as this process knows it, or else as it is stored.
func (r *registry) get(ctx context.Context, id int64) (*Flow, error) {
	if f := r.knownByID(id); f != nil {
		return f, nil
	}
	rec, err := r.store.FlowByID(ctx, id)
	if err != nil {
		return nil, err
	}
	f := r.bind(rec)
	if f.Registered() {
		r.know(f)
	}
	return f, nil
}

// knownByID returns a flow if this process has its code, or nil.
func (r *registry) knownByID(id int64) *Flow {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[id]
}

// knownIDs returns the ids of the flows whose code this process has, in their order.
func (r *registry) knownIDs() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.known))
}

// know keeps a flow whose code this process has.
func (r *registry) know(f *Flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[f.ID], r.byName[f.Name], r.seen = f, f, nil
}

// askable returns a flow as this process last saw it, to ask for a run of it without reading it
// again. It returns nil if the flow must be read: it was not seen, its Runtime is disabled, or
// a type of the user, which may do anything with the flow.
func (r *registry) askable(name string) *Flow {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.byName[name]
	if f == nil || !isBuiltin(f.Runtime) || !f.Runtime.Settings().Enabled {
		return nil
	}
	return f
}

// lastSeen returns a flow as this process last saw it, nil if it has not.
func (r *registry) lastSeen(name string) *Flow {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byName[name]
}

// askedKept is how many flows without code here are kept for askable.
const askedKept = 10_000

// noteAsked keeps a flow for askable.
func (r *registry) noteAsked(f *Flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.byName) >= len(r.known)+askedKept {
		clear(r.byName) // the others are read again
	}
	r.byName[f.Name] = f
}

// knowMoved keeps a flow if its Runtime is not the one that this process knew, and reports
// whether it did.
func (r *registry) knowMoved(f *Flow) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.known[f.ID]
	if known == nil || stored.Same(known.RuntimeJSON, f.RuntimeJSON) {
		return false
	}
	r.known[f.ID], r.byName[f.Name], r.seen = f, f, nil
	return true
}

// all returns the declared flows, followed by the stored ones that this process knows.
func (r *registry) all() []*Flow {
	r.mu.Lock()
	defer r.mu.Unlock()
	flows := slices.Collect(maps.Values(r.declared))
	return slices.AppendSeq(flows, maps.Values(r.known))
}

// failures returns, by name, why flows could not be registered.
func (r *registry) failures() map[string]error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.failed)
}

// unstored adds to ErrNotFound why a flow that this process declares is not in the database.
func (r *registry) unstored(name string, err error) error {
	if r.declared[name] == nil || !errors.Is(err, ErrNotFound) {
		return err
	}
	if failed := r.failures()[name]; failed != nil {
		return fmt.Errorf("%w: it could not be registered: %v", err, private(failed)) //nolint:errorlint // it is told, not matched
	}
	return fmt.Errorf("%w: this client has its code, and stores it with Start or Register: call one of them first", err)
}

// noteFailure keeps why a flow could not be registered. Nil: it was registered.
func (r *registry) noteFailure(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.failed, name)
		return
	}
	r.failed[name] = err
}

// idsSent is how many ids of flows a query carries at most. A process that has more flows asks for
// what is due of any flow, and leaves out what is not its own.
const idsSent = 1000

// view is what queries need to know of the flows whose code this process has. It does not change.
type view struct {
	flows   int         // how many there are
	ids     []int64     // of all; nil: there are more than idsSent
	enabled []int64     // of those that are enabled; nil likewise
	slots   []FlowSlots // those of the enabled flows with more than one slot, or with slots for backfills
	cancels bool        // there is one with OverlapCancelOther
}

func (r *registry) view() *view {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen != nil {
		return r.seen
	}
	v := &view{flows: len(r.known), ids: []int64{}, enabled: []int64{}}
	for id, f := range r.known {
		s := f.Runtime.Settings()
		v.ids = append(v.ids, id)
		v.cancels = v.cancels || s.Schedule.Overlap == OverlapCancelOther
		if !s.Enabled {
			continue
		}
		v.enabled = append(v.enabled, id)
		if slots := f.slots(); slots.Slots > 1 || slots.Backfills > 0 {
			v.slots = append(v.slots, slots)
		}
	}
	if v.flows > idsSent {
		v.ids, v.enabled = nil, nil
	}
	r.seen = v
	return v
}

// works reports whether this process has the code of a flow, and the flow is enabled.
func (r *registry) works(id int64) bool {
	f := r.knownByID(id)
	return f != nil && f.Runtime.Settings().Enabled
}

// loops reports whether a flow whose code this process has is worked by the loop: without River
// jobs.
func (r *registry) loops() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.known {
		if _, queued := queuedOf(f.Runtime); !queued {
			return true
		}
	}
	return false
}

// lane is a line of runs that take places of their own: a flow's own runs, or its backfills if
// they have slots of their own.
type lane struct {
	flowID   int64
	ownSlots bool
}

// laneOf returns the lane of a run, and how many runs of the lane may be in progress at once.
func (r *registry) laneOf(run *Run) (lane, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.known[run.FlowID]
	if f == nil {
		return lane{flowID: run.FlowID}, 1
	}
	return lane{flowID: run.FlowID, ownSlots: f.ownSlots(run)}, f.places(run)
}

// groupOf returns the group of a run, and how many of its runs may be tried at once: more would only
// be refused. It is empty if there is none.
func (r *registry) groupOf(run *Run) (group string, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.known[run.FlowID]; f != nil {
		group = f.opts.Group
	}
	return group, cmp.Or(r.config.Groups[group], r.config.MaxWorkers)
}

// each calls fn with each flow in the database, in the order of their names.
func (r *registry) each(ctx context.Context, fn func(f *Flow) error) error {
	p := &FlowListParams{Limit: defaultPage}
	for {
		recs, err := r.store.FlowList(ctx, p)
		if err != nil {
			return err
		}
		for _, rec := range recs {
			if err := fn(r.bind(rec)); err != nil {
				return err
			}
		}
		if len(recs) < p.Limit {
			return nil
		}
		p.After = recs[len(recs)-1].Name
	}
}

// runsOf yields all runs of a flow that are in one of the states, newest first. The caller may
// change the yielded runs in the database meanwhile.
func (r *registry) runsOf(ctx context.Context, flow string, states ...RunState) iter.Seq2[*Run, error] {
	return func(yield func(*Run, error) bool) {
		p := &RunListParams{Flow: flow, States: states, Limit: pageOfRuns}
		for {
			runs, err := r.store.RunList(ctx, p)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, run := range runs {
				if !yield(run, nil) {
					return
				}
			}
			if len(runs) < p.Limit {
				return
			}
			p.Before = runs[len(runs)-1].ID
		}
	}
}

// pageOfRuns is how many runs are in memory at once.
const pageOfRuns = 1000

func inactiveError(rec *FlowRecord) error {
	why := "it is paused"
	if rec.StateBy != "" {
		why += ", by " + rec.StateBy
	}
	if rec.StateReason != "" {
		why += ": " + rec.StateReason
	}
	return fmt.Errorf("%w: %s", ErrDisabled, why)
}
