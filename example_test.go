package dataflow_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"time"

	_ "modernc.org/sqlite"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// openExample opens a database in memory. An application names a file instead.
func openExample() *sql.DB {
	db, err := sql.Open("sqlite", ":memory:")
	check(err)
	db.SetMaxOpenConns(1)
	return db
}

var quiet = slog.New(slog.DiscardHandler)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A flow is a source, a transform and a target. Their types are inferred.
func ExampleNewFlow() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()

	names := memory.NewSink[string]()
	flow := dataflow.NewFlow("names",
		memory.Slice([]string{" ada", "", "grace "}),
		dataflow.Pipe(
			dataflow.Map(func(_ context.Context, s string) (string, error) { return strings.TrimSpace(s), nil }),
			dataflow.Filter(func(s string) bool { return s != "" }),
		),
		names.Target(),
		nil)

	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: quiet})
	check(err)
	check(client.Migrate(ctx))
	check(client.Register(ctx))
	run, err := client.Trigger(ctx, "names", nil) // a Heartbeat works it here and now
	check(err)

	fmt.Printf("%s: %d read, %d written, %d filtered\n", run.State, run.Counters.Read, run.Counters.Written, run.Counters.Filtered)
	fmt.Println(names.Rows())
	// Output:
	// success: 3 read, 2 written, 1 filtered
	// [ada grace]
}

// A started client works the runs of its flows until it is stopped.
func ExampleNewClient() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()

	doubled := memory.NewSink[int]()
	flow := dataflow.NewFlow("doubled",
		memory.Slice([]int{1, 2, 3}),
		dataflow.Map(func(_ context.Context, n int) (int, error) { return 2 * n, nil }),
		doubled.Target(),
		&dataflow.FlowOptions{Runtime: dataflow.JobQueue{}})

	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: quiet})
	check(err)
	check(client.Migrate(ctx))
	check(client.Start(ctx))

	for range 2 { // the second run finds nothing new
		run, err := client.Trigger(ctx, "doubled", nil)
		check(err)
		run, err = client.Wait(ctx, run.ID)
		check(err)
		fmt.Println("run", run.ID, run.State, "read", run.Counters.Read)
	}
	fmt.Println(doubled.Rows())
	check(client.Stop(ctx))
	// Output:
	// run 1 success read 3
	// run 2 success read 0
	// [2 4 6]
}

// NewClient reports everything that is wrong with a configuration at once, by name.
func ExampleNewClient_configError() {
	flow := dataflow.NewFlow("",
		memory.Slice([]int{1}),
		dataflow.Identity[int](),
		dataflow.Target[int]{},
		&dataflow.FlowOptions{Runtime: dataflow.JobQueue{Priority: 9}})
	db := openExample()
	defer func() { check(db.Close()) }()

	_, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
	fmt.Println(err)
	// Output:
	// dataflow: Flows[""].Name: it is empty: give each flow a name of 1 to 200 bytes
	// Flows[""].Runtime.Priority: 9 is not a priority of River: use 1 (highest) to 4, or 0 for none
	// Flows[""].Target: it is nil
}

// A Heartbeat works a run in the calling process. A run for later is worked by the
// process that finds it due: a started client, or a Tick.
func ExampleHeartbeat() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()

	seen := memory.NewSink[int]()
	declared := dataflow.NewFlow("seen", memory.Slice([]int{1, 2, 3}), dataflow.Identity[int](), seen.Target(),
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Minute}})
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{declared}, Logger: quiet})
	check(err)
	check(client.Migrate(ctx))
	check(client.Register(ctx))

	flow, err := client.Flow(ctx, "seen")
	check(err)
	run, err := flow.Runtime.Execute(ctx, flow)
	check(err)
	fmt.Println("now:", run.State)

	run, err = flow.Runtime.ExecuteAt(ctx, flow, time.Now().Add(-time.Second))
	check(err)
	fmt.Println("left:", run.State)
	runs, err := client.Tick(ctx)
	check(err)
	fmt.Println("after a tick:", len(runs), runs[0].State)

	run, err = flow.Runtime.ScheduleNext(ctx, flow, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))
	check(err)
	fmt.Println("next:", run.RunAfter.Format(time.RFC3339))
	// Output:
	// now: success
	// left: pending
	// after a tick: 1 success
	// next: 2100-01-01T00:01:00Z
}

// A JobQueue adds a run and its River job in one transaction.
func ExampleJobQueue() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()

	declared := dataflow.NewFlow("nightly", memory.Slice([]int{1}), dataflow.Identity[int](), memory.NewSink[int]().Target(),
		&dataflow.FlowOptions{Runtime: dataflow.JobQueue{Queue: "etl", Priority: 2, Interval: 24 * time.Hour}})
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{declared}, Logger: quiet})
	check(err)
	check(client.Migrate(ctx))
	check(client.Register(ctx))

	flow, err := client.Flow(ctx, "nightly")
	check(err)
	run, err := flow.Runtime.ExecuteAt(ctx, flow, time.Date(2100, 1, 1, 3, 0, 0, 0, time.UTC))
	check(err)
	rc, err := dataflowsqlite.RiverClient(client)
	check(err)
	job, err := rc.JobGet(ctx, run.RiverJobID)
	check(err)
	fmt.Println(job.Kind, string(job.EncodedArgs), job.Queue, job.Priority, job.State, job.ScheduledAt.UTC().Format(time.RFC3339))
	// Output:
	// data_flow {"flow_id":1,"run_id":1} etl 2 scheduled 2100-01-01T03:00:00Z
}

// Runtimes are plain values that JSON can hold.
func ExampleParseRuntime() {
	data, err := json.Marshal(dataflow.JobQueue{Queue: "etl", Interval: 5 * time.Minute})
	check(err)
	fmt.Println(string(data))

	old, err := dataflow.ParseRuntime([]byte(`{"class_name":"ActiveDataFlow::Runtime::ActiveJob","batch_size":100,"interval":60}`), nil)
	check(err)
	fmt.Println(old.Type(), old.Settings().BatchSize, old.Settings().Interval)
	// Output:
	// {"type":"job_queue","queue":"etl","priority":null,"batch_size":null,"enabled":true,"interval":300}
	// job_queue 100 1m0s
}

// A run can be started in the transaction that writes the rows for it.
func ExampleClient_TriggerTx() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()

	declared := dataflow.NewFlow("invoices", memory.Slice([]int{1}), dataflow.Identity[int](), memory.NewSink[int]().Target(), nil)
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{declared}, Logger: quiet})
	check(err)
	check(client.Migrate(ctx))
	check(client.Register(ctx))

	for _, commit := range []bool{false, true} {
		tx, err := db.BeginTx(ctx, nil)
		check(err)
		_, err = client.TriggerTx(ctx, dataflowsqlite.Tx(tx), "invoices", &dataflow.TriggerOptions{Actor: "billing"})
		check(err)
		if commit {
			check(tx.Commit())
		} else {
			check(tx.Rollback())
		}
		runs, err := client.Runs(ctx, nil)
		check(err)
		fmt.Println("committed:", commit, "runs:", len(runs))
	}
	// Output:
	// committed: false runs: 0
	// committed: true runs: 1
}
