package dataflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// Why answers "why is my flow not running?".
func ExampleClient_Why() {
	ctx := context.Background()
	now := newYear()
	client, done := openAt(&now, orderFlow(nil))
	defer done()
	_, err := client.Pause(ctx, "orders", "ada", "the shop moves")
	check(err)

	why, err := client.Why(ctx, "orders")
	check(err)
	fmt.Println(why.Running, why.Causes[0].Code)
	fmt.Println(why.Causes[0].Text)
	// Output:
	// false paused
	// It is paused since 2030-01-01T00:00:00Z (now), by ada: the shop moves: call client.Resume to go on.
}

// A backfill reads a part of the source again. The flow's own cursor stays where it is.
func ExampleClient_Backfill() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()
	_, err := client.Trigger(ctx, "orders", nil)
	check(err)

	run, err := client.Backfill(ctx, "orders", &dataflow.BackfillParams{
		From: json.RawMessage("1"), Actor: "ada", Reason: "prices were wrong",
	})
	check(err)
	_, err = client.Tick(ctx) // A started client works it without.
	check(err)
	run, err = client.Run(ctx, run.ID)
	check(err)
	fmt.Println(run.Trigger, run.State, run.Counters.Read, "read")
	// Output: backfill success 2 read
}

// BackfillRanges splits a large backfill, so that several processes can work on it.
func ExampleClient_BackfillRanges() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()
	_, err := db.ExecContext(ctx, `create table sale (id integer primary key);
		insert into sale with recursive n(id) as (select 1 union all select id + 1 from n where id < 90) select id from n`)
	check(err)
	type sale struct{ ID int64 }
	flow := dataflow.NewFlow("sales", sqltable.Keyset[sale](db, sqltable.Query{SQL: `select id from sale`, Key: []string{"id"}}),
		dataflow.Identity[sale](), memory.NewSink[sale]().Target(), &dataflow.FlowOptions{MaxBackfills: 3})
	client := connect(db, &dataflow.Config{Flows: []*dataflow.Flow{flow}})

	_, err = client.BackfillRanges(ctx, "sales", 3, nil)
	check(err)
	runs, err := client.Tick(ctx)
	check(err)
	for _, run := range runs {
		fmt.Println(run.State, run.Counters.Read, "read")
	}
	// Output:
	// success 30 read
	// success 30 read
	// success 30 read
}

// parseFlow parses numbers. A text that is no number becomes a dead letter.
func parseFlow(parse func(string) (int, error)) *dataflow.Flow {
	return dataflow.NewFlow("numbers", memory.Slice([]string{"1", "two", "3"}),
		dataflow.Map(func(_ context.Context, s string) (int, error) { return parse(s) }),
		memory.NewSink[int]().Target(),
		&dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(100)})
}

// DeadLetters lists the bad records that a policy has kept.
func ExampleClient_DeadLetters() {
	ctx := context.Background()
	client, done := open(parseFlow(strconv.Atoi))
	defer done()
	_, err := client.Trigger(ctx, "numbers", nil)
	check(err)

	letters, err := client.DeadLetters(ctx, &dataflow.DeadLetterListParams{Flow: "numbers", Open: true})
	check(err)
	for _, letter := range letters {
		fmt.Println(letter.Stage, letter.Key, string(letter.Payload), letter.Error)
	}
	// Output: transform row 2 "two" strconv.Atoi: parsing "two": invalid syntax
}

// Replay writes dead letters once the code is mended.
func ExampleClient_Replay() {
	ctx := context.Background()
	parse := strconv.Atoi
	client, done := open(parseFlow(func(s string) (int, error) { return parse(s) }))
	defer done()
	_, err := client.Trigger(ctx, "numbers", nil)
	check(err)

	parse = func(string) (int, error) { return 2, nil } // the mended code
	report, err := client.Replay(ctx, "numbers", nil)
	check(err)
	fmt.Println(len(report.Replayed), "replayed,", len(report.Failed), "failed")
	// Output: 1 replayed, 0 failed
}

