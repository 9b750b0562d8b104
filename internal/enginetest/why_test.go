package enginetest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// causes returns the codes and texts of Why.
func (t *dbT) causes(client *dataflow.Client, name string) (codes []dataflow.CauseCode, text string) {
	t.Helper()
	e, err := client.Why(t.Context(), name)
	require.NoError(t, err)
	for _, c := range e.Causes {
		codes = append(codes, c.Code)
	}
	t.Logf("%s:\n%s", name, e)
	return codes, e.String()
}

// Why has an answer at each stage of a flow's life.
func TestWhy(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(5))
		begun, open := make(chan struct{}, 1), make(chan struct{})
		fail := true
		flow := scheduled(10*time.Minute, dataflow.Schedule{PauseAfter: 1, Overlap: dataflow.OverlapBufferOne}, func(context.Context) error {
			if fail {
				return errBroken
			}
			begun <- struct{}{}
			<-open
			return nil
		})
		client := t.onClock(c, flow)
		codes, text := t.causes(client, "f")
		require.Equal(t, []dataflow.CauseCode{dataflow.CauseNoProcess, dataflow.CauseNextTick}, codes)
		require.Equal(t, "No process works it: no started client is alive. Only calls of client.Tick or of the heartbeat endpoint would.\nIts next tick is at 2031-02-03T04:10:00Z (in 5m0s).", text)

		stranger := t.client(&dataflow.Config{ID: "stranger", Clock: c.Now})
		t.started(stranger)
		require.Eventually(t, func() bool { return t.number("select count(*) from dataflow_process") == 1 }, patience, 10*time.Millisecond)
		codes, text = t.causes(client, "f")
		require.Equal(t, []dataflow.CauseCode{dataflow.CauseNotRegistered, dataflow.CauseNextTick}, codes)
		require.Contains(t, text, "none of the live processes (1: stranger) has a flow of this name")
		t.stop(stranger) // it would rescue the run below, whose lease the clock leaps over

		c.set(minute(10))
		require.Len(t, t.tick(client), 1)
		codes, text = t.causes(client, "f")
		require.Equal(t, dataflow.CauseTripped, codes[0])
		require.Contains(t, text, "Its ticks have started no runs since 2031-02-03T04:10:00Z (now), because a run has failed; run ")
		require.Contains(t, text, "one run tries whether it works again at 2031-02-03T05:10:00Z (in 1h0m0s)")
		require.Contains(t, text, "The ticks of its schedule start no runs while it is stopped by failures; the next is at 2031-02-03T04:20:00Z")
		require.Regexp(t, `Its last run, \d+, failed at 2031-02-03T04:10:00Z \(now\), after attempt 1 of 1, with: read: `+errBroken.Error(), text)

		_, err := client.Pause(t.Context(), "f", "ann", "the disk is full")
		require.NoError(t, err)
		c.set(minute(21))
		require.Empty(t, t.tick(client))
		codes, text = t.causes(client, "f")
		require.Equal(t, dataflow.CausePaused, codes[0])
		require.Contains(t, text, "It is paused since 2031-02-03T04:10:00Z (11m0s ago), by ann: the disk is full: call client.Resume to go on.")
		require.Contains(t, text, "The tick of 2031-02-03T04:20:00Z (1m0s ago) started no run: the flow was paused.")

		_, err = client.Resume(t.Context(), "f", "ann", "")
		require.NoError(t, err)
		fail = false
		c.set(minute(30))
		report, err := client.BeginTick(t.Context())
		require.NoError(t, err)
		receive(t, begun)
		c.set(minute(40))
		_, err = client.BeginTick(t.Context())
		require.NoError(t, err)
		e, err := client.Why(t.Context(), "f")
		require.NoError(t, err)
		require.True(t, e.Running)
		codes, text = t.causes(client, "f")
		require.Equal(t, []dataflow.CauseCode{dataflow.CauseRunning, dataflow.CauseBlocked, dataflow.CauseNextTick, dataflow.CauseFailed, dataflow.CauseSkipped}, codes)
		require.Regexp(t, `Run \d+ waits for run \d+, which is in progress on worker .+\. That lease ends at 2031-02-03T04:`, text)
		close(open)
		_, err = report.Wait(t.Context())
		require.NoError(t, err)

		_, err = client.Why(t.Context(), "nothing")
		require.ErrorIs(t, err, dataflow.ErrNotFound)
		requirePublic(t, err)
	})
}

