package week_test

import (
	"sort"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// audit checks that the runs and the ledger account for every tick exactly once, as the oracle
// predicted, and that there is nothing else.
func (w *week) audit() {
	w.Helper()
	runs, manual, probes := w.allRuns()
	ledger := w.ledger()
	counts := make(map[dataflow.SkipReason]int)
	for _, m := range w.models {
		name := m.spec.name
		ticks := m.ticks[:m.next]
		if m.next < len(m.ticks) {
			require.True(w, m.ticks[m.next].at.After(w.clock.Now()))
		}
		got := make([]dataflow.SkipReason, len(ticks))
		find := func(at time.Time) int {
			i := sort.Search(len(ticks), func(i int) bool { return !ticks[i].at.Before(at) })
			require.True(w, i < len(ticks) && ticks[i].at.Equal(at), "%s is no tick of %s", at, m)
			return i
		}
		for _, at := range runs[name] {
			i := find(at)
			require.Empty(w, got[i], "the tick %s of %s has two runs", at, m)
			got[i] = fired
		}
		for _, s := range ledger[name] {
			first, last := find(s.First), find(s.Last)
			require.EqualValues(w, last-first+1, s.Count, "%s to %s (%s) of %s", s.First, s.Last, s.Reason, m)
			require.Equal(w, ticks[first].edition, ticks[last].edition, "%s to %s (%s) of %s are of two schedules", s.First, s.Last, s.Reason, m)
			for i := first; i <= last; i++ {
				require.Empty(w, got[i], "the tick %s of %s is accounted for twice, the second time in %+v", ticks[i].at, m, s)
				got[i] = s.Reason
			}
		}
		for i, tick := range ticks {
			require.NotEmpty(w, got[i], "the tick %s of %s is not accounted for", tick.at, m)
			if tick.fate == unsure {
				w.did["ticks that the oracle left open"]++
			} else {
				require.Equal(w, tick.fate, got[i], "the tick %s of %s", tick.at, m)
			}
			counts[got[i]]++
		}
		require.Equal(w, m.probes, probes[name], "probes of %s", m)
		require.LessOrEqual(w, w.bodies.most[name], m.spec.slots(), "runs of %s at once", m)
	}
	require.Equal(w, len(w.manual), manual)
	w.queued()
	for reason, n := range counts {
		require.Positive(w, n)
		w.did["ticks "+string(reason)] = n
	}
	for _, reason := range []dataflow.SkipReason{fired, dataflow.SkipOverlap, dataflow.SkipPaused, dataflow.SkipDisabled, dataflow.SkipMissed, dataflow.SkipWindow} {
		if len(w.models) >= 200 || reason == fired || reason == dataflow.SkipMissed {
			require.Positive(w, counts[reason], "no tick was %s: the week was too quiet", reason)
		}
	}
}

// allRuns returns the ticks that have runs, and the numbers of other runs.
func (w *week) allRuns() (ticks map[string][]time.Time, manual int, probes map[string]int) {
	w.Helper()
	ticks, probes = make(map[string][]time.Time), make(map[string]int)
	p := &dataflow.RunListParams{Limit: 10_000}
	for {
		runs, err := w.admin.Runs(w.Context(), p)
		require.NoError(w, err)
		for _, run := range runs {
			p.Before = run.ID
			switch run.Trigger {
			case dataflow.TriggerSchedule:
				ticks[run.FlowName] = append(ticks[run.FlowName], run.ScheduledFor)
				require.False(w, run.CreatedAt.Before(run.ScheduledFor), "run %d is from before its tick", run.ID)
			case dataflow.TriggerProbe:
				probes[run.FlowName]++
			default:
				manual++
				require.True(w, w.manual[run.ID], "nobody has started run %d", run.ID)
				require.Equal(w, "ann", run.Actor)
			}
		}
		if len(runs) < p.Limit {
			return ticks, manual, probes
		}
	}
}

func (w *week) ledger() map[string][]*dataflow.SkippedTicks {
	w.Helper()
	all := make(map[string][]*dataflow.SkippedTicks)
	p := &dataflow.TickListParams{Limit: 10_000}
	entries := 0
	for {
		page, err := w.admin.SkippedTicks(w.Context(), p)
		require.NoError(w, err)
		for _, s := range page {
			p.Before = s.ID
			all[s.FlowName] = append(all[s.FlowName], s)
		}
		entries += len(page)
		if len(page) < p.Limit {
			w.did["ledger entries"] = entries
			return all
		}
	}
}

// queued checks that each run of a JobQueue has its River job.
func (w *week) queued() {
	w.Helper()
	var with, without int
	require.NoError(w, w.db.QueryRowContext(w.Context(), `
		select count(j.id), count(*) - count(j.id) from dataflow_run r left join river_job j on j.id = r.river_job_id and j.kind = 'data_flow'
		where r.queue <> ''`).Scan(&with, &without))
	require.Zero(w, without, "runs without their River jobs")
	require.Positive(w, with)
	w.did["runs with River jobs"] = with
}