// A record that is wrong is mended by hand, and then replayed.
func ExampleClient_EditDeadLetter() {
	ctx := context.Background()
	client, done := open(parseFlow(strconv.Atoi))
	defer done()
	_, err := client.Trigger(ctx, "numbers", nil)
	check(err)
	letters, err := client.DeadLetters(ctx, nil)
	check(err)

	_, err = client.EditDeadLetter(ctx, letters[0].ID, json.RawMessage(`"2"`), "ada")
	check(err)
	_, err = client.Replay(ctx, "numbers", &dataflow.ReplayParams{IDs: []int64{letters[0].ID}})
	check(err)
	letter, err := client.DeadLetter(ctx, letters[0].ID)
	check(err)
	fmt.Println(letter.State, string(letter.Payload), "by", letter.EditedBy, "from", string(letter.Original))
	// Output: replayed "2" by ada from "two"
}

// A dead letter whose record is not wanted is discarded, and stays in the list.
func ExampleClient_CloseDeadLetters() {
	ctx := context.Background()
	client, done := open(parseFlow(strconv.Atoi))
	defer done()
	_, err := client.Trigger(ctx, "numbers", nil)
	check(err)

	n, err := client.CloseDeadLetters(ctx, "numbers", &dataflow.CloseDeadLettersParams{
		All: true, State: dataflow.DeadLetterDiscarded, Actor: "ada", Reason: "test data",
	})
	check(err)
	letters, err := client.DeadLetters(ctx, nil)
	check(err)
	fmt.Println(n, letters[0].State, "by", letters[0].ClosedBy+":", letters[0].Reason)
	// Output: 1 discarded by ada: test data
}

// Cancel ends a run, whichever process works it.
func ExampleClient_Cancel() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()
	run, err := client.Enqueue(ctx, "orders", nil)
	check(err)

	run, err = client.Cancel(ctx, run.ID, "ada", "not today")
	check(err)
	fmt.Println(run.State, "by", run.CancelledBy+":", run.CancelReason)
	// Output: cancelled by ada: not today
}

// CancelFlow ends all runs of a flow. Pause it first, so that no other run starts.
func ExampleClient_CancelFlow() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()
	_, err := client.Enqueue(ctx, "orders", nil)
	check(err)

	_, err = client.Pause(ctx, "orders", "ada", "the shop moves")
	check(err)
	runs, err := client.CancelFlow(ctx, "orders", "ada", "the shop moves")
	check(err)
	fmt.Println(len(runs), runs[0].State)
	// Output: 1 cancelled
}

// Subscribe reports the events of this process's runs: for metrics, or alerts.
func ExampleClient_Subscribe() {
	client, done := open(orderFlow(nil))
	defer done()
	events, end := client.Subscribe(dataflow.EventRunStarted, dataflow.EventRunSucceeded, dataflow.EventRunFailed)

	_, err := client.Trigger(context.Background(), "orders", nil)
	check(err)
	end()
	for event := range events {
		fmt.Println(event.Kind, event.Run.FlowName, event.Run.Counters.Read)
	}
	// Output:
	// run_started orders 0
	// run_succeeded orders 3
}

// FlowStats returns what dashboards and metrics are made of.
func ExampleClient_FlowStats() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()
	_, err := client.Trigger(ctx, "orders", nil)
	check(err)
	_, err = client.Enqueue(ctx, "orders", nil)
	check(err)

	stats, err := client.FlowStats(ctx)
	check(err)
	for _, s := range stats {
		fmt.Println(s.Flow, s.State, string(s.Cursor), "due:", s.Due, "failures:", s.Failures)
	}
	// Output: orders active 3 due: 1 failures: 0
}

// Elect lets one process at a time do what all processes could.
func ExampleClient_Elect() {
	client, done := open(orderFlow(nil))
	defer done()

	is, err := client.Elect(context.Background(), "nightly mail", time.Minute)
	check(err)
	fmt.Println(is)
	// Output: true
}

