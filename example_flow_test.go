package dataflow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// Paged reads an API page by page. A later run resumes after the last page that was read.
func ExamplePaged() {
	ctx := context.Background()
	pages := map[string]dataflow.Page[string, string]{
		"":   {Rows: []string{"ada", "grace"}, Next: "p2", More: true},
		"p2": {Rows: []string{"mary"}, Next: "p3"},
	}
	source := dataflow.Paged(func(_ context.Context, token string) (dataflow.Page[string, string], error) {
		return pages[token], nil // an HTTP request, say
	})
	names := memory.NewSink[string]()
	client, done := open(dataflow.NewFlow("names", source, dataflow.Identity[string](), names.Target(), nil))
	defer done()

	run, err := client.Trigger(ctx, "names", nil)
	check(err)
	fmt.Println(names.Rows(), "next time from", string(run.ToCursor))
	// Output:
	// [ada grace mary] next time from "p3"
}

// Parametric makes a source of a run's parameters: a day, say, or the path of a file.
func ExampleParametric() {
	ctx := context.Background()
	type params struct{ Day string }
	source := dataflow.Parametric(func(p params) (dataflow.Source[string, dataflow.NoCursor], error) {
		if p.Day == "" {
			return nil, errors.New("which Day?")
		}
		return memory.Func(func(context.Context) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) { yield("orders of "+p.Day, nil) }
		}), nil
	})
	read := memory.NewSink[string]()
	client, done := open(dataflow.NewFlow("orders", source, dataflow.Identity[string](), read.Target(), nil))
	defer done()

	_, err := client.Trigger(ctx, "orders", &dataflow.TriggerOptions{Params: json.RawMessage(`{"Day":"2030-01-01"}`)})
	check(err)
	fmt.Println(read.Rows())
	_, err = client.Trigger(ctx, "orders", nil)
	fmt.Println(err)
	// Output:
	// [orders of 2030-01-01]
	// dataflow: flow "orders" run 2: Params: which Day?
}

// After starts a flow when a run of another one has succeeded.
func ExampleAfter() {
	ctx := context.Background()
	report := memory.NewSink[string]()
	source := memory.Func(func(context.Context) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) { yield("a report of all orders", nil) }
	})
	client, done := open(orderFlow(nil), dataflow.NewFlow("report", source, dataflow.Identity[string](), report.Target(), &dataflow.FlowOptions{
		After: dataflow.After{Flow: "orders", OnlyIfRows: true},
	}))
	defer done()

	for range 2 { // the second run reads nothing
		_, err := client.Trigger(ctx, "orders", nil)
		check(err)
		_, err = client.Tick(ctx) // a started client does it by itself
		check(err)
	}
	runs, err := client.Runs(ctx, &dataflow.RunListParams{Flow: "report"})
	check(err)
	fmt.Println(report.Rows(), len(runs), runs[0].Reason)
	// Output:
	// [a report of all orders] 1 run 1 of flow "orders" succeeded
}

// Map converts each record. An error makes it a bad record, and Skip leaves it out.
func ExampleMap() {
	parse := dataflow.Map(func(_ context.Context, s string) (int, error) {
		if s == "" {
			return 0, dataflow.Skip
		}
		return strconv.Atoi(s)
	})
	rows, run := through(parse, nil, "1", "", "3")
	fmt.Println(rows, run.Counters.Filtered, "filtered")
	// Output: [1 3] 1 filtered
}

// Filter leaves out records. They count as filtered.
func ExampleFilter() {
	rows, run := through(dataflow.Filter(func(n int) bool { return n > 1 }), nil, 1, 2, 3)
	fmt.Println(rows, run.Counters.Filtered, "filtered")
	// Output: [2 3] 1 filtered
}

// FlatMap splits a record into several.
func ExampleFlatMap() {
	words := dataflow.FlatMap(func(_ context.Context, line string) ([]string, error) { return strings.Fields(line), nil })
	rows, run := through(words, nil, "the quick fox", "", "jumps")
	fmt.Printf("%q: %d filtered\n", rows, run.Counters.Filtered)
	// Output: ["the" "quick" "fox" "jumps"]: 1 filtered
}