// Runs wait for their time, their next attempt, and their queue.
func TestWhy_Waiting(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		flows := []*dataflow.Flow{
			dataflow.NewFlow("later", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), nil),
			dataflow.NewFlow("retry", numbers{n: 1}, dataflow.Map(func(context.Context, int) (int, error) { return 0, errBroken }), dataflow.ToTx(discard{}), nil),
			dataflow.NewFlow("off", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Disabled: true, Interval: time.Hour}}),
			dataflow.NewFlow("over", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{
				Runtime: dataflow.Heartbeat{Interval: time.Hour, Schedule: dataflow.Schedule{End: someTime.Add(-24 * time.Hour)}},
			}),
			dataflow.NewFlow("etl", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{Queue: "etl"}}),
		}
		client := t.onClock(c, flows...)
		_, err := client.Trigger(t.Context(), "later", &dataflow.TriggerOptions{At: someTime.Add(time.Hour), Actor: "ann", Reason: "tonight"})
		require.NoError(t, err)
		codes, text := t.causes(client, "later")
		require.Equal(t, []dataflow.CauseCode{dataflow.CauseNoProcess, dataflow.CauseNotDue, dataflow.CauseNoSchedule}, codes)
		require.Contains(t, text, "waits for its time, 2031-02-03T05:05:06Z (in 1h0m0s), by ann: tonight.")

		_, err = client.Trigger(t.Context(), "retry", nil)
		require.ErrorIs(t, err, errBroken)
		codes, text = t.causes(client, "retry")
		require.Contains(t, codes, dataflow.CauseBackingOff)
		require.Contains(t, text, "for its next attempt: attempt 1 of 5 failed with: ")

		codes, text = t.causes(client, "off")
		require.Contains(t, codes, dataflow.CauseDisabled)
		require.Contains(t, text, "The ticks of its schedule start no runs while it is disabled; the next is at 2031-02-03T05:00:00Z (in ")
		_, err = client.Pause(t.Context(), "off", "", "")
		require.NoError(t, err)
		_, text = t.causes(client, "off")
		require.Contains(t, text, "start no runs while it is paused and disabled; the next is at ")
		codes, _ = t.causes(client, "over")
		require.Contains(t, codes, dataflow.CauseScheduleOver)

		// One process does not work the queue, and another has it paused.
		_, err = client.Trigger(t.Context(), "etl", nil)
		require.NoError(t, err)
		other := t.client(&dataflow.Config{Clock: c.Now, River: t.withQueue("mail")})
		t.started(other)
		require.Eventually(t, func() bool { return t.number("select count(*) from dataflow_process") == 1 }, patience, 10*time.Millisecond)
		codes, text = t.causes(client, "etl")
		require.Contains(t, codes, dataflow.CauseNoWorker)
		require.Contains(t, text, `waits in the River queue "etl", which no live process works.`)
		worker := t.client(&dataflow.Config{Clock: c.Now, River: t.withQueue("etl")})
		t.started(worker)
		rc, ok := t.river(worker).(interface {
			QueuePause(ctx context.Context, name string, opts *river.QueuePauseOpts) error
		})
		require.True(t, ok)
		require.Eventually(t, func() bool { return rc.QueuePause(t.Context(), "etl", nil) == nil }, patience, 10*time.Millisecond)
		codes, text = t.causes(client, "etl")
		require.Contains(t, codes, dataflow.CauseQueuePaused)
		require.Contains(t, text, `which is paused.`)

		// Without a run that waits, the queue is told all the same, and once.
		_, err = client.CancelFlow(t.Context(), "etl", "ann", "not now")
		require.NoError(t, err)
		codes, text = t.causes(client, "etl")
		require.Contains(t, codes, dataflow.CauseQueuePaused)
		require.Equal(t, 1, strings.Count(text, "paused"), text)
		require.Contains(t, text, `Its River queue "etl" is paused: no run of it starts until somebody resumes the queue.`)
		queues, err := dataflow.RiverQueues(t.Context(), client)
		require.NoError(t, err)
		paused := make(map[string]bool)
		for _, q := range queues {
			paused[q.Name] = q.PausedAt != nil
			require.False(t, q.SeenAt.IsZero())
		}
		require.Equal(t, map[string]bool{"etl": true, "mail": false}, paused)
	})
}

