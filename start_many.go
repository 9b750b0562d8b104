package dataflow

// Asking for many runs at once: with one statement for the runs, and one for their River jobs.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/riverqueue/river"
)

// TriggerManyMax is how many runs one call of [Client.TriggerMany] starts at most.
const TriggerManyMax = 10_000

// TriggerManyParams is one of the runs that [Client.TriggerMany] starts.
type TriggerManyParams struct {
	// Flow is the name of the flow.
	Flow string
	// Options are those of [Client.Trigger]. Nil: none.
	Options *TriggerOptions
}

// Enqueued is what [Client.TriggerMany] or [Client.EnqueueAll] did for a flow.
type Enqueued struct {
	Flow string
	// Run is the run that was started, or, with Coalesced set, a run that was waiting already.
	// Nil: there is none, and Err says why, such as ErrDisabled.
	Run *Run
	Err error
}

// wanted is a run that is asked for together with others.
type wanted struct {
	to   *Enqueued // where its outcome goes
	flow *Flow     // carries the request
	at   time.Time
	p    *RunInsertParams
	job  *river.InsertOpts // nil: it needs none
}

// many asks for many runs in one transaction.
type many struct {
	client  *Client
	tx      Tx
	q       Queries
	started []*wanted // those that were added
}

// startMany starts runs in a transaction. A run that cannot be started does not stop the
// others; its outcome says why. flows holds those flows that were just read, by their names. It
// returns an error if none is started.
func startMany(ctx context.Context, c *Client, tx Tx, params []TriggerManyParams, flows map[string]*Flow) ([]Enqueued, error) {
	q, err := c.store.With(tx)
	if err != nil {
		return nil, err
	}
	m := &many{client: c, tx: tx, q: q}
	outcomes := make([]Enqueued, len(params))
	var seen, fresh []*wanted
	var unknown []int
	for i, p := range params {
		outcomes[i].Flow = p.Flow
		if f := flows[p.Flow]; f != nil {
			fresh = append(fresh, p.of(f, &outcomes[i], false))
		} else if f := c.flows.askable(p.Flow); f != nil {
			seen = append(seen, p.of(f, &outcomes[i], true))
		} else {
			unknown = append(unknown, i)
		}
	}
	read, err := m.read(ctx, params, outcomes, unknown, nil)
	if err != nil {
		return nil, err
	}
	changed, err := m.start(ctx, slices.Concat(seen, fresh, read)) // at once: see RunInsertMany
	if err != nil {
		return nil, err
	}
	if read, err = m.read(ctx, params, outcomes, nil, changed); err != nil {
		return nil, err
	}
	if _, err := m.start(ctx, read); err != nil {
		return nil, err
	}
	if err := m.note(ctx); err != nil {
		return nil, err
	}
	return outcomes, m.insertJobs(ctx)
}

// note stores in the audit log that somebody asked for runs.
func (m *many) note(ctx context.Context) error {
	var entries []*AuditEntry
	for _, w := range m.started {
		e, err := w.p.audit(w.to.Run)
		if err != nil {
			return err
		}
		if e != nil {
			entries = append(entries, e)
		}
	}
	if len(entries) == 0 {
		return nil
	}
	if err := m.q.AuditInsert(ctx, entries...); err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	return nil
}

// of returns the run that is wanted of a flow.
func (p TriggerManyParams) of(f *Flow, to *Enqueued, seen bool) *wanted {
	w := &wanted{to: to}
	r := p.Options.request()
	if seen {
		r = p.Options.ofSeen()
	}
	if p.Options != nil {
		w.at = p.Options.At
	}
	w.flow = f.asking(r)
	return w
}

// read reads the flows that this process has not seen, and those that have changed since.
func (m *many) read(ctx context.Context, params []TriggerManyParams, outcomes []Enqueued, unknown []int, changed []*wanted) ([]*wanted, error) {
	names := make([]string, 0, len(unknown)+len(changed))
	for _, i := range unknown {
		names = append(names, params[i].Flow)
	}
	for _, w := range changed {
		names = append(names, w.flow.Name)
	}
	if len(names) == 0 {
		return nil, nil
	}
	recs, err := m.q.FlowsByName(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("read flows: %w", err)
	}
	flows := make(map[string]*Flow, len(recs))
	for _, rec := range recs {
		f := m.client.flows.bind(rec)
		flows[f.Name] = f
		m.client.flows.noteAsked(f)
	}
	var read []*wanted
	for _, i := range unknown {
		if f := flows[params[i].Flow]; f != nil {
			read = append(read, params[i].of(f, &outcomes[i], false))
		} else {
			outcomes[i].refuse(ErrNotFound)
		}
	}
	for _, w := range changed {
		f := flows[w.flow.Name]
		if f == nil {
			w.to.refuse(ErrNotFound)
			continue
		}
		r := w.flow.asked()
		r.seen = false
		read = append(read, &wanted{to: w.to, flow: f.asking(r), at: w.at})
	}
	return read, nil
}