// Batch looks up many records with one query.
func ExampleBatch() {
	names := map[int]string{1: "ada", 2: "grace"}
	lookup := dataflow.Batch(func(_ context.Context, ids []int) ([]string, error) {
		fmt.Println("one query for", ids) // select … where id = any($1)
		found := make([]string, len(ids))
		for i, id := range ids {
			found[i] = names[id]
		}
		return found, nil
	})
	rows, _ := through(lookup, nil, 2, 1, 2)
	fmt.Println(rows)
	// Output:
	// one query for [2 1 2]
	// [grace ada grace]
}

// Pipe chains two transforms. Nest it to chain more.
func ExamplePipe() {
	trim := dataflow.Map(func(_ context.Context, s string) (string, error) { return strings.TrimSpace(s), nil })
	parse := dataflow.Map(func(_ context.Context, s string) (int, error) { return strconv.Atoi(s) })
	even := dataflow.Filter(func(n int) bool { return n%2 == 0 })
	rows, _ := through(dataflow.Pipe(trim, dataflow.Pipe(parse, even)), nil, " 1", "2 ", "4")
	fmt.Println(rows)
	// Output: [2 4]
}

// Identity is the transform of a flow that copies.
func ExampleIdentity() {
	rows, _ := through(dataflow.Identity[string](), nil, "ada", "grace")
	fmt.Println(rows)
	// Output: [ada grace]
}

// Parallel runs a slow transform concurrently, such as one that calls an API. It keeps the
// order of the records.
func ExampleParallel() {
	slow := dataflow.Map(func(_ context.Context, n int) (int, error) { return n * n, nil })
	rows, _ := through(dataflow.Parallel(4, slow), nil, 1, 2, 3, 4, 5)
	fmt.Println(rows)
	// Output: [1 4 9 16 25]
}

// RateLimit throttles a flow to what an API allows.
func ExampleRateLimit() {
	call := dataflow.Map(func(_ context.Context, n int) (string, error) { return fmt.Sprint("called with ", n), nil })
	rows, _ := through(dataflow.Pipe(dataflow.RateLimit[int](1000), call), nil, 1, 2)
	fmt.Println(rows)
	// Output: [called with 1 called with 2]
}

// Conform validates messages against a schema.
func ExampleConform() {
	schema := dataflow.Schema{Fields: []dataflow.Field{
		{Name: "id", Type: dataflow.IntegerField},
		{Name: "email", Type: dataflow.StringField, Optional: true},
	}}
	opts := &dataflow.FlowOptions{OnBadRecord: dataflow.SkipUpTo(10)}
	rows, run := through(dataflow.Conform(schema), opts,
		dataflow.Message{"id": 1, "email": "ada@example.com"},
		dataflow.Message{"id": "two"})
	fmt.Println(len(rows), "written,", run.Counters.Dropped, "dropped")
	fmt.Println(schema.Check(dataflow.Message{"id": "two"}))
	// Output:
	// 1 written, 1 dropped
	// field "id" must be of type integer, and is string
}

// A policy of your own decides by the error, and by how many bad records the run has had.
func ExamplePolicy() {
	parse := dataflow.Map(func(_ context.Context, s string) (int, error) { return strconv.Atoi(s) })
	policy := func(e *dataflow.RecordError, badSoFar int64) dataflow.Action {
		fmt.Println(badSoFar, e.Key, e.Err)
		if errors.Is(e, strconv.ErrSyntax) {
			return dataflow.Drop
		}
		return dataflow.FailFast(e, badSoFar)
	}
	rows, run := through(parse, &dataflow.FlowOptions{OnBadRecord: policy}, "1", "two", "3")
	fmt.Println(rows, run.Counters.Dropped, "dropped")
	// Output:
	// 1 row 2 strconv.Atoi: parsing "two": invalid syntax
	// [1 3] 1 dropped
}

// SkipUpTo drops a few bad records, and fails the run when there are more.
func ExampleSkipUpTo() {
	parse := dataflow.Map(func(_ context.Context, s string) (int, error) { return strconv.Atoi(s) })
	for _, n := range []int64{2, 1} {
		_, run := through(parse, &dataflow.FlowOptions{OnBadRecord: dataflow.SkipUpTo(n), MaxAttempts: 1}, "1", "two", "three")
		fmt.Printf("%s: %q\n", run.State, run.Error)
	}
	// Output:
	// success: ""
	// failed: "transform record row 3: strconv.Atoi: parsing \"three\": invalid syntax"
}