// Of many waiting runs, Why explains the first, and the run that they wait for, even if
// it is older than a page of runs.
func TestWhy_Many(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(0))
		all := dataflow.Schedule{Overlap: dataflow.OverlapBufferAll, CatchUp: dataflow.CatchUpAll, CatchUpMax: 200}
		begun, open := make(chan struct{}, 1), make(chan struct{})
		client := t.onClock(c, scheduled(time.Second, all, func(context.Context) error {
			begun <- struct{}{}
			<-open
			return nil
		}))
		c.set(minute(2, 1)) // 121 ticks
		report, err := client.BeginTick(t.Context())
		require.NoError(t, err)
		require.Len(t, report.Fired, 121)
		receive(t, begun)
		e, err := client.Why(t.Context(), "f")
		require.NoError(t, err)
		require.True(t, e.Running)
		codes, text := t.causes(client, "f")
		require.Equal(t, []dataflow.CauseCode{
			dataflow.CauseRunning, dataflow.CauseBlocked, dataflow.CauseBlocked, dataflow.CauseBlocked, dataflow.CauseBlocked, dataflow.CauseNextTick,
		}, codes)
		require.Contains(t, text, "117 more of its runs wait after these.")
		require.Equal(t, report.Fired[0].ID, e.Causes[0].RunID)
		require.Equal(t, report.Fired[1].ID, e.Causes[1].RunID)
		_, err = client.CancelFlow(t.Context(), "f", "", "")
		require.NoError(t, err)
		close(open)
		t.stop(client)
	})
}

// A run whose worker has died is not shown as running.
func TestWhy_Lost(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		c := newClock()
		c.set(minute(0))
		client := t.onClock(c, hb(0, dataflow.Schedule{}))
		run, err := client.Trigger(t.Context(), "f", &dataflow.TriggerOptions{At: minute(0)})
		require.NoError(t, err)
		require.NoError(t, t.exec("update dataflow_run set state = 'in_progress', slot = 0, worker = 'w9', lease_no = 1, attempt = 1, lease_until = run_after"))
		c.set(minute(10))
		e, err := client.Why(t.Context(), "f")
		require.NoError(t, err)
		require.False(t, e.Running)
		codes, text := t.causes(client, "f")
		require.Equal(t, []dataflow.CauseCode{dataflow.CauseLost, dataflow.CauseNoProcess, dataflow.CauseNoSchedule}, codes)
		require.Contains(t, text, fmt.Sprintf("Run %d was in progress on worker w9, which did not renew its lease: the lease ended at 2031-02-03T04:00:00Z (10m0s ago)", run.ID))
	})
}

// A started client is listed until it stops, or for a while after it dies.
func TestProcesses(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		flow := dataflow.NewFlow("f", numbers{}, dataflow.Identity[int](), dataflow.ToTx(discard{}), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{Queue: "etl"}})
		client := t.client(&dataflow.Config{ID: "w1", CodeVersion: "v7", Flows: []*dataflow.Flow{flow}, Lease: time.Second})
		require.NoError(t, client.Start(t.Context()))
		var seen *dataflow.Process
		require.Eventually(t, func() bool {
			all, err := client.Processes(t.Context())
			require.NoError(t, err)
			if len(all) == 1 && (seen == nil || !all[0].SeenAt.After(seen.SeenAt)) {
				seen = all[0]
				return false
			}
			return len(all) == 1 // and it has said so again
		}, patience, 20*time.Millisecond)
		require.Equal(t, []any{"w1", "v7", []string{"f"}, []string{"etl"}}, []any{seen.ID, seen.CodeVersion, seen.Flows, seen.Queues})
		t.stop(client)
		require.Zero(t, t.number("select count(*) from dataflow_process"))
	})
}

