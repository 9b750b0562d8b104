package week_test

import (
	"context"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// quiet waits until each run that these processes must work now has ended or waits on the clock.
// It works the due River jobs.
func (w *week) quiet(now time.Time, processes []*process, reports []*dataflow.TickReport) {
	w.Helper()
	patience, cancel := context.WithTimeout(w.Context(), 3*time.Minute)
	defer cancel()
	for try := 1; ; try++ {
		rests, ticks := w.rests(now, processes, reports)
		if rests {
			break
		}
		if patience.Err() != nil {
			waiting, still := w.clock.still()
			w.Fatalf("no rest at %s: %d bodies wait on the clock, all: %v; %s", now, waiting, still, w.show())
		}
		if len(processes) > 0 {
			w.work(now, processes[0])
		}
		if !ticks || try%8 > 0 && !over(reports) {
			pause(patience, time.Millisecond)
			continue
		}
		reports = w.begin(processes)
		for _, r := range reports {
			require.Empty(w, r.Fired)
			require.Zero(w, r.Skipped)
		}
	}
	for _, e := range w.bodies.take() {
		w.byName[e.flow].runEnded(now, e.failed)
		w.did["attempts"]++
	}
}

// rests reports whether nothing more is to happen at this time. If something is, ticks reports
// whether that needs another round.
func (w *week) rests(now time.Time, processes []*process, reports []*dataflow.TickReport) (rests, ticks bool) {
	w.Helper()
	for _, r := range reports {
		short, cancel := context.WithTimeout(w.Context(), 2*time.Millisecond)
		_, _ = r.Wait(short) // It times out if a run waits on the clock.
		cancel()
	}
	if _, still := w.clock.still(); !still {
		return false, false
	}
	w.look()
	progress := 0
	rests = true
	for _, runs := range w.runs {
		for _, r := range runs {
			switch {
			case w.dead[r.worker] && r.progress:
			case r.progress && r.cancel:
				rests = false
				w.hurry(r)
			case r.progress:
				progress++
			case w.claimable(now, r, processes):
				rests = false
				ticks = ticks || r.queue == ""
			}
		}
	}
	waiting, still := w.clock.still()
	return rests && still && progress == waiting, ticks
}

// over reports whether the rounds have ended. A round does not end while one of its runs waits on
// the clock.
func over(reports []*dataflow.TickReport) bool {
	past, cancel := context.WithCancel(context.Background())
	cancel()
	for _, r := range reports {
		if _, err := r.Wait(past); err != nil {
			return false
		}
	}
	return true
}

// hurry tells a process at once that one of its runs is cancelled. By itself it would find out
// within two seconds.
func (w *week) hurry(r *active) {
	w.Helper()
	for _, p := range w.processes {
		if p.id == r.worker {
			_, _ = p.client.Cancel(w.Context(), r.id, "", "") // It may have ended.
		}
	}
}

// look reads the runs that have not ended.
func (w *week) look() {
	w.Helper()
	runs, err := w.activeRuns(w.Context())
	require.NoError(w, err)
	w.runs = make(map[string][]*active)
	for _, r := range runs {
		w.runs[r.flow] = append(w.runs[r.flow], r)
	}
}

// claimable reports whether one of the processes must claim a run now.
func (w *week) claimable(now time.Time, r *active, processes []*process) bool {
	m := w.byName[r.flow]
	if r.progress || r.after.After(now) || m.paused || m.spec.disabled || r.rescues > 1 {
		return false
	}
	if !slices.ContainsFunc(processes, func(p *process) bool { return p.has(m) && !p.specs[r.flow].disabled }) || r.queue != "" && w.jobWaits(now, r) {
		return false
	}
	busy := 0
	for _, o := range w.runs[r.flow] {
		if o.progress {
			busy++
		}
		if m.spec.slots() == 1 && r.waitingTick() && o.waitingTick() && o.scheduled.Before(r.scheduled) && o.queue == r.queue {
			return false // the run of the earlier tick goes first
		}
	}
	return busy < m.spec.slots()
}

// waitingTick reports whether a run of a tick waits and has not begun.
func (r *active) waitingTick() bool {
	return !r.progress && r.trigger == dataflow.TriggerSchedule && r.lease == 0
}

// jobWaits reports whether River has not yet worked a run's job.
func (w *week) jobWaits(now time.Time, r *active) bool {
	m := w.byName[r.flow]
	if chance(w.bodies.seed, "late", r.flow, r.scheduled.UnixMilli()) >= m.spec.late {
		return false
	}
	delay := time.Duration(chance(w.bodies.seed, "how late", r.flow, r.scheduled.UnixMilli()) * float64(3*time.Hour))
	return r.after.Add(delay).After(now)
}

// work works the runs that have River jobs, in place of River's workers.
func (w *week) work(now time.Time, p *process) {
	w.Helper()
	for _, runs := range w.runs {
		for _, r := range runs {
			if r.queue == "" || !w.claimable(now, r, []*process{p}) {
				continue
			}
			before := w.clock.parked(r.flow)
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = dataflow.NewFlowExecutor(p.client).Execute(context.WithoutCancel(w.Context()), r.id) // The run's state says how it went.
			}()
			for w.clock.parked(r.flow) == before && !closed(done) {
				pause(w.Context(), time.Millisecond/4)
			}
		}
	}
}

func closed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// pause waits for d or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
