package week_test

import (
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// tick makes a round with each process, one after the other or all at once.
func (w *week) tick(now time.Time) {
	w.Helper()
	w.did["rounds"]++
	if len(w.processes) > 1 && w.dice.IntN(4) == 0 {
		w.did["rounds at once"]++
		w.round(now, w.processes)
		return
	}
	for _, i := range w.dice.Perm(len(w.processes)) {
		w.round(now, w.processes[i:i+1])
	}
}

// round makes processes tick, and compares what they do with the oracle's verdicts.
func (w *week) round(now time.Time, processes []*process) {
	w.Helper()
	verdicts := make(map[*model]*verdict)
	for _, p := range processes {
		for _, m := range p.flows {
			if verdicts[m] != nil {
				continue
			}
			if v := m.judge(now, w.runs[m.spec.name], func(worker string) bool { return w.dead[worker] }); v != nil {
				v.loose = v.loose && (len(processes) > 1 || w.moves(now, m))
				verdicts[m] = v
			}
		}
	}
	reports := w.begin(processes)
	started := make(map[string][]*dataflow.Run)
	var skipped, want int64
	for _, r := range reports {
		for _, run := range r.Fired {
			started[run.FlowName] = append(started[run.FlowName], run)
		}
		skipped += r.Skipped
	}
	for _, m := range w.models {
		v := verdicts[m]
		if v == nil {
			if n := len(started[m.spec.name]); n > 0 {
				w.Fatalf("%d runs, and nothing is due at %s: %s", n, now.Format(time.RFC3339Nano), m.stored())
			}
			continue
		}
		m.check(now, v, started[m.spec.name])
		want += v.skipped
	}
	require.Equal(w, want, skipped, "ticks that are skipped at %s", now)
	if len(w.dead) > 0 {
		clear(w.dead)
		w.clock.bury()
	}
	w.quiet(now, processes, reports)
}

// moves reports whether runs of a flow may be claimed at any moment, because an earlier round is
// still claiming the runs that it found.
func (w *week) moves(now time.Time, m *model) bool {
	return slices.ContainsFunc(w.runs[m.spec.name], func(r *active) bool { return r.queue == "" && w.claimable(now, r, w.processes) })
}

// begin begins a round in each process, at once.
func (w *week) begin(processes []*process) []*dataflow.TickReport {
	w.Helper()
	if len(w.dead) > 0 {
		_, err := w.db.ExecContext(w.Context(), `update dataflow_run set lease_until = '2020-01-01 00:00:00.000' where state = 'in_progress' and worker in (`+quoted(w.dead)+`)`)
		require.NoError(w, err)
	}
	type answer struct {
		r   *dataflow.TickReport
		err error
	}
	answers := make(chan answer, len(processes))
	for _, p := range processes {
		go func() {
			r, err := p.client.BeginTick(w.Context())
			answers <- answer{r, err}
		}()
	}
	var reports []*dataflow.TickReport
	for range processes {
		a := <-answers
		require.NoError(w, a.err)
		reports = append(reports, a.r)
	}
	return reports
}

func quoted(names map[string]bool) string {
	list := ""
	for name := range names {
		list += ", '" + name + "'"
	}
	return list[2:]
}