// A tick's run waits for a run of its flow whose worker died, as a claim makes it wait, and for an
// earlier tick. So does a run that somebody has asked for, for a while.
func TestClient_Why_Turn(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.registered(t.numbersFlow("n", numbers{n: 1}, dataflow.Heartbeat{}))
		first, err := client.Enqueue(t.Context(), "n", nil)
		require.NoError(t, err)
		require.NoError(t, t.exec("update dataflow_run set unique_key = null"))
		second, err := client.Enqueue(t.Context(), "n", nil)
		require.NoError(t, err)
		require.NotEqual(t, first.ID, second.ID)
		require.NoError(t, t.exec(fmt.Sprintf("update dataflow_run set trigger = 'schedule' where id = %d", second.ID)))
		why := func() []string {
			t.Helper()
			e, err := client.Why(t.Context(), "n")
			require.NoError(t, err)
			var texts []string
			for _, c := range e.Causes {
				if c.Code == dataflow.CauseBlocked {
					texts = append(texts, c.Text)
				}
			}
			return texts
		}
		require.Empty(t, why())
		require.NoError(t, t.exec(fmt.Sprintf("update dataflow_run set rescues = 1, lease_no = 1 where id = %d", first.ID)))
		require.Equal(t, []string{fmt.Sprintf("Run %d waits for run %d, whose worker died, and which goes on first.", second.ID, first.ID)}, why())
		executor := dataflow.NewFlowExecutor(client)
		_, err = executor.Execute(t.Context(), second.ID)
		require.ErrorIs(t, err, dataflow.ErrAlreadyRunning, "the claim has the same rule")
		require.NoError(t, t.exec(fmt.Sprintf("update dataflow_run set rescues = 0, lease_no = 0, trigger = 'schedule', scheduled_for = '2020-01-01 00:00:00.000' where id = %d", first.ID)))
		require.Equal(t, []string{fmt.Sprintf("Run %d waits for run %d, an earlier tick.", second.ID, first.ID)}, why())

		// A run that somebody asked for waits for the time of a lease.
		require.NoError(t, t.exec("update dataflow_run set trigger = 'manual'"))
		require.NoError(t, t.exec(fmt.Sprintf("update dataflow_run set rescues = 1, lease_no = 1 where id = %d", first.ID)))
		require.Equal(t, []string{fmt.Sprintf("Run %d waits for run %d, whose worker died, and which goes on first.", second.ID, first.ID)}, why())
		_, err = executor.Execute(t.Context(), second.ID)
		require.ErrorIs(t, err, dataflow.ErrAlreadyRunning)
		require.NoError(t, t.exec(fmt.Sprintf("update dataflow_run set created_at = '2020-01-01 00:00:00.000' where id = %d", second.ID)))
		require.Empty(t, why())
		_, err = executor.Execute(t.Context(), second.ID)
		require.NoError(t, err)
	})
}

// A tick that finds nothing new is logged at LevelDebug alone.
func TestQuietTicks(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		logs := newLogs()
		t.table("n")
		client := t.client(&dataflow.Config{Logger: logs.logger(), Flows: []*dataflow.Flow{
			dataflow.NewFlow("n", numbers{n: 3}, dataflow.Identity[int](), appendTo("n"), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Hour}}),
		}})
		require.NoError(t, client.Register(t.Context()))
		for i, want := range []int{1, 1} {
			run, err := client.Enqueue(t.Context(), "n", nil)
			require.NoError(t, err)
			require.NoError(t, t.exec(fmt.Sprintf("update dataflow_run set trigger = 'schedule' where id = %d", run.ID)))
			_, err = dataflow.NewFlowExecutor(client).Execute(t.Context(), run.ID)
			require.NoError(t, err)
			require.Len(t, logs.lines("level=INFO msg=\"dataflow: run started\""), want, "run %d", i)
			require.Len(t, logs.lines("level=INFO msg=\"dataflow: run succeeded\""), want, "run %d", i)
		}
		run, err := client.Trigger(t.Context(), "n", nil) // somebody who asks is answered
		require.NoError(t, err)
		require.Zero(t, run.Counters.Read)
		require.Len(t, logs.lines("level=INFO msg=\"dataflow: run succeeded\""), 2)
	})
}

