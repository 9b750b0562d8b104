//go:build unix

package week_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// Triggers of the database record the most runs of a flow that were in progress at once, and
// each change of a schedule.
const (
	overlapPostgres = `
create table week_overlap (flow_id bigint primary key, most bigint not null);
create table week_edit (flow_id bigint, schedule text, at timestamptz, next timestamptz);
create function week_overlap() returns trigger language plpgsql as $$
begin
	insert into week_overlap as w select new.flow_id, count(*) from dataflow_run where flow_id = new.flow_id and state = 'in_progress'
	on conflict (flow_id) do update set most = greatest(w.most, excluded.most);
	return new;
end $$;
create function week_edit() returns trigger language plpgsql as $$
begin
	insert into week_edit values (new.id, new.schedule::text, new.schedule_at, new.next_run_at);
	return new;
end $$;
create trigger week_overlap after update of state on dataflow_run for each row when (new.state = 'in_progress') execute function week_overlap();
create trigger week_edit after update on dataflow_flow for each row when (new.schedule is distinct from old.schedule) execute function week_edit();`
	overlapSQLite = `
create table week_overlap (flow_id integer primary key, most integer not null);
create table week_edit (flow_id integer, schedule text, at text, next text);
create trigger week_overlap after update of state on dataflow_run when new.state = 'in_progress' begin
	insert into week_overlap (flow_id, most)
	select new.flow_id, count(*) from dataflow_run where flow_id = new.flow_id and state = 'in_progress'
	on conflict (flow_id) do update set most = max(week_overlap.most, excluded.most);
end;
create trigger week_edit after update on dataflow_flow when new.schedule is not old.schedule begin
	insert into week_edit values (new.id, new.schedule, new.schedule_at, new.next_run_at);
end;`
)

// promised is how soon the run of a tick exists.
const promised = 5 * time.Second

// version is a schedule that was valid from a moment on.
type version struct {
	every time.Duration
	from  time.Time
}

// audit checks that every tick is accounted for exactly once.
func (s *seconds) audit() {
	s.Helper()
	var delays []time.Duration
	counts := make(map[dataflow.SkipReason]int)
	for _, f := range secondsFlows {
		flow, err := s.client.Flow(s.Context(), f.name)
		require.NoError(s, err)
		got := s.accounts(f.name, &delays)
		require.NotNil(s, flow.NextRunAt)
		ticks := s.nominal(flow, len(f.schedule.Cron) > 0)
		require.NotEmpty(s, ticks)
		for _, at := range ticks {
			reason, ok := got[at.UnixMilli()]
			require.True(s, ok, "the tick %s of %s is not accounted for", at, f.name)
			counts[reason]++
			delete(got, at.UnixMilli())
			if reason == dataflow.SkipPaused {
				require.Equal(s, pausedFlow, f.name)
			}
		}
		require.Empty(s, got, "%s has entries for times that are not its ticks: %v", f.name, ticks)
		var most int
		require.NoError(s, s.db.QueryRowContext(s.Context(), fmt.Sprintf("select coalesce(max(most), 0) from week_overlap where flow_id = %d", flow.ID)).Scan(&most))
		allowed := 1
		if f.schedule.Overlap == dataflow.OverlapAllow(3) {
			allowed = 3
		}
		require.LessOrEqual(s, most, allowed, "runs of %s at once", f.name)
	}
	require.Positive(s, counts[dataflow.SkipPaused])
	require.Positive(s, counts[dataflow.SkipOverlap])
	require.NotEmpty(s, delays)
	slices.Sort(delays)
	s.Logf("ticks: %v; delay of the run for %d ticks while a process was alive: %s (p50), %s (p99), %s (slowest)", counts, len(delays),
		delays[len(delays)/2], delays[len(delays)*99/100], delays[len(delays)-1])
	within := time.Minute
	if os.Getenv(longEnv) == "long" {
		within = promised
	}
	require.Less(s, delays[len(delays)-1], within)
}

// accounts returns the fates of a flow's ticks, and adds the delays of their runs to delays.
func (s *seconds) accounts(name string, delays *[]time.Duration) map[int64]dataflow.SkipReason {
	s.Helper()
	got := make(map[int64]dataflow.SkipReason)
	runs, err := s.client.Runs(s.Context(), &dataflow.RunListParams{Flow: name, Trigger: dataflow.TriggerSchedule, Limit: 10_000})
	require.NoError(s, err)
	for _, run := range runs {
		require.Empty(s, got[run.ScheduledFor.UnixMilli()], "two runs of a tick")
		got[run.ScheduledFor.UnixMilli()] = fired
		if s.alive(run.ScheduledFor, promised) || s.alive(run.ScheduledFor, run.CreatedAt.Sub(run.ScheduledFor)) {
			*delays = append(*delays, run.CreatedAt.Sub(run.ScheduledFor))
		}
	}
	ledger, err := s.client.SkippedTicks(s.Context(), &dataflow.TickListParams{Flow: name, Limit: 10_000})
	require.NoError(s, err)
	for _, entry := range ledger {
		step := time.Second
		if entry.Count > 1 {
			step = entry.Last.Sub(entry.First) / time.Duration(entry.Count-1)
		}
		require.Contains(s, []time.Duration{time.Second, 2 * time.Second}, step, "%+v", entry)
		for at := entry.First; !at.After(entry.Last); at = at.Add(step) {
			require.Empty(s, got[at.UnixMilli()], "the tick %s of %s is accounted for twice", at, name)
			got[at.UnixMilli()] = entry.Reason
		}
	}
	return got
}

// nominal computes the ticks of a flow from its registration to before its next tick.
func (s *seconds) nominal(flow *dataflow.Flow, cron bool) []time.Time {
	s.Helper()
	offset := flow.NextRunAt.Sub(flow.NextRunAt.Truncate(time.Second))
	if flow.Name != "stagger" {
		require.Zero(s, offset)
	}
	versions := s.versions(flow, cron)
	var ticks []time.Time
	for i, v := range versions {
		until := flow.NextRunAt.Add(-1)
		if i+1 < len(versions) {
			until = versions[i+1].from
		}
		for at := v.from.Truncate(v.every).Add(-v.every + offset); !at.After(until); at = at.Add(v.every) {
			if at.After(v.from) {
				ticks = append(ticks, at)
			}
		}
	}
	return ticks
}

// versions reads the schedules of a flow, in the order in which they were valid.
func (s *seconds) versions(flow *dataflow.Flow, cron bool) []version {
	s.Helper()
	rows, err := s.db.QueryContext(s.Context(), fmt.Sprintf("select schedule, at from week_edit where flow_id = %d", flow.ID))
	require.NoError(s, err)
	defer rows.Close() //nolint:errcheck // only to be read
	var versions []version
	for rows.Next() {
		var text string
		v := version{every: time.Second}
		require.NoError(s, rows.Scan(&text, at{&v.from}))
		var schedule struct{ Interval int }
		require.NoError(s, json.Unmarshal([]byte(text), &schedule))
		if !cron {
			v.every = time.Duration(schedule.Interval) * time.Second
		}
		versions = append(versions, v)
	}
	require.NoError(s, rows.Err())
	slices.SortFunc(versions, func(a, b version) int { return cmp.Compare(a.from.UnixNano(), b.from.UnixNano()) })
	require.NotEmpty(s, versions)
	return versions
}