// DeadLetterUpTo stores bad records. Replay can write them later.
func ExampleDeadLetterUpTo() {
	ctx := context.Background()
	parse := dataflow.Map(func(_ context.Context, s string) (int, error) { return strconv.Atoi(s) })
	flow := dataflow.NewFlow("numbers", memory.Slice([]string{"1", "two", "3"}), parse, memory.NewSink[int]().Target(),
		&dataflow.FlowOptions{OnBadRecord: dataflow.DeadLetterUpTo(100)})
	client, done := open(flow)
	defer done()

	run, err := client.Trigger(ctx, "numbers", nil)
	check(err)
	letters, err := client.DeadLetters(ctx, nil)
	check(err)
	fmt.Println(run.State, run.Counters.DeadLettered, "dead-lettered:", letters[0].Key, string(letters[0].Payload))
	// Output: success 1 dead-lettered: row 2 "two"
}

// RetryBadFor waits for a record that another one needs.
func ExampleRetryBadFor() {
	known := map[string]bool{"": true}
	hire := dataflow.Map(func(_ context.Context, e [2]string) (string, error) {
		name, boss := e[0], e[1]
		if !known[boss] {
			return "", fmt.Errorf("%s is not known yet", boss)
		}
		known[name] = true
		return name, nil
	})
	opts := &dataflow.FlowOptions{OnBadRecord: dataflow.RetryBadFor(time.Hour, 3)}
	written, run := through(hire, opts, [2]string{"Ann", "Bea"}, [2]string{"Bea", ""})
	fmt.Println(run.State, run.Counters.DeadLettered, written)
	// Output: success 1 [Bea Ann]
}

// MaxBadRatio fails a run when more than one record in a hundred is bad.
func ExampleMaxBadRatio() {
	records := make([]int, 200)
	for i := range records {
		records[i] = i
	}
	price := dataflow.Map(func(_ context.Context, n int) (int, error) {
		if n%10 == 9 {
			return 0, errors.New("no price")
		}
		return n, nil
	})
	opts := &dataflow.FlowOptions{OnBadRecord: dataflow.MaxBadRatio(0.01, dataflow.SkipUpTo(1000)), MaxAttempts: 1}
	_, run := through(price, opts, records...)
	fmt.Println(run.State, run.Error)
	// Output: failed transform record row 30: no price
}

// Permanent marks an error that no retry can mend.
func ExamplePermanent() {
	login := dataflow.Map(func(context.Context, int) (int, error) {
		return 0, dataflow.Permanent(errors.New("wrong password"))
	})
	_, run := through(login, &dataflow.FlowOptions{MaxAttempts: 5}, 1)
	fmt.Println(run.State, "after", run.Attempt, "of", run.MaxAttempts)
	// Output: failed after 1 of 5
}

// IsPermanent looks through wrapped errors.
func ExampleIsPermanent() {
	err := fmt.Errorf("log in: %w", dataflow.Permanent(errors.New("wrong password")))
	fmt.Println(dataflow.IsPermanent(err), dataflow.IsPermanent(errors.New("timeout")))
	// Output: true false
}

// RetryAfter obeys a server that says when to come back.
func ExampleRetryAfter() {
	call := dataflow.Map(func(context.Context, int) (int, error) {
		return 0, dataflow.RetryAfter(errors.New("429 Too Many Requests"), time.Hour)
	})
	now := newYear()
	client, done := openAt(&now, dataflow.NewFlow("api", memory.Slice([]int{1}), call, memory.NewSink[int]().Target(), nil))
	defer done()
	run, err := client.Trigger(context.Background(), "api", nil)
	fmt.Println(err)
	fmt.Println(run.State, "until", run.RunAfter.UTC())
	// Output:
	// dataflow: flow "api" run 1: transform record row 1: 429 Too Many Requests
	// pending until 2030-01-01 01:00:00 +0000 UTC
}