// Cursor returns where the flow's next run begins.
func ExampleClient_Cursor() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()
	run, err := client.Trigger(ctx, "orders", nil)
	check(err)

	cursor, err := client.Cursor(ctx, "orders")
	check(err)
	fmt.Println(string(cursor.Cursor), "by run", cursor.RunID == run.ID)
	// Output: 3 by run true
}

// SetCursor rewinds a flow, which then reads records again.
func ExampleClient_SetCursor() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()
	_, err := client.Trigger(ctx, "orders", nil)
	check(err)

	seen, err := client.Cursor(ctx, "orders")
	check(err)
	_, err = client.SetCursor(ctx, "orders", &dataflow.SetCursorParams{
		Cursor: json.RawMessage("1"), IfSeq: &seen.Seq, Actor: "ada", Reason: "prices were wrong",
	})
	check(err)
	run, err := client.Trigger(ctx, "orders", nil)
	check(err)
	fmt.Println(run.Counters.Read, "read again")
	// Output: 2 read again
}

// CursorHistory lists who has set a flow's cursor, and why.
func ExampleClient_CursorHistory() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()
	_, err := client.SetCursor(ctx, "orders", &dataflow.SetCursorParams{
		Cursor: json.RawMessage("2"), IfCursor: json.RawMessage("null"), Actor: "ada", Reason: "skip the old ones",
	})
	check(err)

	changes, err := client.CursorHistory(ctx, "orders", nil)
	check(err)
	for _, change := range changes {
		fmt.Printf("%s: from %q to %q: %s\n", change.Actor, change.From, change.To, change.Reason)
	}
	// Output: ada: from "" to "2": skip the old ones
}

// Audit lists who did what to flows, when and why.
func ExampleClient_Audit() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()
	_, err := client.Pause(ctx, "orders", "ada", "the shop is closed")
	check(err)
	_, err = client.Resume(ctx, "orders", "ada", "it is open again")
	check(err)

	entries, err := client.Audit(ctx, &dataflow.AuditListParams{Flow: "orders"})
	check(err)
	for _, e := range entries {
		fmt.Printf("%s: %s from %s to %s: %s\n", e.Actor, e.Action, e.Before, e.After, e.Reason)
	}
	// Output:
	// ada: resume from {"state":"inactive"} to {"state":"active"}: it is open again
	// ada: pause from {"state":"active"} to {"state":"inactive"}: the shop is closed
}

// DryRun previews the next records, and changes nothing.
func ExampleClient_DryRun() {
	ctx := context.Background()
	client, done := open(parseFlow(strconv.Atoi))
	defer done()

	report, err := client.DryRun(ctx, "numbers", &dataflow.DryRunParams{Limit: 2})
	check(err)
	for _, record := range report.Records {
		fmt.Printf("%s: %s: %s\n", record.Key, record.Before, record.Outcome)
	}
	fmt.Println("more:", report.More)
	// Output:
	// row 1: "1": write
	// row 2: "two": bad
	// more: true
}

// Pause stops a flow on all processes, until Resume.
func ExampleClient_Pause() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()

	flow, err := client.Pause(ctx, "orders", "ada", "the shop moves")
	check(err)
	fmt.Println(flow.State, "by", flow.StateBy+":", flow.StateReason)
	_, err = client.Trigger(ctx, "orders", nil)
	fmt.Println(errors.Is(err, dataflow.ErrDisabled))
	// Output:
	// inactive by ada: the shop moves
	// true
}

// Resume makes a paused flow active again.
func ExampleClient_Resume() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()
	_, err := client.Pause(ctx, "orders", "ada", "the shop moves")
	check(err)

	flow, err := client.Resume(ctx, "orders", "ada", "it has moved")
	check(err)
	run, err := client.Trigger(ctx, "orders", nil)
	check(err)
	fmt.Println(flow.State, run.State)
	// Output: active success
}

