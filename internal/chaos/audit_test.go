//go:build unix && chaos

package chaos_test

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
)

// Triggers keep a log of each checkpoint and of each change of a run's state. An entry is written
// in the transaction that caused it, and has the database's clock. The entry of a state has the
// number of other runs of the same kind, own runs or backfills, that were in progress.
//
// On Postgres, an entry also has the name of the worker's connection. So the log shows a commit
// by a worker that has lost the run, whatever worker the run's row names.
const auditPostgres = `
create table chaos_target (flow text not null, n bigint not null);
create table chaos_log (
	id bigint generated always as identity primary key, at double precision not null default extract(epoch from clock_timestamp()),
	event text not null, flow bigint not null default 0, run bigint not null default 0, worker text not null default '',
	lease bigint not null default 0, attempt integer not null default 0, rescues integer not null default 0, others integer not null default 0, backfill integer not null default 0,
	session text not null default current_setting('application_name'));
create function chaos_audit() returns trigger language plpgsql as $$
begin
	if tg_op = 'UPDATE' and new.read <> old.read then
		insert into chaos_log (event, flow, run, worker, lease, attempt, rescues)
		values ('checkpoint', new.flow_id, new.id, new.worker, new.lease_no, new.attempt, new.rescues);
	end if;
	if tg_op = 'INSERT' or new.state <> old.state then
		insert into chaos_log (event, flow, run, worker, lease, attempt, rescues, others, backfill)
		select new.state, new.flow_id, new.id, new.worker, new.lease_no, new.attempt, new.rescues,
			(select count(*) from dataflow_run where flow_id = new.flow_id and state = 'in_progress' and id <> new.id and (scope <> '') = (new.scope <> '')),
			case when new.scope <> '' then 1 else 0 end;
	end if;
	return new;
end $$;
create trigger chaos_audit after insert or update on dataflow_run for each row execute function chaos_audit();`

const auditSQLite = `
create table chaos_target (flow text not null, n integer not null);
create table chaos_log (
	id integer primary key autoincrement, at real not null default ((julianday('now') - 2440587.5) * 86400.0),
	event text not null, flow integer not null default 0, run integer not null default 0, worker text not null default '',
	lease integer not null default 0, attempt integer not null default 0, rescues integer not null default 0, others integer not null default 0, backfill integer not null default 0,
	session text not null default '');
create trigger chaos_audit_checkpoint after update on dataflow_run when new.read <> old.read begin
	insert into chaos_log (event, flow, run, worker, lease, attempt, rescues)
	values ('checkpoint', new.flow_id, new.id, new.worker, new.lease_no, new.attempt, new.rescues);
end;
create trigger chaos_audit_state after update on dataflow_run when new.state <> old.state begin
	insert into chaos_log (event, flow, run, worker, lease, attempt, rescues, others, backfill)
	select new.state, new.flow_id, new.id, new.worker, new.lease_no, new.attempt, new.rescues,
		(select count(*) from dataflow_run where flow_id = new.flow_id and state = 'in_progress' and id <> new.id and (scope <> '') = (new.scope <> '')),
		case when new.scope <> '' then 1 else 0 end;
end;
create trigger chaos_audit_insert after insert on dataflow_run begin
	insert into chaos_log (event, flow, run, worker, lease) values (new.state, new.flow_id, new.id, new.worker, new.lease_no);
end;`

// The events of the log that are not states of runs.
const (
	eventCheckpoint = "checkpoint"
	eventKilled     = "killed" // written by the test, just before or just after the kill
)

// entry is a line of the log.
type entry struct {
	at                float64 // seconds
	event, worker     string
	session           string // the worker whose connection committed it, on Postgres
	flow, run, lease  int64
	attempt, rescues  int
	others            int
	finished, holding bool // the run has ended, or is in progress
	backfill          bool
}

// log reads the log.
func (s *stage) log() []entry {
	s.Helper()
	rows, err := s.db.QueryContext(s.Context(), `select at, event, worker, session, flow, run, lease, attempt, rescues, others, backfill = 1 from chaos_log order by id`)
	require.NoError(s, err)
	defer rows.Close() //nolint:errcheck // rows.Err has the error
	var log []entry
	for rows.Next() {
		var e entry
		require.NoError(s, rows.Scan(&e.at, &e.event, &e.worker, &e.session, &e.flow, &e.run, &e.lease, &e.attempt, &e.rescues, &e.others, &e.backfill))
		e.finished = slices.Contains([]string{"success", "failed", "cancelled"}, e.event)
		e.holding = e.event == "in_progress"
		log = append(log, e)
	}
	require.NoError(s, rows.Err())
	return log
}

