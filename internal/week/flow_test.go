package week_test

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/activedataflow/dataflow"
)

// spec is a flow's definition.
type spec struct {
	name     string
	queue    bool // JobQueue, else Heartbeat
	disabled bool
	interval time.Duration
	schedule dataflow.Schedule
	cursor   bool // whether the source has one
	attempts int
	slow     float64 // the share of runs that wait on the clock
	longest  time.Duration
	flaky    float64 // the share of the hours in which all runs fail
	late     float64 // the share of River jobs that wait
}

// timing is the part of a definition that says when ticks are.
func (s *spec) timing() dataflow.Schedule {
	return dataflow.Schedule{
		Cron: s.schedule.Cron, TimeZone: s.schedule.TimeZone, Start: s.schedule.Start, End: s.schedule.End, Stagger: s.schedule.Stagger,
		CatchUpWindow: s.interval, // this field only serves to carry the interval
	}
}

func (s *spec) runtime() dataflow.Runtime {
	if s.queue {
		return dataflow.JobQueue{Interval: s.interval, Schedule: s.schedule, Disabled: s.disabled}
	}
	return dataflow.Heartbeat{Interval: s.interval, Schedule: s.schedule, Disabled: s.disabled}
}

// chance returns a random number of [0, 1) that depends only on its arguments.
func chance(seed uint64, what, name string, n int64) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(what + "/" + name)) // It never fails.
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
	return rand.New(rand.NewPCG(seed, h.Sum64())).Float64()
}

// ended is the outcome of a body.
type ended struct {
	flow   string
	failed bool
}

// bodies are what runs do: mostly nothing, sometimes wait on the clock, sometimes fail.
type bodies struct {
	seed  uint64
	clock *clock

	mu   sync.Mutex // guards the fields below
	ends []ended
	most map[string]int // the most runs of a flow that were in progress at once
	in   map[string]int // the runs of a flow that are in progress
}

var errBroken = errors.New("broken")

func (b *bodies) run(ctx context.Context, l *life, s *spec) error {
	now := b.clock.enter(l)
	b.count(s.name, 1, l)
	defer func() { b.count(s.name, -1, l); b.clock.leave(l) }()
	if chance(b.seed, "slow", s.name, now.UnixMilli()) < s.slow {
		part := chance(b.seed, "how slow", s.name, now.UnixMilli())
		if err := b.clock.wait(ctx, l, s.name, now.Add(time.Duration(part*part*float64(s.longest)))); err != nil {
			return err
		}
	}
	failed := chance(b.seed, "mood", s.name, now.Unix()/int64((6*time.Hour).Seconds())) < s.flaky || chance(b.seed, "slip", s.name, now.UnixMilli()) < 0.02
	b.note(l, ended{s.name, failed})
	if failed {
		return errBroken
	}
	return nil
}

func (b *bodies) note(l *life, e ended) {
	b.clock.mu.Lock()
	dead := l.dead
	b.clock.mu.Unlock()
	if dead {
		return // the outcome is lost with the process
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ends = append(b.ends, e)
}

// count counts the runs of a flow in progress. Runs of dead processes do not count.
func (b *bodies) count(name string, by int, l *life) {
	b.clock.mu.Lock()
	dead := l.dead
	b.clock.mu.Unlock()
	if dead {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.in[name] += by
	b.most[name] = max(b.most[name], b.in[name])
}

// died takes the runs of a dead process off the count.
func (b *bodies) died(runs []*active) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range runs {
		b.in[r.flow]--
	}
}

// take returns the bodies that have ended since the last call.
func (b *bodies) take() []ended {
	b.mu.Lock()
	defer b.mu.Unlock()
	ends := b.ends
	b.ends = nil
	return ends
}

// source is a source without records, with or without a cursor.
type source[C any] struct {
	b *bodies
	l *life
	s *spec
}

func (s source[C]) Read(ctx context.Context, _ dataflow.Request[C]) iter.Seq2[dataflow.Item[int, C], error] {
	return func(yield func(dataflow.Item[int, C], error) bool) {
		if err := s.b.run(ctx, s.l, s.s); err != nil {
			yield(dataflow.Item[int, C]{}, err)
		}
	}
}

// flow declares the flow of a spec, for a process.
func (b *bodies) flow(l *life, s *spec) *dataflow.Flow {
	target := dataflow.To(dataflow.SinkFunc[int](func(context.Context, dataflow.SinkBatch[int]) error { return nil }))
	opts := &dataflow.FlowOptions{
		Runtime: s.runtime(), MaxAttempts: s.attempts, Backoff: func(n int) time.Duration { return time.Duration(n) * 7 * time.Minute },
	}
	if s.cursor {
		return dataflow.NewFlow(s.name, source[int]{b, l, s}, dataflow.Identity[int](), target, opts)
	}
	return dataflow.NewFlow(s.name, source[dataflow.NoCursor]{b, l, s}, dataflow.Identity[int](), target, opts)
}
