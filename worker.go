package dataflow

// The worker works the due runs that need no River job. Its loop also runs a started client's
// other duties: it knows the scheduler, the rescuer, the registrar, the presence and the gate.

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/activedataflow/dataflow/internal/wake"
)

// worker works the due runs that need no River job: in a loop for a started client, once for
// [Client.Tick]. The loop also calls what must be done from time to time.
type worker struct {
	base
	flows     *registry
	gate      *gate
	schedule  *scheduler
	rescuer   *rescuer
	registrar *registrar
	presence  *presence
	pools     *connections
	callbacks *callbacks
	execute   func(ctx context.Context, flow *Flow, runID int64) (*Run, error) // FlowExecutor.executeKnown

	freed chan struct{} // holds a signal when the loop has a free place again
	ended chan struct{} // holds a signal when a run of the loop has ended
	woken chan struct{} // holds a signal when a run may have been added
	added chan *Run     // holds a run that this process has added, and that is due

	polling   atomic.Bool // the loop runs
	listening *wake.Loop  // nil: the database tells nothing, or Config.PollOnly

	mu       sync.Mutex // guards inFlight
	inFlight map[int64]bool
}

// look does what a tick does before it works runs.
func (w *worker) look(ctx context.Context) (*TickReport, error) {
	r := &TickReport{done: make(chan struct{})}
	var err error
	if r.Rescued, err = w.rescuer.rescue(ctx); err != nil {
		return nil, err
	}
	if err := w.rescuer.unstrand(ctx); err != nil {
		return nil, err
	}
	one, err := w.schedule.fireDue(ctx, math.MaxInt, nil)
	if err == nil {
		err = w.schedule.cancelOthers(ctx)
	}
	if err != nil {
		return nil, err
	}
	after, err := w.schedule.fireAfter(ctx)
	if err != nil {
		return nil, err
	}
	r.Fired, r.Skipped = append(one.runs, after...), one.skipped
	if r.Due, err = w.allDue(ctx, maxPage); err != nil {
		return nil, err
	}
	r.worked = make([]*Run, len(r.Due))
	return r, nil
}

// workAll works the due runs of a tick, MaxWorkers at a time. It works the runs of a lane in
// their order, as many at once as the lane has places, and as its group has.
func (w *worker) workAll(ctx context.Context, r *TickReport) {
	of := make(map[any]*line) // by the group, or else by the lane
	var lines []*line         // in the order of their oldest runs
	for i, run := range r.Due {
		t := turn{at: i}
		t.lane, t.most = w.flows.laneOf(run)
		var key any = t.lane
		atOnce := t.most
		if group, most := w.flows.groupOf(run); group != "" {
			key, atOnce = group, most
		}
		if of[key] == nil {
			of[key] = &line{atOnce: atOnce, busy: make(map[lane]int)}
			lines = append(lines, of[key])
		}
		of[key].waiting = append(of[key].waiting, t)
	}
	places := make(chan struct{}, w.config.MaxWorkers)
	var wg sync.WaitGroup
	for _, l := range lines {
		for range min(l.atOnce, len(l.waiting)) {
			places <- struct{}{}
			wg.Go(func() {
				defer func() { <-places }()
				for t, ok := l.next(); ok; t, ok = l.next() {
					r.worked[t.at] = w.workWithRoom(ctx, r.Due[t.at], places)
					l.done(t)
				}
			})
		}
	}
	wg.Wait()
}

// line are the runs of a tick that share a limit.
type line struct {
	atOnce int

	mu      sync.Mutex // guards what follows
	waiting []turn
	busy    map[lane]int
}

// turn is the place of a run in a tick, and its lane.
type turn struct {
	at   int
	lane lane
	most int // of the lane at once
}

// next takes the first run whose lane has a place. If there is none, those who work the lanes'
// runs take up the others.
func (l *line) next() (turn, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.waiting, func(t turn) bool { return l.busy[t.lane] < t.most })
	if i < 0 {
		return turn{}, false
	}
	t := l.waiting[i]
	l.waiting = slices.Delete(l.waiting, i, i+1)
	l.busy[t.lane]++
	return t, true
}

func (l *line) done(t turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy[t.lane]--
}

// workWithRoom works a due run of a tick, as soon as there is room for its connections. It
// gives its place up while it waits.
func (w *worker) workWithRoom(ctx context.Context, run *Run, places chan struct{}) *Run {
	for {
		freed := w.pools.freed()
		worked, full := w.workDue(ctx, run)
		if !full {
			return worked
		}
		<-places
		select {
		case <-freed:
		case <-w.gate.stopping:
		case <-ctx.Done():
		}
		places <- struct{}{}
		if ctx.Err() != nil || w.gate.closed() {
			return nil
		}
	}
}

// pace keeps a task that may read much from taking more than a fiftieth of the time.
type pace struct {
	next time.Time
}

// do does the task, unless it has to wait, for most at most. least is the pause after a quick one.
func (p *pace) do(now func() time.Time, least, most time.Duration, task func() error) error {
	began := now()
	if wait := p.next.Sub(began); wait > 0 && wait <= most {
		return nil
	}
	err := task()
	ended := now()
	p.next = ended.Add(min(max(least, 50*ended.Sub(began)), most))
	return err
}

// fireBefore is how many due flows the loop handles before it takes up runs again.
const fireBefore = 4000