// Runs lists runs, newest first, page by page.
func ExampleClient_Runs() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()
	for range 3 {
		_, err := client.Trigger(ctx, "orders", nil)
		check(err)
	}

	params := &dataflow.RunListParams{Flow: "orders", States: []dataflow.RunState{dataflow.RunSuccess}, Limit: 2}
	for {
		page, err := client.Runs(ctx, params)
		check(err)
		if len(page) == 0 {
			break
		}
		for _, run := range page {
			fmt.Println("run", run.ID, run.State, "read", run.Counters.Read)
			params.Before = run.ID
		}
		fmt.Println("--")
	}
	// Output:
	// run 3 success read 0
	// run 2 success read 0
	// --
	// run 1 success read 3
	// --
}

// Run returns one run by its id.
func ExampleClient_Run() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()
	started, err := client.Enqueue(ctx, "orders", &dataflow.TriggerOptions{Actor: "ada", Reason: "month end"})
	check(err)

	run, err := client.Run(ctx, started.ID)
	check(err)
	fmt.Println(run.State, "for", run.Actor+":", run.Reason)
	_, err = client.Run(ctx, 1000)
	fmt.Println(errors.Is(err, dataflow.ErrNotFound))
	// Output:
	// pending for ada: month end
	// true
}

// Wait waits until a run has ended, in whichever process.
func ExampleClient_Wait() {
	ctx := context.Background()
	client, done := open(parseFlow(func(string) (int, error) {
		return 0, dataflow.Permanent(errors.New("no license"))
	}))
	defer done()
	run, err := client.Enqueue(ctx, "numbers", nil)
	check(err)
	check(client.Start(ctx))

	run, err = client.Wait(ctx, run.ID)
	var failed *dataflow.RunError
	fmt.Println(run.State, errors.As(err, &failed) && failed.RunID == run.ID)
	check(client.Stop(ctx))
	// Output: failed true
}

// Progress tells how far a run has come: for a progress bar, say.
func ExampleClient_Progress() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()
	run, err := client.Trigger(ctx, "orders", nil)
	check(err)

	progress, err := client.Progress(ctx, run.ID)
	check(err)
	fmt.Printf("%d of %d read\n", progress.Counters.Read, *progress.Total)
	// Output: 3 of 3 read
}

// Trigger runs a flow on demand, by its name.
func ExampleClient_Trigger() {
	client, done := open(orderFlow(nil))
	defer done()

	run, err := client.Trigger(context.Background(), "orders", &dataflow.TriggerOptions{Actor: "ada", Reason: "month end"})
	check(err)
	fmt.Println(run.State, run.Counters.Written, "written")
	// Output: success 3 written
}

// Enqueue leaves a run to the process that works the flow. While a run waits, a second call
// returns the same run.
func ExampleClient_Enqueue() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()

	for range 2 {
		run, err := client.Enqueue(ctx, "orders", nil)
		check(err)
		fmt.Println("run", run.ID, run.State, "coalesced:", run.Coalesced)
	}
	// Output:
	// run 1 pending coalesced: false
	// run 1 pending coalesced: true
}

// EnqueueAll runs every flow once.
func ExampleClient_EnqueueAll() {
	ctx := context.Background()
	client, done := open(orderFlow(nil), parseFlow(strconv.Atoi))
	defer done()
	_, err := client.Pause(ctx, "numbers", "ada", "")
	check(err)

	all, err := client.EnqueueAll(ctx, "ada", "after the migration")
	check(err)
	for _, one := range all {
		fmt.Println(one.Flow, one.Run != nil, errors.Is(one.Err, dataflow.ErrDisabled))
	}
	// Output:
	// numbers false true
	// orders true false
}

// TriggerMany starts runs of many flows with a few statements. Each has its own outcome.
func ExampleClient_TriggerMany() {
	ctx := context.Background()
	client, done := open(orderFlow(nil), parseFlow(strconv.Atoi))
	defer done()

	all, err := client.TriggerMany(ctx, []dataflow.TriggerManyParams{
		{Flow: "orders", Options: &dataflow.TriggerOptions{Actor: "ada"}},
		{Flow: "nobody's"},
		{Flow: "orders"}, // coalesces with the first
	})
	check(err)
	for _, one := range all {
		fmt.Println(one.Flow, one.Run != nil && one.Run.Coalesced, errors.Is(one.Err, dataflow.ErrNotFound))
	}
	// Output:
	// orders false false
	// nobody's false true
	// orders true false
}