// checkLog checks that the log shows none of these:
//
//   - two of a flow's own runs in progress at once;
//   - more of a flow's backfills in progress at once than MaxBackfills allows;
//   - a commit under an old lease;
//   - on Postgres, a commit by a worker that did not have the run.
//
// It returns the most backfills of a flow that were in progress at once.
func (s *stage) checkLog(log []entry) (most int) {
	s.Helper()
	atOnce := 0
	for _, f := range s.flows {
		atOnce = max(atOnce, f.MaxBackfills)
	}
	type lane struct {
		flow     int64
		backfill bool
	}
	in := make(map[int64]lane)       // by run, while it is in progress
	inProgress := make(map[lane]int) // how many
	lease := make(map[int64]int64)   // by run
	for _, e := range log {
		if e.run == 0 {
			continue
		}
		require.GreaterOrEqual(s, e.lease, lease[e.run], "%s of run %d under an old lease", e.event, e.run)
		lease[e.run] = e.lease
		if s.kind == onPostgres && (e.event == eventCheckpoint || e.event == "in_progress" || e.event == "success") {
			require.Equal(s, e.worker, e.session, "%s of run %d by a worker that does not have it", e.event, e.run)
		}
		now, held := in[e.run]
		switch {
		case e.event == eventCheckpoint:
			require.True(s, held, "checkpoint of run %d, which was not in progress", e.run)
		case e.holding:
			l, others := lane{e.flow, e.backfill}, 0
			if e.backfill && atOnce > 0 {
				others = atOnce - 1
			}
			require.False(s, held, "run %d of flow %d began twice", e.run, e.flow)
			require.LessOrEqual(s, inProgress[l], others, "run %d of flow %d began while others were in progress", e.run, e.flow)
			require.LessOrEqual(s, e.others, others, "run %d of flow %d began while others were in progress", e.run, e.flow)
			in[e.run] = l
			inProgress[l]++
			if e.backfill {
				most = max(most, inProgress[l])
			}
		case held:
			delete(in, e.run)
			inProgress[now]--
		}
	}
	return most
}

// takeovers are the times that take-overs needed: from the kill of a worker to the next
// checkpoint or the end of each of its runs, by another worker.
func takeovers(log []entry) times {
	var took times
	holder := make(map[int64]string)
	dead := make(map[int64]entry) // the kill, by run
	for _, e := range log {
		if e.event == eventKilled {
			for run, worker := range holder {
				if worker == e.worker {
					dead[run] = e
				}
			}
			continue
		}
		kill, waits := dead[e.run]
		switch {
		case e.event == eventCheckpoint || e.finished:
			if waits && e.worker != kill.worker {
				took = append(took, seconds(e.at-kill.at))
			}
			if waits && (e.worker != kill.worker || e.finished) {
				delete(dead, e.run)
			}
		case e.holding:
			holder[e.run] = e.worker
		}
		if e.finished {
			delete(holder, e.run)
		}
	}
	return took
}

// gaps are the times between two checkpoints of a run.
func gaps(log []entry) times {
	var took times
	last := make(map[int64]float64)
	for _, e := range log {
		if e.event != eventCheckpoint {
			continue
		}
		if before, ok := last[e.run]; ok {
			took = append(took, seconds(e.at-before))
		}
		last[e.run] = e.at
	}
	return took
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// times are measured durations.
type times []time.Duration

// percentile returns the least of the times that at least p percent of all do not exceed.
func (t times) percentile(p float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t))
	i := int(math.Ceil(p/100*float64(len(t)))) - 1
	return sorted[max(i, 0)]
}

func (t times) String() string {
	round := func(p float64) time.Duration { return t.percentile(p).Round(time.Millisecond) }
	return fmt.Sprintf("%d: p50 %s, p99 %s, p100 %s", len(t), round(50), round(99), round(100))
}
