package enginetest_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// rawArgs are args of our jobs, as someone else may have written them.
type rawArgs string

func (rawArgs) Kind() string                   { return "data_flow" }
func (a rawArgs) MarshalJSON() ([]byte, error) { return []byte(a), nil }

// onQueue declares a flow of the numbers 1 to 3 on a JobQueue, quick to retry.
func onQueue(table string, transform dataflow.Transform[int, int], opts dataflow.FlowOptions) *dataflow.Flow {
	if opts.Runtime == nil {
		opts.Runtime = dataflow.JobQueue{BatchSize: 1}
	}
	if opts.Backoff == nil {
		opts.Backoff = func(int) time.Duration { return time.Millisecond }
	}
	return flowTo(table, 3, transform, &opts)
}

// failing fails the first record n times, and so n attempts. (The next record may be
// transformed in the meantime.)
func failing(n int64, err error) dataflow.Transform[int, int] {
	var calls atomic.Int64
	return dataflow.Map(func(_ context.Context, v int) (int, error) {
		if v == 1 && calls.Add(1) <= n {
			return 0, err
		}
		return v, nil
	})
}

// A job may name its flow in each of three ways, and no run.
func TestDataFlowJob_FlowRefs(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f")
		j := t.working(onQueue("f", failing(1, errBroken), dataflow.FlowOptions{MaxAttempts: 4}))
		flow, err := j.client.Flow(t.Context(), "f")
		require.NoError(t, err)
		for i, args := range []string{`{"flow_id":%d}`, `{"flow_id":"%d","more":[]}`, `{"flow_id":"gid://app/Flow/%d","run_id":0}`, `{"flow_id":"f"}`} {
			if strings.Contains(args, "%d") {
				args = fmt.Sprintf(args, flow.ID)
			}
			id := j.insert(rawArgs(args))
			run, err := t.wait(j.client, j.event(dataflow.EventRunStarted).Run.ID)
			require.NoError(t, err)
			require.Equal(t, id, run.RiverJobID)
			require.Equal(t, 4, run.MaxAttempts)
			require.Equal(t, dataflow.DefaultQueue, run.Queue)
			require.Len(t, run.Errors, map[int]int{0: 1}[i], "the first failed once, and went on in the same run")
			t.requireRows(int64(i+1), int64(i+1))
			for range j.events { // the rest of this run's
				if len(j.events) == 0 {
					break
				}
			}
		}
		t.requireExactly("f", 3)

		job := j.next(j.insert(rawArgs(`{"flow_id":"gone"}`))) // a flow that is missing
		require.Equal(t, rivertype.JobStateCompleted, job.State)
		require.Len(t, j.logs.lines("work flow gone: not found"), 1)
	})
}

// A job with nothing to work returns no error, and is not tried again.
func TestDataFlowJob_NothingToDo(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("done", "paused", "off")
		flows := func(off bool) []*dataflow.Flow {
			return []*dataflow.Flow{
				onQueue("done", dataflow.Identity[int](), dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}}),
				onQueue("paused", dataflow.Identity[int](), dataflow.FlowOptions{}),
				onQueue("off", dataflow.Identity[int](), dataflow.FlowOptions{Runtime: dataflow.JobQueue{Disabled: off}}),
			}
		}
		before := t.registered(flows(false)...)
		runs := make(map[string]*dataflow.Run)
		for _, name := range []string{"done", "paused", "off"} {
			run, err := t.execute(before, name)
			require.NoError(t, err)
			runs[name] = run
		}
		_, err := before.Pause(t.Context(), "paused", "ann", "a holiday")
		require.NoError(t, err)

		j := t.working(flows(true)...)
		require.Equal(t, rivertype.JobStateCompleted, j.next(runs["paused"].RiverJobID).State)
		require.Equal(t, rivertype.JobStateCompleted, j.next(runs["off"].RiverJobID).State)
		flow := dataflow.FlowRef(runs["done"].FlowID)
		jobs := map[string]dataflow.DataFlowArgs{
			"work flow 99: not found":                   {FlowID: 99},
			`claim run 999 of flow \"done\": not found`: {FlowID: flow, RunID: 999},
			"run is finished, with the state success":   {FlowID: flow, RunID: runs["done"].ID},
			"it is paused, by ann":                      {FlowID: dataflow.FlowRef(runs["paused"].FlowID)},
			"disabled: its runtime is":                  {FlowID: dataflow.FlowRef(runs["off"].FlowID)},
		}
		ids := make(map[string]int64)
		for name, args := range jobs {
			ids[name] = j.insert(args)
		}
		for name, id := range ids {
			require.Equal(t, rivertype.JobStateCompleted, j.next(id).State, name)
			lines := j.logs.lines(fmt.Sprintf("job=%d ", id))
			require.Len(t, lines, 1, name)
			require.Contains(t, lines[0], "job has nothing to do")
			require.Contains(t, lines[0], name)
		}
		for name, run := range runs {
			after, err := j.client.Run(t.Context(), run.ID)
			require.NoError(t, err)
			require.Equal(t, run, after, name)
		}
		require.Len(t, j.logs.lines("job has nothing to do"), 7)
		require.Equal(t, int64(3), t.number("select count(*) from dataflow_run"))

		_, err = j.client.Resume(t.Context(), "paused", "ann", "")
		require.NoError(t, err)
		_, err = t.wait(j.client, runs["paused"].ID)
		require.NoError(t, err)
		t.stop(j.client)
		again := t.started(t.client(&dataflow.Config{Flows: flows(false)}))
		_, err = t.wait(again, runs["off"].ID)
		require.NoError(t, err)
		t.requireExactly("paused", 3)
		t.requireExactly("off", 3)
	})
}