// TriggerManyTx commits the runs together with what they are to read.
func ExampleClient_TriggerManyTx() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()
	client := connect(db, &dataflow.Config{Flows: []*dataflow.Flow{orderFlow(nil), parseFlow(strconv.Atoi)}})

	tx, err := db.BeginTx(ctx, nil)
	check(err)
	all, err := client.TriggerManyTx(ctx, dataflowsqlite.Tx(tx), []dataflow.TriggerManyParams{{Flow: "orders"}, {Flow: "numbers"}})
	check(err)
	check(tx.Rollback()) // and there are no runs

	for _, one := range all {
		_, err := client.Run(ctx, one.Run.ID)
		fmt.Println(one.Flow, errors.Is(err, dataflow.ErrNotFound))
	}
	// Output:
	// orders true
	// numbers true
}

// Retry starts a failed run again. It goes on at the last checkpoint.
func ExampleClient_Retry() {
	ctx := context.Background()
	broken := true
	client, done := open(parseFlow(func(string) (int, error) {
		if broken {
			return 0, dataflow.Permanent(errors.New("no license"))
		}
		return 0, nil
	}))
	defer done()
	failed, err := client.Trigger(ctx, "numbers", nil)
	fmt.Println(failed.State, err != nil)

	broken = false
	again, err := client.Retry(ctx, failed.ID, "ada")
	check(err)
	_, err = client.Tick(ctx)
	check(err)
	again, err = client.Run(ctx, again.ID)
	check(err)
	fmt.Println(again.State, again.Trigger, again.Reason)
	// Output:
	// failed true
	// success retry retry of run 1
}

// Tick works what is due, and returns: for a cron job, or a serverless function, where no
// client stays started.
func ExampleClient_Tick() {
	ctx := context.Background()
	now := newYear()
	flow := orderFlow(&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Hour}})
	client, done := openAt(&now, flow)
	defer done()

	for range 2 {
		now = now.Add(30 * time.Minute)
		runs, err := client.Tick(ctx)
		check(err)
		fmt.Println(now.Format("15:04"), len(runs), "worked")
	}
	// Output:
	// 00:30 0 worked
	// 01:00 1 worked
}

// BeginTick returns at once, and works the runs in the background.
func ExampleClient_BeginTick() {
	ctx := context.Background()
	now := newYear()
	flow := orderFlow(&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Hour}})
	client, done := openAt(&now, flow)
	defer done()

	now = now.Add(time.Hour)
	report, err := client.BeginTick(ctx)
	check(err)
	fmt.Println(len(report.Fired), "fired,", len(report.Due), "due")
	runs, err := report.Wait(ctx)
	check(err)
	fmt.Println(runs[0].State, "for", runs[0].ScheduledFor.UTC().Format("15:04"))
	// Output:
	// 1 fired, 1 due
	// success for 01:00
}

// SkippedTicks lists the ticks that did not become runs, and why.
func ExampleClient_SkippedTicks() {
	ctx := context.Background()
	now := newYear()
	flow := orderFlow(&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Hour}})
	client, done := openAt(&now, flow)
	defer done()
	_, err := client.Pause(ctx, "orders", "ada", "the shop moves")
	check(err)
	now = now.Add(3 * time.Hour)
	_, err = client.Tick(ctx)
	check(err)

	skipped, err := client.SkippedTicks(ctx, &dataflow.TickListParams{Flow: "orders"})
	check(err)
	for _, s := range skipped {
		fmt.Println(s.Count, s.Reason, s.First.UTC().Format("15:04"), s.Last.UTC().Format("15:04"))
	}
	// Output: 3 paused 01:00 03:00
}

// cronFlow is a flow with a schedule.
func cronFlow(cron string) *dataflow.Flow {
	return orderFlow(&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Schedule: dataflow.Schedule{Cron: cron}}})
}

