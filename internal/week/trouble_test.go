package week_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// has reports whether a process has the code of a flow.
func (p *process) has(m *model) bool { return p.specs[m.spec.name] != nil }

// meddle does what people do: it pauses, resumes, triggers and cancels.
func (w *week) meddle(now time.Time) {
	w.Helper()
	for range w.dice.IntN(3) {
		m := pick(w.dice, w.models...)
		name := m.spec.name
		client := w.admin
		if len(w.processes) > 0 && w.dice.IntN(2) == 0 {
			client = w.processes[0].client
		}
		switch n := w.dice.IntN(10); {
		case n < 3:
			w.toggle(now, client, m)
		case n < 5:
			for _, m := range w.models { // so that no flow stays paused for ever
				if m.paused || m.tripped {
					if w.dice.IntN(3) == 0 {
						w.resume(now, client, m)
					}
				}
			}
		case n < 9:
			w.trigger(now, client, m)
		default:
			for _, r := range w.runs[name] {
				if m.spec.schedule.PauseAfter == 0 && !w.dead[r.worker] {
					_, err := w.admin.Cancel(w.Context(), r.id, "admin", "no longer needed")
					require.NoError(w, err)
					w.did["cancelled"]++
				}
			}
			w.quiet(now, nil, nil)
		}
	}
}

func (w *week) toggle(now time.Time, client *dataflow.Client, m *model) {
	w.Helper()
	if m.paused {
		w.resume(now, client, m)
		return
	}
	w.did["pauses"]++
	_, err := client.Pause(w.Context(), m.spec.name, "admin", "holidays")
	require.NoError(w, err)
	m.pause(now)
}

func (w *week) resume(now time.Time, client *dataflow.Client, m *model) {
	w.Helper()
	w.did["resumes"]++
	_, err := client.Resume(w.Context(), m.spec.name, "admin", "back again")
	require.NoError(w, err)
	m.resume(now)
}

// trigger starts a run without a tick.
func (w *week) trigger(now time.Time, client *dataflow.Client, m *model) {
	w.Helper()
	if client == w.admin && m.spec.schedule.PauseAfter > 0 {
		return // the admin does not have the flow's code, and so not its MaxAttempts
	}
	opts := &dataflow.TriggerOptions{Actor: "ann", Reason: "she wants to see it"}
	if client != w.admin || w.dice.IntN(2) == 0 { // without At, a process would work the run here and block
		opts.At = now.Add(pick(w.dice, 0, 0, -time.Hour, 2*time.Hour))
		if next := m.nextTick(); !next.IsZero() && w.dice.IntN(4) == 0 {
			opts.At = next // exactly the time of the next tick
		}
	}
	run, err := client.Trigger(w.Context(), m.spec.name, opts)
	switch {
	case m.paused || m.spec.disabled:
		require.ErrorIs(w, err, dataflow.ErrDisabled, "%s", m)
	case errors.Is(err, dataflow.ErrNotRegistered): // the admin added the run, but cannot work it
		fallthrough
	case err == nil:
		w.did["triggered"]++
		w.manual[run.ID] = true
	default:
		require.NoError(w, err)
	}
	if w.dice.IntN(2) == 0 {
		w.planned(m)
	}
	w.look()
}

// trouble kills, stops, replaces and adds processes. If it ends all of them, it returns when the
// downtime is over.
func (w *week) trouble(now time.Time) time.Time {
	w.Helper()
	rate := 1.0
	if len(w.models) < 200 {
		rate = 5
	}
	switch n := w.dice.Float64() / rate; {
	case n < 0.002:
		w.replace(w.die)
	case n < 0.004:
		w.replace(w.stop)
	case n < 0.007:
		w.edit(now)
	case n < 0.012:
		w.second()
	case n < 0.014:
		away := time.Duration(w.dice.Int64N(int64(pick(w.dice, 10*time.Minute, 3*time.Hour, 24*time.Hour))))
		for len(w.processes) > 0 {
			pick(w.dice, w.die, w.stop)(w.processes[0])
		}
		w.did["downtimes"]++
		w.quiet(now, nil, nil)
		return now.Add(away)
	}
	return time.Time{}
}

// replace ends the process with all flows, and starts another one.
func (w *week) replace(end func(*process)) {
	w.Helper()
	end(w.processes[0])
	w.launch(w.models)
	n := len(w.processes) - 1
	w.processes = slices.Insert(w.processes[:n:n], 0, w.processes[n])
	w.quiet(w.clock.Now(), nil, nil)
}

// second starts a second process with the code of a third of the flows, or ends it.
func (w *week) second() {
	w.Helper()
	if len(w.processes) > 1 {
		pick(w.dice, w.die, w.stop)(w.processes[1])
		w.quiet(w.clock.Now(), nil, nil)
		return
	}
	some := slices.Clone(w.models)
	w.dice.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	w.launch(some[:len(some)/3])
}

// edit deploys other definitions of some flows. The old processes make up to two more rounds
// beside the new one.
func (w *week) edit(now time.Time) {
	w.Helper()
	w.did["deploys"]++
	for _, m := range w.models {
		if w.dice.IntN(12) == 0 {
			m.wanted = m.wanted.edit(w.dice, now)
			w.did["edits"]++
		}
	}
	old := slices.Clone(w.processes)
	w.launch(w.models)
	n := len(w.processes) - 1
	w.processes = slices.Insert(w.processes[:n:n], 0, w.processes[n])
	for range w.dice.IntN(3) {
		w.advance(w.clock.Now().Add(time.Duration(1 + w.dice.Int64N(int64(10*time.Minute)))).Truncate(time.Millisecond))
		w.tick(w.clock.Now())
	}
	for _, p := range old {
		pick(w.dice, w.stop, w.stop, w.die)(p)
	}
	w.quiet(w.clock.Now(), nil, nil)
}

// stop ends a process by Client.Stop. die ends it as a power cut does.
func (w *week) stop(p *process) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.Context()), 2*time.Minute)
	defer cancel()
	require.NoError(w, p.client.Stop(ctx))
	w.processes = slices.DeleteFunc(w.processes, func(o *process) bool { return o == p })
	w.did["stops"]++
	w.look()
}

func (w *week) die(p *process) {
	w.Helper()
	p.dies.Store(true)
	w.clock.kill(p.life)
	var left []*active
	for _, runs := range w.runs {
		for _, r := range runs {
			if r.progress && r.worker == p.id {
				left = append(left, r)
			}
		}
	}
	w.bodies.died(left)
	w.dead[p.id] = true
	w.processes = slices.DeleteFunc(w.processes, func(o *process) bool { return o == p })
	w.did["deaths"]++
}