// refuse notes why there is no run.
func (e *Enqueued) refuse(err error) {
	e.Err = public(fmt.Errorf("start run of flow %q: %w", e.Flow, private(err)))
}

// start adds the runs. It returns those whose flows are not as this process last saw them.
func (m *many) start(ctx context.Context, runs []*wanted) (changed []*wanted, err error) {
	var set []*wanted
	for _, w := range runs {
		switch own, err := w.prepare(ctx); {
		case err != nil:
			w.to.refuse(err)
		case own:
			if err := m.alone(ctx, w, func() error { return m.byOwnRuntime(ctx, w) }); err != nil {
				return nil, err
			}
		default:
			set = append(set, w)
		}
	}
	if len(set) == 0 {
		return nil, nil
	}
	ps := make([]*RunInsertParams, len(set))
	for i, w := range set {
		ps[i] = w.p
	}
	var added []*Run
	err = m.client.store.Savepoint(ctx, m.tx, func() (err error) {
		added, err = m.q.RunInsertMany(ctx, ps)
		return err
	})
	if err != nil && m.passes(ctx, err) {
		return nil, fmt.Errorf("add runs: %w", err)
	}
	for i, w := range set {
		if err != nil { // one of them cannot be stored: each for itself
			if err := m.alone(ctx, w, func() (err error) { w.to.Run, err = m.q.RunInsert(ctx, w.p); return err }); err != nil {
				return nil, err
			}
		} else if w.to.Run = added[i]; added[i] == nil {
			w.to.Err = ErrNotFound
		}
		switch {
		case w.to.Run != nil:
			m.started = append(m.started, w)
		case errors.Is(w.to.Err, ErrNotFound) && w.flow.request.seen:
			w.to.Err = nil
			changed = append(changed, w)
		case errors.Is(w.to.Err, ErrNotFound):
			w.to.refuse(w.flow.whyNoRun(ctx, m.q, ErrNotFound))
		}
	}
	return changed, nil
}

// prepare sets what is stored of a run, or reports that a Runtime of the user's own starts it.
func (w *wanted) prepare(ctx context.Context) (own bool, err error) {
	f := w.flow
	if !isBuiltin(f.Runtime) {
		return true, nil
	}
	if !f.IsActive() && !f.request.seen {
		return false, inactiveError(&f.FlowRecord)
	}
	if q, ok := queuedOf(f.Runtime); ok {
		opts := q.insertOpts()
		w.job = &opts
	}
	w.p, err = f.insertParams(ctx, f.Runtime.Settings(), w.at, w.job)
	return false, err
}

// byOwnRuntime starts a run by the user's own type of Runtime.
func (m *many) byOwnRuntime(ctx context.Context, w *wanted) (err error) {
	w.to.Run, err = w.flow.startTx(ctx, m.tx, w.flow.request, w.at)
	return err
}

// alone undoes what fn did if it fails, so that the other runs are not harmed. It returns an
// error if the transaction is lost.
func (m *many) alone(ctx context.Context, w *wanted, fn func() error) error {
	err := m.client.store.Savepoint(ctx, m.tx, fn)
	if err == nil {
		return nil
	}
	if m.passes(ctx, err) {
		return fmt.Errorf("start run of flow %q: %w", w.flow.Name, private(err))
	}
	w.to.Run = nil
	w.to.refuse(err)
	return nil
}

// passes reports whether an error is not of one run, but of the connection or of another
// transaction.
func (m *many) passes(ctx context.Context, err error) bool {
	return ctx.Err() != nil || m.client.store.Classify(err).Passes()
}

// insertJobs adds the River jobs of the runs that were added.
func (m *many) insertJobs(ctx context.Context) error {
	var runs []*Run
	var opts []river.InsertOpts
	byID := make(map[int64]*Run)
	for _, w := range m.started {
		if w.job != nil && !w.to.Run.Coalesced {
			runs, opts = append(runs, w.to.Run), append(opts, jobOpts(w.p, w.to.Run, w.job))
			byID[w.to.Run.ID] = w.to.Run
		}
	}
	if len(runs) == 0 {
		return nil
	}
	if err := m.client.jobs.insertMany(ctx, m.tx, runs, opts); err != nil {
		return err
	}
	for _, w := range m.started { // those that coalesce with a run of the same call
		if run := byID[w.to.Run.ID]; run != nil {
			w.to.Run.RiverJobID = run.RiverJobID
		}
	}
	m.client.log.InfoContext(ctx, "dataflow: jobs enqueued", slog.Int("jobs", len(runs)))
	return nil
}