// A service's own River client may not work the queue of a flow. Its process does not say which queues it works, but
// River does.
func TestWhy_QueueOfJoinedRiver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		conf := t.withQueue("chores")
		conf.Workers = river.NewWorkers()
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{named("f", dataflow.JobQueue{Queue: "etl"}), named("g", dataflow.JobQueue{Queue: "chores"})}})
		require.NoError(t, client.AddWorker(conf.Workers))
		rc := t.joined(client, conf)
		require.NoError(t, rc.Start(t.Context()))
		t.Cleanup(func() { t.stop(rc) })
		t.started(client)
		run, err := client.Trigger(t.Context(), "g", nil) // once it is worked, River has listed the queue
		require.NoError(t, err)
		_, err = t.wait(client, run.ID)
		require.NoError(t, err)
		run, err = client.Trigger(t.Context(), "f", nil)
		require.NoError(t, err)
		for _, asked := range []*dataflow.Client{client, t.client(nil)} {
			codes, text := t.causes(asked, "f")
			require.Equal(t, dataflow.CauseNoWorker, codes[0])
			require.Contains(t, text, fmt.Sprintf(`Run %d waits in the River queue "etl", which no live process works: add it to the Queues of the service's River client, and start that client.`, run.ID))
		}
		t.stop(rc)
		_, err = client.Trigger(t.Context(), "g", nil)
		require.NoError(t, err)
		codes, text := t.causes(client, "g")
		require.Equal(t, dataflow.CauseStarting, codes[0])
		require.Contains(t, text, "it should start any moment, if the service's River client still works that queue: River heard of a worker last at 2")
	})
}

// An older release of a service may work the queue of a flow without our worker. River then fails the job each time,
// and waits longer and longer.
func TestWhy_QueueOfAStranger(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		conf := t.withQueue("chores")
		conf.Workers = river.NewWorkers()
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{named("f", dataflow.JobQueue{Queue: "etl"})}})
		require.NoError(t, client.AddWorker(conf.Workers))
		t.joined(client, conf)
		t.started(client)
		run, err := client.Trigger(t.Context(), "f", nil)
		require.NoError(t, err)

		older := t.withQueue("etl")
		older.Workers = river.NewWorkers()
		river.AddWorker(older.Workers, &choreWorker{})
		stranger := t.joined(t.client(nil), older)
		failed, cancel := stranger.Subscribe(river.EventKindJobFailed)
		defer cancel()
		require.NoError(t, stranger.Start(t.Context()))
		t.Cleanup(func() { t.stop(stranger) })
		select {
		case <-failed:
		case <-t.Context().Done():
		}
		for _, asked := range []*dataflow.Client{client, t.client(nil)} {
			codes, text := t.causes(asked, "f")
			require.Equal(t, dataflow.CauseNoWorker, codes[0], text)
			require.Contains(t, text, fmt.Sprintf(`Run %d has been due since`, run.ID))
			require.Contains(t, text, `a River client that works the queue "etl" does not have our worker: call Client.AddWorker for it, or give the flow a queue of its own. River's next try is due at 2`)
		}
	})
}

// Two services share a queue. The one that lacks a flow's code takes its jobs too, and puts them off.
func TestWhy_QueueShared(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		conf := t.withQueue("chores")
		conf.Workers = river.NewWorkers()
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{named("f", dataflow.JobQueue{Queue: "etl"})}})
		require.NoError(t, client.AddWorker(conf.Workers))
		t.joined(client, conf)
		t.started(client)
		other := t.working(named("g", dataflow.JobQueue{Queue: "etl"}))
		run, err := client.Trigger(t.Context(), "f", nil)
		require.NoError(t, err)
		require.Zero(t, other.next(run.RiverJobID).Attempt)
		_, text := t.causes(client, "f")
		require.Contains(t, text, "Of the processes that work this queue, ")
		require.Contains(t, text, " do not have the flow's code: whoever of them takes the job puts it off for 5s, again and again. Give the flow a queue of its own.")
	})
}