// Transient marks an error that passes by itself. It costs the run no attempt.
func ExampleTransient() {
	calls := 0
	call := dataflow.Map(func(context.Context, int) (int, error) {
		if calls++; calls == 1 {
			return 0, dataflow.Transient(errors.New("connection refused"))
		}
		return calls, nil
	})
	rows, run := through(call, nil, 1)
	fmt.Println(rows, run.State, "at attempt", run.Attempt)
	// Output: [2] success at attempt 1
}

// MarkError decides about the errors of code that cannot be changed.
func ExampleFlowOptions() {
	errRevoked := errors.New("the key is revoked") // of a library
	call := dataflow.Map(func(context.Context, int) (int, error) { return 0, errRevoked })
	_, run := through(call, &dataflow.FlowOptions{MarkError: func(err error) error {
		if errors.Is(err, errRevoked) {
			return dataflow.Permanent(err)
		}
		return err
	}}, 1)
	fmt.Println(run.State, "after", run.Attempt, "of", run.MaxAttempts)
	// Output: failed after 1 of 5
}

// To writes outside the database: to an API, say. A crash may repeat a batch. Its keys, or
// its ID, make the calls idempotent.
func ExampleTo() {
	api := dataflow.SinkFunc[string](func(_ context.Context, b dataflow.SinkBatch[string]) error {
		for i, row := range b.Rows {
			fmt.Println("PUT", row, "with the idempotency key", b.Keys[i])
		}
		return nil
	})
	target := dataflow.To(api)
	client, done := open(dataflow.NewFlow("people", memory.Slice([]string{"ada", "grace"}), dataflow.Identity[string](), target, nil))
	defer done()
	_, err := client.Trigger(context.Background(), "people", nil)
	check(err)
	fmt.Println(target.Guarantee())
	// Output:
	// PUT ada with the idempotency key row 1
	// PUT grace with the idempotency key row 2
	// at_least_once
}

// ToTx writes in the transaction that moves the cursor: exactly once.
func ExampleToTx() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()
	_, err := db.ExecContext(ctx, `create table people (name text)`)
	check(err)

	target := dataflow.ToTx(dataflow.TxSinkFunc[string](func(ctx context.Context, rows []string) error {
		tx, _ := dataflowsqlite.TxFrom(ctx)
		for _, name := range rows {
			if _, err := tx.ExecContext(ctx, `insert into people values (?)`, name); err != nil {
				return err
			}
		}
		return nil
	}))
	flow := dataflow.NewFlow("people", memory.Slice([]string{"ada", "grace"}), dataflow.Identity[string](), target, nil)
	client := connect(db, &dataflow.Config{Flows: []*dataflow.Flow{flow}})
	run, err := client.Trigger(ctx, "people", nil)
	check(err)
	fmt.Println(run.Counters.Written, "written,", target.Guarantee())
	// Output: 2 written, exactly_once
}

// OverlapAllow lets a flow have several runs in progress at once.
func ExampleOverlapAllow() {
	ctx := context.Background()
	var both sync.WaitGroup
	both.Add(2)
	source := memory.Func(func(context.Context) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			both.Done()
			both.Wait() // until the other run is here, too
			yield("polled", nil)
		}
	})
	flow := dataflow.NewFlow("poll", source, dataflow.Identity[string](), memory.NewSink[string]().Target(), &dataflow.FlowOptions{
		Runtime: dataflow.Heartbeat{Schedule: dataflow.Schedule{Overlap: dataflow.OverlapAllow(2)}},
	})
	client, done := open(flow)
	defer done()
	for _, at := range []time.Time{newYear().AddDate(-10, 0, 0), newYear().AddDate(-9, 0, 0)} {
		_, err := client.Enqueue(ctx, "poll", &dataflow.TriggerOptions{At: at})
		check(err)
	}
	runs, err := client.Tick(ctx)
	check(err)
	fmt.Println(len(runs), runs[0].State, runs[1].State)
	// Output: 2 success success
}