func TestDataFlowJob_BadArgs(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		j := t.working()
		wants := map[string]string{
			`[]`:                                   "array",
			`{}`:                                   "flow_id is missing",
			`{"flow_id":null}`:                     "flow_id is missing",
			`{"flow_id":""}`:                       "is not the id of a flow",
			`{"flow_id":"-1"}`:                     "is not the id of a flow",
			`{"flow_id":0}`:                        "flow_id 0 is not the id of a flow",
			`{"flow_id":1.5}`:                      "flow_id 1.5",
			`{"flow_id":"gid://app/Thing/1"}`:      "is not a global id of a flow, but of a Thing",
			`{"flow_id":"gid://app/Flow/"}`:        "is not a global id: its last part",
			`{"flow_id":1,"run_id":-1}`:            "run_id -1 is negative",
			`{"flow_id":1,"run_id":"one"}`:         "run_id",
			`{"flow_id":99999999999999999999}`:     "is not the id of a flow",
			`{"flow_id":"gid://app/Flow/1/more"}`:  "is not a global id: it has 4 parts",
			`{"flow_id":{"gid":"gid://a/Flow/1"}}`: "is not the id of a flow",
		}
		ids := make(map[string]int64)
		for args := range wants {
			ids[args] = j.insert(rawArgs(args))
		}
		for args, want := range wants {
			job := j.next(ids[args])
			require.Equal(t, rivertype.JobStateCancelled, job.State, args)
			require.Len(t, job.Errors, 1)
			require.Contains(t, job.Errors[0].Error, want)
			lines := j.logs.lines(fmt.Sprintf("job=%d ", job.ID))
			require.Len(t, lines, 1, args)
			require.Contains(t, lines[0], "level=ERROR")
			require.Contains(t, lines[0], "job discarded")
		}
		require.Zero(t, t.number("select count(*) from dataflow_run"))
	})
}

// A job waits for a process that has its flow's code.
func TestDataFlowJob_NotRegistered(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f")
		flow := onQueue("f", dataflow.Identity[int](), dataflow.FlowOptions{MaxAttempts: 2})
		run, err := t.execute(t.registered(flow), "f")
		require.NoError(t, err)
		stranger := t.working()
		for _, id := range []int64{run.RiverJobID, stranger.insert(rawArgs(fmt.Sprintf(`{"flow_id":%d}`, run.FlowID)))} {
			require.Less(t, stranger.next(id).Attempt, 1)
			job, err := stranger.river.JobGet(t.Context(), id)
			require.NoError(t, err)
			require.Zero(t, job.Attempt)
			require.Empty(t, job.Errors)
			require.Contains(t, []rivertype.JobState{rivertype.JobStateAvailable, rivertype.JobStateScheduled}, job.State)
			require.True(t, job.ScheduledAt.After(run.CreatedAt.Add(3*time.Second)))
		}
		require.Len(t, stranger.logs.lines("job waits for a process that has the flow's code"), 2)
		same, err := stranger.client.Run(t.Context(), run.ID)
		require.NoError(t, err)
		require.Equal(t, run, same)
		t.stop(stranger.client)

		require.NoError(t, t.exec("update river_job set state = 'available', scheduled_at = created_at"))
		j := t.working(flow)
		run, err = t.wait(j.client, run.ID)
		require.NoError(t, err)
		require.Equal(t, 1, run.Attempt)
		for range 2 {
			e := j.event(dataflow.EventRunSucceeded)
			require.Equal(t, 2, e.Run.MaxAttempts)
		}
		t.requireExactly("f", 3)
	})
}

