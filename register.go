package dataflow

// The registrar stores the flows that this process declares, and their schedules. It knows the
// flows, the jobs, the scheduler and the gate.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/activedataflow/dataflow/internal/stored"
)

// registrar stores the definitions of the flows that this process declares.
type registrar struct {
	base
	flows *registry
	jobs  *jobs
	gate  *gate

	groupsSet    bool
	saidOfGroups map[string]string // what was logged, by the group

	changes int64 // the flows were read up to this place; 0: they were not
}

// registering is a flow that is being registered.
type registering struct {
	flow     *Flow
	declared *FlowDefinition
	def      FlowDefinition // what is stored: declared, or with the Runtime that an operator chose
	kept     bool           // with that Runtime
	isNew    bool
	before   *FlowRecord
	rec      *FlowRecord
}

const (
	// readTogether is how many flows are read at once to see what has changed.
	readTogether = 1000
	// registerTogether is how many flows are stored in one transaction at most.
	registerTogether = 200
)

// registerAll registers all declared flows, and returns the errors joined.
func (r *registrar) registerAll(ctx context.Context) error {
	return r.registerFlows(ctx, r.config.Flows)
}

// registerFlows registers flows, keeps the error of each, and returns the errors joined. It stores
// those that are new or have changed, many in a transaction.
func (r *registrar) registerFlows(ctx context.Context, flows []*Flow) error {
	var errs []error
	fail := func(f *Flow, err error) { errs = append(errs, r.note(f, err)) }
	groups, groupErr := r.setGroups(ctx, flows)
	var same stored.Comparer
	var changed, kept []*registering
	for part := range slices.Chunk(flows, readTogether) {
		names := make([]string, len(part))
		for i, f := range part {
			names[i] = f.Name
		}
		found, now, err := r.find(ctx, names)
		for _, f := range part {
			one := &registering{flow: f, before: found[f.Name]}
			err := cmp.Or(err, f.missing(groups, groupErr))
			if err == nil {
				err = guard(func() error { return one.declare(r.config.CodeVersion) })
			}
			switch {
			case err != nil:
				fail(f, err)
			case r.unchanged(one, &same, now):
				one.rec = one.before
				r.registered(ctx, one, now)
				kept = append(kept, one)
			default:
				changed = append(changed, one)
			}
		}
	}
	for set := range slices.Chunk(changed, registerTogether) {
		if guard(func() error { return r.registerSet(ctx, set) }) == nil {
			continue
		}
		for _, one := range set { // each by itself, so that one does not harm the others
			if err := guard(func() error { return r.registerSet(ctx, []*registering{one}) }); err != nil {
				fail(one.flow, err)
			}
		}
	}
	if err := r.keepEnds(ctx, r.store, kept); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// setGroups stores the limits of the groups that this process declares, and returns which groups
// there are. It reads none if no flow needs one.
func (r *registrar) setGroups(ctx context.Context, flows []*Flow) (map[string]bool, error) {
	if len(r.config.Groups) == 0 && !slices.ContainsFunc(flows, func(f *Flow) bool { return f.opts.Group != "" }) {
		return nil, nil
	}
	if err := r.compareGroups(ctx); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(r.config.Groups)) {
		if r.groupsSet {
			break // another process may have been registered since
		}
		if err := r.store.GroupSet(ctx, name, r.config.Groups[name], r.config.ID); err != nil {
			return nil, fmt.Errorf("store the limit of group %q: %w", name, err)
		}
	}
	r.groupsSet = true
	all, err := r.store.GroupList(ctx)
	there := make(map[string]bool, len(all))
	for _, g := range all {
		there[g.Name] = true
	}
	return there, err
}

// compareGroups logs where the stored limit of a group is not the one that this process declares.
func (r *registrar) compareGroups(ctx context.Context) error {
	if len(r.config.Groups) == 0 {
		return nil
	}
	all, err := r.store.GroupList(ctx)
	if err != nil {
		return fmt.Errorf("read the limits of groups: %w", err)
	}
	for _, g := range all {
		own, declared := r.config.Groups[g.Name]
		if said := fmt.Sprint(g.Name, g.Limit, g.SetAt); declared && own != g.Limit && r.saidOfGroups[g.Name] != said {
			if r.saidOfGroups == nil {
				r.saidOfGroups = make(map[string]string)
			}
			r.saidOfGroups[g.Name] = said
			r.log.WarnContext(ctx, "dataflow: processes declare different limits for a group; the last one to be registered holds", slog.String("group", g.Name),
				slog.Int("own", own), slog.Int("stored", g.Limit), slog.String("set_by", g.SetBy), slog.Time("set_at", g.SetAt))
		}
	}
	return nil
}