// ScheduleDiff lists, before a deploy, the schedules that it would change.
func ExampleClient_ScheduleDiff() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()
	connect(db, &dataflow.Config{Flows: []*dataflow.Flow{cronFlow("0 * * * *")}})

	deploy, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{cronFlow("30 * * * *")}})
	check(err)
	changes, err := deploy.ScheduleDiff(ctx)
	check(err)
	for _, change := range changes {
		fmt.Println(change)
	}
	// Output: changed  orders: cron "30 * * * *", was cron "0 * * * *"
}

// SyncSchedules stores the schedules that the code declares.
func ExampleClient_SyncSchedules() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()
	connect(db, &dataflow.Config{})

	deploy, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{cronFlow("0 * * * *")}, Logger: quiet})
	check(err)
	for range 2 {
		changes, err := deploy.SyncSchedules(ctx, false)
		check(err)
		fmt.Println(len(changes), "changed")
	}
	// Output:
	// 1 changed
	// 0 changed
}

// ExportSchedules writes all schedules as YAML, to keep or compare them.
func ExampleClient_ExportSchedules() {
	client, done := open(cronFlow("0 * * * *"))
	defer done()

	export, err := client.ExportSchedules(context.Background())
	check(err)
	fmt.Print(export)
	// Output:
	// flows:
	//   - flow: "orders"
	//     state: active
	//     runtime:
	//       type: "heartbeat"
	//       enabled: true
	//     schedule:
	//       cron: "0 * * * *"
}

// MigrateRuntimes moves flows from one Runtime to another: here, from Heartbeat to River.
func ExampleClient_MigrateRuntimes() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()

	report, err := client.MigrateRuntimes(ctx, &dataflow.MigrateRuntimesOptions{To: "job_queue"})
	check(err)
	for _, m := range report.Flows {
		fmt.Println(m.Flow, "from", m.From.Type(), "to", m.To.Type())
	}
	// Output: orders from heartbeat to job_queue
}

// Cleanup removes old runs. The last success of each flow stays.
func ExampleClient_Cleanup() {
	ctx := context.Background()
	now := newYear()
	client, done := openAt(&now, orderFlow(nil))
	defer done()
	for range 3 {
		_, err := client.Trigger(ctx, "orders", nil)
		check(err)
	}

	now = now.AddDate(0, 0, 8)
	report, err := client.Cleanup(ctx, &dataflow.RetentionOptions{Success: 7 * 24 * time.Hour})
	check(err)
	fmt.Println(report.Success, "removed")
	// Output: 2 removed
}

// Processes lists the started clients that are alive.
func ExampleClient_Processes() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()
	flow := orderFlow(&dataflow.FlowOptions{Runtime: dataflow.JobQueue{Queue: "etl"}})
	client := connect(db, &dataflow.Config{Flows: []*dataflow.Flow{flow}, ID: "worker-1", CodeVersion: "v1.2.0"})
	check(client.Start(ctx))

	processes, err := client.Processes(ctx)
	check(err)
	for _, p := range processes {
		fmt.Println(p.ID, p.CodeVersion, p.Flows, p.Queues)
	}
	check(client.Stop(ctx))
	// Output: worker-1 v1.2.0 [orders] [etl]
}

// PoolNeeds says how many connections the flows need. This one borrows one at a time.
func ExampleClient_PoolNeeds() {
	client, done := open(orderFlow(nil))
	defer done()
	for _, need := range client.PoolNeeds() {
		fmt.Println(need)
	}
	// Output: a pool of 1 connection: its flows need 1 to run one at a time, and 1 to run all at once (1 that no run holds)
}

// Locate finds a flow by its global id, which another system may have kept.
func ExampleClient_Locate() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()
	flow, err := client.Flow(ctx, "orders")
	check(err)
	gid := flow.GlobalID()

	flow, err = client.Locate(ctx, gid)
	check(err)
	fmt.Println(gid, flow.Name)
	// Output: gid://dataflow/Flow/1 orders
}