// A job waits if it comes too early, or while another run of its flow is in progress.
// That spends no attempt.
func TestDataFlowJob_Waits(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f")
		reached, release := make(chan struct{}), make(chan struct{})
		var once sync.Once
		j := t.working(onQueue("f", dataflow.Map(func(_ context.Context, v int) (int, error) {
			once.Do(func() { close(reached); <-release })
			return v, nil
		}), dataflow.FlowOptions{}))
		later, err := j.client.Trigger(t.Context(), "f", &dataflow.TriggerOptions{At: someTime})
		require.NoError(t, err)
		early := j.next(j.insert(dataflow.DataFlowArgs{FlowID: dataflow.FlowRef(later.FlowID), RunID: later.ID}))
		require.Equal(t, rivertype.JobStateScheduled, early.State)
		require.Zero(t, early.Attempt)
		require.WithinDuration(t, someTime, early.ScheduledAt, time.Minute)

		first, err := t.execute(j.client, "f")
		require.NoError(t, err)
		receive(t, reached)
		second, err := t.execute(j.client, "f")
		require.NoError(t, err)
		require.NotEqual(t, first.ID, second.ID)
		busy := j.next(second.RiverJobID)
		require.Zero(t, busy.Attempt)
		require.Equal(t, rivertype.JobStateAvailable, busy.State)
		close(release)
		for _, run := range []*dataflow.Run{first, second} {
			run, err := t.wait(j.client, run.ID)
			require.NoError(t, err)
			require.Equal(t, 1, run.Attempt)
		}
		t.requireExactly("f", 3)
	})
}

// While the database is away, or something is in its way, a job waits a second at a time for its claim. River's own
// waits would grow to minutes.
func TestDataFlowJob_Trouble(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"57P01", "57014", "55P03"} {
		t.Run(code, func(inner *testing.T) {
			inner.Parallel()
			t := migratedPostgres(inner)
			t.table("f")
			j := t.working(onQueue("f", dataflow.Identity[int](), dataflow.FlowOptions{}))
			for _, sql := range []string{
				`create table trouble as select 1`,
				`create function refuse() returns trigger language plpgsql as $$ begin
					if exists (select from trouble) then raise exception 'as if' using errcode = '` + code + `'; end if;
					return new; end $$`,
				`create trigger refuse before update on dataflow_run for each row when (new.lease_no > old.lease_no) execute function refuse()`,
			} {
				require.NoError(t, t.exec(sql))
			}
			run, err := t.execute(j.client, "f")
			require.NoError(t, err)
			snoozed := j.next(run.RiverJobID)
			require.Equal(t, rivertype.JobStateAvailable, snoozed.State, "River's own wait was taken: %v", snoozed.Errors)
			require.Zero(t, snoozed.Attempt)
			require.NotEmpty(t, j.logs.lines("working a due run failed; trying again"))
			why, err := j.client.Why(t.Context(), "f")
			require.NoError(t, err)
			require.Regexp(t, "it should start any moment.* Its workers have put it off (once|[0-9]+ times), as while another run has its place, or the database delays or refuses a claim: their logs tell of such trouble", why.String())
			require.NoError(t, t.exec("delete from trouble"))
			run, err = t.wait(j.client, run.ID)
			require.NoError(t, err)
			require.Equal(t, 1, run.Attempt)
			require.Zero(t, run.Rescues)
			t.requireExactly("f", 3)
		})
	}
}

// River tries a job again when the run is due again.
func TestDataFlowJob_RetryAt(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("soon", "late", "never")
		after := dataflow.RetryAfter(errBroken, 2*time.Hour)
		j := t.working(
			onQueue("late", failing(9, errBroken), dataflow.FlowOptions{Backoff: func(attempt int) time.Duration { return time.Duration(attempt) * time.Hour }}),
			onQueue("soon", failing(9, after), dataflow.FlowOptions{}),
			onQueue("never", failing(9, dataflow.Permanent(errBroken)), dataflow.FlowOptions{}),
		)
		for name, delay := range map[string]time.Duration{"late": time.Hour, "soon": 2 * time.Hour} {
			run, err := t.execute(j.client, name)
			require.NoError(t, err)
			job := j.next(run.RiverJobID)
			run, err = j.client.Run(t.Context(), run.ID)
			require.NoError(t, err)
			require.Equal(t, dataflow.RunPending, run.State)
			require.Equal(t, rivertype.JobStateRetryable, job.State)
			require.False(t, job.ScheduledAt.Before(run.RunAfter.Truncate(time.Millisecond)), "River would be early")
			require.WithinDuration(t, run.RunAfter, job.ScheduledAt, patience)
			require.WithinDuration(t, run.StartedAt.Add(delay), run.RunAfter, patience) // delay is an hour or more
			require.Len(t, job.Errors, 1)
			require.Contains(t, job.Errors[0].Error, errBroken.Error())
			require.Contains(t, job.Errors[0].Error, fmt.Sprintf("flow %q run %d", name, run.ID))
		}
		run, err := t.execute(j.client, "never")
		require.NoError(t, err)
		job := j.next(run.RiverJobID)
		require.Equal(t, rivertype.JobStateCancelled, job.State)
		require.Contains(t, job.Errors[0].Error, errBroken.Error())
		run, err = t.wait(j.client, run.ID)
		requirePublic(t, err)
		var re *dataflow.RunError
		require.ErrorAs(t, err, &re)
		require.Equal(t, dataflow.RunFailed, run.State)
		require.Equal(t, 1, run.Attempt)
	})
}