// A hook or middleware of the service, or somebody with SQL, may change the job of a run. Why looks at the job.
func TestWhy_JobElsewhere(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		conf := t.withQueue("etl")
		conf.Workers = river.NewWorkers()
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{named("f", dataflow.JobQueue{Queue: "etl"})}})
		require.NoError(t, client.AddWorker(conf.Workers))
		rc := t.joined(client, conf)
		require.NoError(t, rc.Start(t.Context()))
		t.started(client)
		run, err := client.Trigger(t.Context(), "f", nil) // once it is worked, River has listed the queue
		require.NoError(t, err)
		_, err = t.wait(client, run.ID)
		require.NoError(t, err)
		t.stop(rc)
		run, err = client.Trigger(t.Context(), "f", nil)
		require.NoError(t, err)
		text := func(after time.Duration) string { return time.Now().Add(after).UTC().Format(time.DateTime) }
		failed := `'[{"attempt": 1, "at": "2026-11-30T12:00:00Z", "error": "permission denied", "trace": ""}]'`
		if t.isPostgres {
			failed = `array[` + failed + `::jsonb -> 0]`
		}
		for _, c := range []struct {
			job, want string
			code      dataflow.CauseCode
		}{
			{"state = 'available'", `waits for a free worker: it should start any moment`, dataflow.CauseStarting},
			{"state = 'pending'", `is pending, where no worker takes it: a hook of River's client or somebody has set that. Once River's JobRetry is called`, dataflow.CauseNoWorker},
			{"state = 'scheduled', attempted_at = '" + text(0) + "', scheduled_at = '" + text(time.Hour) + "'", `River, a middleware of its client, or somebody has put it off`, dataflow.CauseNotDue},
			{"state = 'retryable', scheduled_at = '" + text(30*time.Second) + "', errors = " + failed, `failed before the run began. River tries it again at 2`, dataflow.CauseBackingOff},
			{"state = 'available', scheduled_at = '" + text(0) + "', queue = 'nobody'", `waits in the River queue "nobody", which no live process works`, dataflow.CauseNoWorker},
		} {
			require.NoError(t, t.exec(fmt.Sprintf("update river_job set %s where id = %d", c.job, run.RiverJobID)))
			codes, said := t.causes(client, "f")
			require.Contains(t, said, c.want)
			require.Equal(t, c.code, codes[0])
		}
	})
}

// A database that takes no writes, such as one on a full disk, does not hear of the processes that are alive.
func TestWhy_CannotSayAlive(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		refuse := "create trigger refuse before update on dataflow_process begin select raise(abort, 'the disk is full'); end"
		if t.isPostgres {
			require.NoError(t, t.exec("create function refuse() returns trigger language plpgsql as $$ begin raise 'the disk is full'; end $$"))
			refuse = "create trigger refuse before update on dataflow_process for each row execute function refuse()"
		}
		client := t.started(t.client(&dataflow.Config{Lease: time.Second, Flows: []*dataflow.Flow{named("f", dataflow.Heartbeat{})}}))
		require.NoError(t, t.exec(refuse))
		said := ""
		require.Eventually(t, func() bool {
			_, said = t.causes(client, "f")
			return strings.Contains(said, "This process has its code and is started, but cannot store that it is alive: ") && strings.Contains(said, "the disk is full")
		}, patience, 50*time.Millisecond)
		require.NotContains(t, said, "no started client is alive")
	})
}

// A River client without our worker takes no jobs of ours. The error says what is missing.
func TestUseRiver_WithoutWorker(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		conf := t.withQueue("etl")
		conf.Workers = river.NewWorkers()
		river.AddWorker(conf.Workers, &choreWorker{})
		client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{named("f", dataflow.JobQueue{Queue: "etl"})}})
		t.joined(client, conf)
		require.NoError(t, client.Register(t.Context()))
		_, err := client.Trigger(t.Context(), "f", nil)
		require.ErrorContains(t, err, "the River client has workers, but not ours: call Client.AddWorker with its Workers before river.NewClient")
		require.ErrorIs(t, err, &rivertype.UnknownJobKindError{})
	})
}