// missing returns why a flow has no group, or nil if it needs none or has it.
func (f *Flow) missing(groups map[string]bool, err error) error {
	switch {
	case f.opts.Group == "" || err == nil && groups[f.opts.Group]:
		return nil
	case err != nil:
		return err
	default:
		return &ConfigError{Field: fmt.Sprintf("Flows[%q].Group", f.Name), Reason: fmt.Sprintf(
			"no process has declared the group %q: add it, with its limit, to Config.Groups", f.opts.Group)}
	}
}

// keepEnds makes the database keep the ends of the flows' runs, if this client tells of them.
func (r *registrar) keepEnds(ctx context.Context, q Queries, set []*registering) error {
	if r.config.OnRunEnded == nil || len(set) == 0 {
		return nil
	}
	ids := make([]int64, len(set))
	for i, one := range set {
		ids[i] = one.rec.ID
	}
	if err := q.CallbackKeep(ctx, ids, callbackKept); err != nil {
		return fmt.Errorf("keep the ends of runs for Config.OnRunEnded: %w", err)
	}
	return nil
}

// find returns the stored flows by their names, and the time.
func (r *registrar) find(ctx context.Context, names []string) (map[string]*FlowRecord, time.Time, error) {
	now, err := r.store.Now(ctx)
	if err != nil {
		return nil, now, err
	}
	recs, err := r.store.FlowsByName(ctx, names)
	byName := make(map[string]*FlowRecord, len(recs))
	for _, rec := range recs {
		byName[rec.Name] = rec
	}
	return byName, now, err
}

// note keeps why a flow could not be registered.
func (r *registrar) note(f *Flow, err error) error {
	err = fmt.Errorf("register flow %q: %w", f.Name, err)
	r.flows.noteFailure(f.Name, public(err))
	return err
}

// unchanged reports whether registering the flow would change nothing. The hash stands for its
// source, its sink and its declared Runtime.
func (r *registrar) unchanged(one *registering, same *stored.Comparer, now time.Time) bool {
	rec := one.before
	if rec == nil || rec.TrippedAt != nil {
		return false
	}
	one.define(r)
	def := &one.def
	if rec.DefinitionHash != def.Hash || rec.CodeVersion != def.CodeVersion ||
		!same.Same(rec.RuntimeJSON, def.Runtime) || !same.Same(rec.MigratedFrom, def.MigratedFrom) || !same.Same(rec.ScheduleJSON, def.Schedule) {
		return false
	}
	if rec.NextRunAt == nil {
		return true
	}
	p, err := planOf(rec)
	return err == nil && p.Moved(rec.nextTick(), now) == nil
}

// declare sets what the flow's code declares.
func (one *registering) declare(codeVersion string) (err error) {
	one.declared, err = one.flow.definition(codeVersion)
	return err
}

// define sets what is stored of the flow.
func (one *registering) define(r *registrar) {
	one.def = *one.declared
	one.kept = r.keepMigrated(&one.def, one.before)
}

// registerAtStart registers the flows of a client that starts. If a flow cannot be stored, the
// client tries it again later. If the database cannot be reached, that is an error.
func (r *registrar) registerAtStart(ctx context.Context) error {
	_, changes, err := r.store.FlowsChanged(ctx, 0) // before they are read
	if err == nil {
		r.changes = changes
	}
	if err = public(r.registerAll(ctx)); err == nil {
		return nil
	}
	if _, away := r.store.Now(ctx); away != nil {
		return err
	}
	for name, err := range r.flows.failures() {
		r.log.ErrorContext(ctx, "dataflow: could not register a flow; continuing without it, and trying again", slog.String(logFlow, name), slog.String(logError, err.Error()))
	}
	return nil
}

// registerAgain tries the flows that could not be registered.
func (r *registrar) registerAgain(ctx context.Context) error {
	failed := r.flows.failures()
	if len(failed) == 0 {
		return nil
	}
	flows := make([]*Flow, 0, len(failed))
	for name := range failed {
		flows = append(flows, r.flows.declared[name])
	}
	err := r.registerFlows(ctx, flows)
	still := r.flows.failures()
	for name := range failed {
		if still[name] == nil {
			r.log.InfoContext(ctx, "dataflow: flow is registered now", slog.String(logFlow, name))
		}
	}
	return err
}