// Flow returns what is stored of a flow, and whether this process has its code.
func ExampleClient_Flow() {
	ctx := context.Background()
	client, done := open(cronFlow("@daily"))
	defer done()
	_, err := client.Trigger(ctx, "orders", nil)
	check(err)

	flow, err := client.Flow(ctx, "orders")
	check(err)
	fmt.Println(flow.State, flow.Registered(), flow.Guarantee, flow.LastSuccessAt != nil, flow.NextRunAt.UTC().Format("15:04"))
	// Output: active true at_least_once true 00:00
}

// Flows lists the flows of all programs on this database.
func ExampleClient_Flows() {
	client, done := open(orderFlow(nil), parseFlow(strconv.Atoi))
	defer done()

	flows, err := client.Flows(context.Background(), &dataflow.FlowListParams{State: dataflow.FlowActive})
	check(err)
	for _, flow := range flows {
		fmt.Println(flow.Name, flow.Runtime.Type())
	}
	// Output:
	// numbers heartbeat
	// orders heartbeat
}

// Register stores the flows without starting the client: in a deploy step, or a test.
func ExampleClient_Register() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{orderFlow(nil)}, Logger: quiet})
	check(err)
	check(client.Migrate(ctx))

	_, err = client.Flow(ctx, "orders")
	fmt.Println(errors.Is(err, dataflow.ErrNotFound))
	check(client.Register(ctx))
	flow, err := client.Flow(ctx, "orders")
	check(err)
	fmt.Println(flow.Name, flow.State)
	// Output:
	// true
	// orders active
}

// Start works runs in the background, until Stop.
func ExampleClient_Start() {
	ctx := context.Background()
	client, done := open(orderFlow(&dataflow.FlowOptions{Runtime: dataflow.JobQueue{}}))
	defer done()

	check(client.Start(ctx))
	run, err := client.Trigger(ctx, "orders", nil)
	check(err)
	run, err = client.Wait(ctx, run.ID)
	check(err)
	fmt.Println(run.State)
	check(client.Stop(ctx))
	// Output: success
}

// Stop is graceful: a run in progress finishes its batch, and is handed back to go on
// elsewhere. What takes too long is interrupted shortly before the deadline.
func ExampleClient_Stop() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()
	check(client.Start(ctx))

	deadline, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	check(client.Stop(deadline))
	_, err := client.Trigger(ctx, "orders", nil)
	fmt.Println(errors.Is(err, dataflow.ErrStopped))
	// Output: true
}

func ExampleTriggers() {
	fmt.Println(dataflow.Triggers())
	// Output: [manual schedule registration migration retry probe backfill after first_load]
}

// Totals adds up what the runs of each day did. Removed runs count too.
func ExampleClient_Totals() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()
	_, err := client.Trigger(ctx, "orders", nil)
	check(err)

	totals, err := client.Totals(ctx, &dataflow.TotalsOptions{Flow: "orders"})
	check(err)
	for _, t := range totals {
		fmt.Println(t.FlowName, t.State, "runs:", t.Runs, "read:", t.Counters.Read)
	}
	// Output: orders success runs: 1 read: 3
}

// ZoneConflicts tells which processes have older rules for the time zones of schedules.
func ExampleClient_ZoneConflicts() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()
	conflicts, err := client.ZoneConflicts(ctx)
	if err != nil {
		panic(err)
	}
	for _, c := range conflicts {
		fmt.Println(c)
	}
	fmt.Println(len(conflicts), "conflicts")
	// Output: 0 conflicts
}

// RiverQueues lists River's queues, and which of them somebody has paused.
func ExampleRiverQueues() {
	ctx := context.Background()
	client, done := open(orderFlow(&dataflow.FlowOptions{Runtime: dataflow.JobQueue{Queue: "etl"}}))
	defer done()
	check(client.Start(ctx))

	queues, err := dataflow.RiverQueues(ctx, client)
	check(err)
	for _, q := range queues {
		fmt.Println(q.Name, q.PausedAt != nil)
	}
	check(client.Stop(ctx))
	// Output: etl false
}