// Next previews a cron expression.
func ExampleFlow_Next() {
	flow := orderFlow(&dataflow.FlowOptions{Runtime: dataflow.JobQueue{
		Schedule: dataflow.Schedule{Cron: "30 6 * * mon-fri", TimeZone: "Europe/Berlin"},
	}})
	ticks, err := flow.Next(newYear(), 4)
	check(err)
	for _, tick := range ticks {
		fmt.Println(tick.UTC().Format("Mon 2006-01-02 15:04"))
	}
	// Output:
	// Tue 2030-01-01 05:30
	// Wed 2030-01-02 05:30
	// Thu 2030-01-03 05:30
	// Fri 2030-01-04 05:30
}

// ParseGlobalID reads a flow's id as another system has kept it.
func ExampleParseGlobalID() {
	id, err := dataflow.ParseGlobalID("gid://dataflow/Flow/7")
	check(err)
	fmt.Println(id.App, id.Model, id.ID)
	_, err = dataflow.ParseGlobalID("Flow/7")
	fmt.Println(errors.Is(err, dataflow.ErrGlobalID))
	// Output:
	// dataflow Flow 7
	// true
}

// UseRiver makes a client share the service's own River client.
func ExampleUseRiver() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()
	client := connect(db, &dataflow.Config{Flows: []*dataflow.Flow{orderFlow(&dataflow.FlowOptions{Runtime: dataflow.JobQueue{}})}})

	workers := river.NewWorkers() // with the service's own ones
	check(client.AddWorker(workers))
	rc, err := river.NewClient(riversqlite.New(db), &river.Config{
		Workers: workers,
		Queues:  map[string]river.QueueConfig{dataflow.DefaultQueue: {MaxWorkers: 10}},
		Logger:  quiet,
	})
	check(err)
	check(dataflow.UseRiver(client, rc))
	check(client.Start(ctx))
	check(rc.Start(ctx))

	run, err := client.Trigger(ctx, "orders", nil)
	check(err)
	run, err = client.Wait(ctx, run.ID)
	check(err)
	fmt.Println(run.State, "in the queue", run.Queue)
	check(rc.Stop(ctx))
	check(client.Stop(ctx))
	// Output: success in the queue active_data_flow
}

// A job that names only a flow starts a run of it: for River's periodic jobs, or for another
// program that inserts jobs.
func ExampleNewDataFlowJob() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()
	client := connect(db, &dataflow.Config{Flows: []*dataflow.Flow{orderFlow(&dataflow.FlowOptions{Runtime: dataflow.JobQueue{}})}})
	flow, err := client.Flow(ctx, "orders")
	check(err)
	succeeded, end := client.Subscribe(dataflow.EventRunSucceeded)
	defer end()

	workers := river.NewWorkers()
	river.AddWorker(workers, dataflow.NewDataFlowJob(client))
	rc, err := river.NewClient(riversqlite.New(db), &river.Config{
		Workers: workers,
		Queues:  map[string]river.QueueConfig{"etl": {MaxWorkers: 10}},
		Logger:  quiet,
	})
	check(err)
	check(rc.Start(ctx))
	_, err = rc.Insert(ctx, dataflow.DataFlowArgs{FlowID: dataflow.FlowRef(flow.ID)}, &river.InsertOpts{Queue: "etl"})
	check(err)
	event := <-succeeded
	fmt.Println(event.Run.FlowName, event.Run.State)
	check(rc.Stop(ctx))
	// Output: orders success
}

// An executor works one run here and now: for a job queue other than River.
func ExampleNewFlowExecutor() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()
	run, err := client.Enqueue(ctx, "orders", nil)
	check(err)

	executor := dataflow.NewFlowExecutor(client)
	run, err = executor.Execute(ctx, run.ID)
	check(err)
	fmt.Println(run.State, run.Counters.Written, "written")
	_, err = executor.Execute(ctx, run.ID)
	fmt.Println(errors.Is(err, dataflow.ErrRunFinished))
	// Output:
	// success 3 written
	// true
}

// RubyRuntime writes a Runtime for the Ruby gem, which shares the table with this program.
func ExampleRubyRuntime() {
	data, err := dataflow.RubyRuntime(dataflow.JobQueue{Queue: "etl", Interval: time.Hour})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(data))
	// Output: {"class_name":"ActiveDataFlow::Runtime::ActiveJob","enabled":true,"interval":3600,"queue":"etl"}
}