// When the run's attempts are used up, so are the job's. A wait that is over at once
// does not make River use its own policy.
func TestDataFlowJob_Exhausted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f", "g")
		j := t.working(
			onQueue("f", failing(99, errBroken), dataflow.FlowOptions{MaxAttempts: 4, Backoff: func(int) time.Duration { return 0 }}),
			onQueue("g", failing(3, dataflow.RetryAfter(errBroken, 0)), dataflow.FlowOptions{MaxAttempts: 4, Backoff: func(int) time.Duration { return time.Hour }}),
		)
		run, err := t.execute(j.client, "f")
		require.NoError(t, err)
		var job *rivertype.JobRow
		for attempt := 1; attempt <= 4; attempt++ {
			job = j.next(run.RiverJobID)
			require.Equal(t, attempt, job.Attempt)
			require.Len(t, job.Errors, attempt)
		}
		require.Equal(t, rivertype.JobStateDiscarded, job.State)
		run, err = t.wait(j.client, run.ID)
		requirePublic(t, err)
		require.Equal(t, dataflow.RunFailed, run.State)
		require.Equal(t, 4, run.Attempt)
		require.Len(t, run.Errors, 4)
		require.Len(t, j.logs.lines("attempt failed; trying again"), 3)
		require.Len(t, j.logs.lines("run failed"), 1)

		run, err = t.execute(j.client, "g")
		require.NoError(t, err)
		run, err = t.wait(j.client, run.ID)
		require.NoError(t, err)
		require.Equal(t, 4, run.Attempt)
	})
}

// A job that is cancelled in River cancels its run.
func TestDataFlowJob_CancelledInRiver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.table("f")
		started := make(chan struct{})
		j := t.working(onQueue("f", dataflow.Map(func(ctx context.Context, v int) (int, error) {
			if v == 2 {
				close(started)
				<-ctx.Done()
			}
			return v, ctx.Err()
		}), dataflow.FlowOptions{}))
		run, err := t.execute(j.client, "f")
		require.NoError(t, err)
		receive(t, started)
		j.event(dataflow.EventRunProgress) // the first record may be written while the second is transformed
		_, err = j.river.JobCancel(t.Context(), run.RiverJobID)
		require.NoError(t, err)
		require.Equal(t, rivertype.JobStateCancelled, j.next(run.RiverJobID).State)
		run, err = t.wait(j.client, run.ID)
		requirePublic(t, err)
		require.ErrorContains(t, err, "cancelled: by River: its job was cancelled")
		require.Equal(t, dataflow.RunCancelled, run.State)
		t.requireExactly("f", 1)
		require.Error(t, j.event(dataflow.EventRunCancelled).Err)
	})
}

// riverTime is a clock of River's alone, as a service's tests may have it.
type riverTime struct{ by time.Duration }

func (r riverTime) Now() time.Time { return time.Now().Add(r.by) }

func (r riverTime) NowOrNil() *time.Time {
	now := r.Now()
	return &now
}

// River takes jobs up by its own clock if that is replaced. So their times are left to it.
func TestDataFlowJob_RiverClock(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		conf := t.quickRiver()
		conf.Test.Time = riverTime{-time.Hour}
		client := t.started(t.client(&dataflow.Config{River: conf, Flows: []*dataflow.Flow{t.numbersFlow("orders", numbers{n: 3}, dataflow.JobQueue{})}}))
		run, err := client.Enqueue(t.Context(), "orders", nil)
		require.NoError(t, err)
		_, err = t.wait(client, run.ID)
		require.NoError(t, err)
		t.exactly(3)
	})
}
