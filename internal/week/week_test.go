package week_test

import (
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

const (
	longEnv  = "DATAFLOW_CHAOS"
	seedEnv  = "DATAFLOW_CHAOS_SEED"
	daysEnv  = "DATAFLOW_WEEK_DAYS"
	flowsEnv = "DATAFLOW_WEEK_FLOWS"

	// lease is longer than the week. The test itself ends the leases of dead processes.
	lease = 400 * time.Hour
)

func number(t *testing.T, env string, otherwise int) int {
	t.Helper()
	text := os.Getenv(env)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, env)
	return n
}

// newDice returns the random numbers of a test, and their seed.
func newDice(t *testing.T) (*rand.Rand, uint64) {
	t.Helper()
	seed := uint64(number(t, seedEnv, 1))
	name := fnv.New64a()
	_, _ = name.Write([]byte(t.Name())) // It never fails.
	t.Logf("%s=%d", seedEnv, seed)
	return rand.New(rand.NewPCG(seed, name.Sum64())), seed
}

// week is a simulated week.
type week struct {
	*testing.T
	*database
	dice       *rand.Rand
	step       time.Duration // the usual time between two rounds
	start, end time.Time
	horizon    time.Time // the oracle computes ticks up to here
	clock      *clock
	bodies     *bodies
	models     []*model
	byName     map[string]*model
	admin      *dataflow.Client // a client without flows; it works nothing
	processes  []*process
	dead       map[string]bool // killed processes whose runs nobody has taken over yet
	born       int
	runs       map[string][]*active // the runs that have not ended
	manual     map[int64]bool
	did        map[string]int // what happened, and how often
}

// process is a client with the code of some or all flows.
type process struct {
	*life
	client *dataflow.Client
	dies   *atomic.Bool
	flows  []*model
	specs  map[string]*spec // as it registered them
}

// Every tick of a week is accounted for exactly once, as the oracle predicted.
func TestWeek(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d *database) {
		t.Helper()
		days, flows := 1, 30
		if os.Getenv(longEnv) == "long" {
			days, flows = 7, 500
		}
		w := newWeek(t, d, number(t, daysEnv, days), number(t, flowsEnv, flows))
		began := time.Now()
		w.live()
		w.audit()
		t.Logf("%s to %s took %s; %v", w.start.Format(time.DateTime), w.end.Format(time.DateTime), time.Since(began).Round(time.Second), w.did)
	})
}

func newWeek(t *testing.T, d *database, days, flows int) *week {
	t.Helper()
	dice, seed := newDice(t)
	change, err := time.Parse(time.DateOnly, pick(dice, changes...))
	require.NoError(t, err)
	start := change.Add(-14*time.Hour + time.Duration(dice.IntN(3600_000))*time.Millisecond)
	if days > 3 {
		start = start.Add(-time.Duration(dice.IntN(4)) * 24 * time.Hour)
	}
	w := &week{
		T: t, database: d, dice: dice, step: 15 * time.Minute, start: start, end: start.Add(time.Duration(days) * 24 * time.Hour), clock: newClock(start), horizon: start.Add(time.Duration(days)*24*time.Hour + 2*time.Hour),
		byName: make(map[string]*model), dead: make(map[string]bool), manual: make(map[int64]bool), did: make(map[string]int),
	}
	if days > 3 {
		w.step = 10 * time.Minute
	}
	w.bodies = &bodies{seed: seed, clock: w.clock, most: make(map[string]int), in: make(map[string]int)}
	for _, s := range newSpecs(dice, flows, start) {
		m := &model{week: w, spec: s, wanted: s}
		w.models = append(w.models, m)
		w.byName[s.name] = m
	}
	w.admin, err = dataflow.NewClient(d.driver, w.config("admin"))
	require.NoError(t, err)
	require.NoError(t, w.admin.Migrate(t.Context()))
	// For the oracle, which often reads the runs that have not ended.
	_, err = d.db.ExecContext(t.Context(), `create index week_active on dataflow_run (id) where state in ('pending', 'in_progress')`)
	require.NoError(t, err)
	return w
}

func (w *week) config(id string, flows ...*dataflow.Flow) *dataflow.Config {
	return &dataflow.Config{
		ID: id, Flows: flows, Clock: w.clock.Now, Lease: lease, MaxWorkers: 1000, MaxRescues: 1000, Logger: slog.New(slog.DiscardHandler),
	}
}

// launch starts a process with the code of these flows, in their newest definition.
func (w *week) launch(flows []*model) {
	w.Helper()
	w.born++
	p := &process{life: &life{id: fmt.Sprintf("p%d", w.born)}, dies: new(atomic.Bool), flows: flows, specs: make(map[string]*spec)}
	declared := make([]*dataflow.Flow, len(flows))
	for i, m := range flows {
		declared[i] = w.bodies.flow(p.life, m.wanted)
		p.specs[m.spec.name] = m.wanted
	}
	var err error
	p.client, err = dataflow.NewClient(mortal{w.driver, p.dies}, w.config(p.id, declared...))
	require.NoError(w, err)
	require.NoError(w, p.client.Register(w.Context()))
	for _, m := range flows {
		m.register(w.clock.Now(), m.wanted)
	}
	w.processes = append(w.processes, p)
	w.did["processes"]++
}

// live lets time pass until the end.
func (w *week) live() {
	w.Helper()
	w.launch(w.models)
	down := time.Time{} // the end of a downtime
	for {
		now := w.soon(w.clock.Now(), len(w.processes) == 0)
		if !now.Before(w.end) {
			break
		}
		w.advance(now)
		w.meddle(now)
		if len(w.processes) > 0 {
			down = w.trouble(now)
			now = w.clock.Now()
		}
		if len(w.processes) == 0 {
			if now.Before(down) {
				continue
			}
			w.launch(w.models)
		}
		w.tick(now)
		w.compare(now)
	}
	if len(w.processes) == 0 {
		w.launch(w.models)
	}
	if w.clock.Now().Before(w.end) {
		w.advance(w.end)
	}
	w.tick(w.clock.Now())
	for len(w.processes) > 0 {
		w.stop(w.processes[0])
	}
}

// soon is the next moment at which something happens.
func (w *week) soon(now time.Time, down bool) time.Time {
	if down {
		return now.Add(time.Duration(1 + w.dice.Int64N(int64(time.Hour)))).Truncate(time.Millisecond)
	}
	round := now.Truncate(w.step).Add(w.step)
	switch w.dice.IntN(20) {
	case 0: // at any moment of the next 40 minutes
		return now.Add(time.Duration(1 + w.dice.Int64N(int64(40*time.Minute)))).Truncate(time.Millisecond).Add(time.Millisecond)
	case 1, 2, 3: // at a tick, or a millisecond before or after it
		var next time.Time
		for _, m := range w.models {
			if at := m.nextTick(); at.After(now) && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
		next = next.Add(time.Duration(w.dice.IntN(3)-1) * time.Millisecond)
		if next.After(now) {
			return next
		}
		return round
	case 4, 5, 6, 7:
		return round
	default:
		return round.Add(time.Duration(w.dice.Int64N(int64(30 * time.Second)))).Truncate(time.Millisecond)
	}
}

// advance moves the clock, and lets the runs end whose time has come.
func (w *week) advance(now time.Time) {
	w.Helper()
	if w.clock.set(now) {
		w.quiet(now, nil, nil)
	}
}