// registerSet stores the definitions of flows and their schedules, in one transaction.
func (r *registrar) registerSet(ctx context.Context, set []*registering) error {
	var now time.Time
	err := r.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := r.store.With(tx)
		if err != nil {
			return err
		}
		if err := lockByName(ctx, q, set); err != nil {
			return err
		}
		defs := make([]*FlowDefinition, len(set))
		for i, one := range set {
			one.isNew = one.before == nil
			one.define(r)
			defs[i] = &one.def
		}
		if now, err = store(ctx, q, set, defs); err != nil {
			return err
		}
		if err := r.replanSet(ctx, q, set, now); err != nil {
			return err
		}
		if err := setAfter(ctx, q, set); err != nil {
			return err
		}
		if err := r.keepEnds(ctx, q, set); err != nil {
			return err
		}
		for _, one := range set {
			if err := r.startAtRegistration(ctx, tx, one); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, one := range set {
		r.registered(ctx, one, now)
		if one.isNew || one.rec.State != FlowActive {
			continue
		}
		before, bound := r.flows.bind(one.before), r.flows.knownByID(one.rec.ID)
		if !before.Runtime.Settings().Enabled && bound.Runtime.Settings().Enabled {
			if err := r.jobs.wake(ctx, bound); err != nil {
				return err
			}
		}
	}
	return nil
}

// registered makes this process know a flow that is stored as it declares it.
func (r *registrar) registered(ctx context.Context, one *registering, now time.Time) {
	r.logMigrated(ctx, one.before, one.rec, one.kept)
	bound := r.flows.bind(one.rec)
	r.flows.know(bound)
	r.flows.noteFailure(one.flow.Name, nil)
	r.warnOfGap(ctx, bound, now)
}

// store stores the definitions of flows, and locks those that are new.
func store(ctx context.Context, q Queries, set []*registering, defs []*FlowDefinition) (time.Time, error) {
	recs, err := q.FlowUpsert(ctx, defs...)
	if err != nil {
		return time.Time{}, err
	}
	ids, byID := make([]int64, len(recs)), make(map[int64]*FlowRecord, len(recs))
	for i, rec := range recs {
		ids[i] = rec.ID
	}
	locked, now, err := q.FlowsLock(ctx, ids)
	if err != nil {
		return now, err
	}
	for _, rec := range locked {
		byID[rec.ID] = rec
	}
	for i, one := range set {
		if one.rec = byID[ids[i]]; one.rec == nil {
			return now, ErrNotFound
		}
		if one.before == nil {
			before := *one.rec // another process may have stored it first
			one.before = &before
		}
	}
	return now, nil
}

// startAtRegistration starts the run of a flow that is stored for the first time, if its
// schedule has RunAtRegistration. Two processes may both find the flow new. The flow is
// locked, so the second process finds the run of the first.
func (r *registrar) startAtRegistration(ctx context.Context, tx Tx, one *registering) error {
	f := r.flows.bind(one.rec)
	if s := f.Runtime.Settings(); !one.isNew || !s.Schedule.RunAtRegistration || !s.Enabled || one.rec.State != FlowActive {
		return nil
	}
	if _, err := f.startTx(ctx, tx, &request{trigger: TriggerRegistration}, time.Time{}); err != nil {
		return fmt.Errorf("start the run at registration: %w", err)
	}
	return nil
}

// lockByName locks those of the flows that are stored, and reads them again.
func lockByName(ctx context.Context, q Queries, set []*registering) error {
	names := make([]string, len(set))
	for i, one := range set {
		names[i] = one.flow.Name
	}
	recs, err := q.FlowsByName(ctx, names)
	if err != nil {
		return err
	}
	ids := make([]int64, len(recs))
	for i, rec := range recs {
		ids[i] = rec.ID
	}
	if recs, _, err = q.FlowsLock(ctx, ids); err != nil {
		return err
	}
	byName := make(map[string]*FlowRecord, len(recs))
	for _, rec := range recs {
		byName[rec.Name] = rec
	}
	for _, one := range set {
		one.before = byName[one.flow.Name]
	}
	return nil
}