// poll is the loop of a started client: it fires ticks and works due runs until Stop. It
// sleeps until the next tick, for a PollInterval at most.
func (w *worker) poll(ctx context.Context) {
	lapsed := time.NewTicker(w.config.Lease / 10)
	defer lapsed.Stop()
	alive := time.NewTicker(w.presence.every())
	defer alive.Stop()
	next := time.NewTimer(w.config.PollInterval)
	defer next.Stop()
	defer w.presence.sayGone(ctx)
	w.polling.Store(true)
	defer w.polling.Store(false)
	do := looks(ctx, w.base)
	var stranded, crowded pace
	rescue := func(ctx context.Context) error {
		_, err := w.rescuer.rescue(ctx)
		return errors.Join(err, stranded.do(w.now, 0, w.config.Lease, func() error { return w.rescuer.unstrand(ctx) }))
	}
	fired := &fired{}
	fire := func(ctx context.Context) (err error) {
		fired, err = w.schedule.fireDue(ctx, fireBefore, fired.left)
		err = errors.Join(err, crowded.do(w.now, 0, w.config.Lease, func() error { return w.schedule.cancelOthers(ctx) }))
		wait, nextErr := w.untilNext(ctx, fired)
		next.Reset(wait)
		return errors.Join(err, nextErr)
	}
	var freed, room <-chan struct{} // nil: no run waits for a place, for connections
	takeUp := func(looking context.Context) error {
		freed, room = nil, w.pools.freed()
		left, full, err := w.takeUp(ctx, looking)
		if left {
			freed = w.freed
		}
		if !full {
			room = nil
		}
		return err
	}
	again := time.NewTicker(w.config.Lease)
	defer again.Stop()
	do("looking for abandoned runs", rescue)
	for due := true; ; {
		if due {
			do("looking for due ticks", fire)
		}
		do("looking for flows that follow others", w.follow)
		do("looking for due runs", takeUp)
		due = false
		select {
		case <-w.gate.stopping:
			return
		case <-ctx.Done():
			return
		case <-lapsed.C:
			do("looking for abandoned runs", rescue)
		case <-alive.C:
			do("saying that this process is alive", w.presence.sayAlive)
		case <-freed:
		case <-room:
		case <-w.ended: // another run of its flow may wait
		case <-w.woken:
		case <-again.C:
			do("registering flows", w.registrar.registerAgain)
			do("looking for migrated flows", w.registrar.followMigrations)
			do("looking at the limits of groups", w.registrar.compareGroups)
		case <-next.C:
			due = true
		}
	}
}

// follow starts the runs of flows that follow others.
func (w *worker) follow(ctx context.Context) error {
	_, err := w.schedule.fireAfter(ctx)
	return err
}

// clocksDiffer is by how much the clocks of this process and of the database may differ, so that a run which
// is due now is tried at once. The claim goes by the database's clock.
const clocksDiffer = time.Second

// wakeHere makes the loop of a started client look for runs of a flow at once. Of the runs that this process
// has just added, the loop tries the first one before that.
func (w *worker) wakeHere(flowID int64, added ...*Run) {
	if !w.flows.works(flowID) {
		return
	}
	for _, run := range added {
		group, _ := w.flows.groupOf(run)
		if group != "" || run.Coalesced || !run.IsDue(w.now().Add(clocksDiffer)) {
			continue
		}
		select {
		case w.added <- run:
		default:
		}
	}
	poke(w.woken)
}

// wakeAll makes every started client with the code of a flow look for runs of it at once.
func (w *worker) wakeAll(ctx context.Context, flowID int64) {
	w.wakeHere(flowID)
	w.wakeOthers(ctx, flowID)
}

// listener returns what keeps this process listening, and nil if nothing does.
func (w *worker) listener() *wake.Loop {
	n, ok := w.store.(Notifier)
	if !ok || w.config.PollOnly {
		return nil
	}
	return &wake.Loop{
		Listen: func(ctx context.Context, ready func()) error {
			return n.Listen(ctx, ready, func(flowID int64) { w.wakeHere(flowID) })
		},
		Ready: func() { poke(w.woken) },
		Changed: func(ctx context.Context, err error) {
			if err == nil {
				w.log.InfoContext(ctx, "dataflow: listening again for runs of other processes")
				return
			}
			w.log.WarnContext(ctx, "dataflow: cannot listen for runs of other processes, which are found by the poll meanwhile; trying again",
				slog.Duration("poll_interval", w.config.PollInterval), slog.String(logError, err.Error()))
		},
	}
}

// listen listens for runs of other processes while the loop runs, if a flow needs it.
func (w *worker) listen(ctx context.Context) {
	if w.listening == nil {
		return
	}
	again := time.NewTicker(w.config.Lease)
	defer again.Stop()
	for !w.flows.loops() { // a flow may be migrated
		select {
		case <-again.C:
		case <-w.gate.stopping:
			return
		case <-ctx.Done():
			return
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-w.gate.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	w.listening.Run(ctx)
}

// untilNext returns how long the loop may sleep before it looks for ticks again: until the next
// tick, for a PollInterval at most. After a failure it is a PollInterval, so that a flow that
// cannot be handled does not keep the loop busy.
func (w *worker) untilNext(ctx context.Context, f *fired) (time.Duration, error) {
	switch view := w.flows.view(); {
	case f.left != nil:
		return 0, nil
	case len(f.failed) > 0 || f.until.IsZero():
		return w.config.PollInterval, nil
	default:
		d, ok, err := w.store.FlowNext(ctx, view.ids, f.until)
		if err != nil || !ok {
			return w.config.PollInterval, err
		}
		return min(max(d, tickSoonest), w.config.PollInterval), nil
	}
}

// poke leaves a signal in a channel.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // there is a signal already
	}
}

// drain takes a signal out of a channel.
func drain(ch chan struct{}) {
	select {
	case <-ch:
	default:
	}
}
