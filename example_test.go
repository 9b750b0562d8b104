package dataflow_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"
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

// connect returns a client on a database, with the tables made and the flows registered.
// It is not started: its runs are worked where they are triggered, or by Tick.
func connect(db *sql.DB, config *dataflow.Config) *dataflow.Client {
	config.Logger = quiet
	client, err := dataflow.NewClient(dataflowsqlite.New(db), config)
	check(err)
	check(client.Migrate(context.Background()))
	check(client.Register(context.Background()))
	return client
}

// open connects a client with these flows to a new database in memory.
func open(flows ...*dataflow.Flow) (client *dataflow.Client, done func()) {
	db := openExample()
	return connect(db, &dataflow.Config{Flows: flows}), func() { check(db.Close()) }
}

// openAt is open, with a clock that the caller moves.
func openAt(now *time.Time, flows ...*dataflow.Flow) (client *dataflow.Client, done func()) {
	db := openExample()
	clock := func() time.Time { return *now }
	return connect(db, &dataflow.Config{Flows: flows, Clock: clock}), func() { check(db.Close()) }
}

// newYear is a fixed time, so that an example's output is.
func newYear() time.Time { return time.Date(2030, time.January, 1, 0, 0, 0, 0, time.UTC) }

// orderFlow reads the orders 1, 2 and 3.
func orderFlow(opts *dataflow.FlowOptions) *dataflow.Flow {
	return dataflow.NewFlow("orders", memory.Slice([]int{1, 2, 3}), dataflow.Identity[int](), memory.NewSink[int]().Target(), opts)
}

// through runs records through a transform, and returns what was written and the run.
func through[In, Out any](transform dataflow.Transform[In, Out], opts *dataflow.FlowOptions, records ...In) ([]Out, *dataflow.Run) {
	sink := memory.NewSink[Out]()
	client, done := open(dataflow.NewFlow("example", memory.Slice(records), transform, sink.Target(), opts))
	defer done()
	run, err := client.Trigger(context.Background(), "example", nil)
	if run == nil {
		log.Fatal(err)
	}
	return sink.Rows(), run
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

// Migrations tells whether the tables are up to date.
func ExampleClient_Migrations() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()
	client, err := dataflow.NewClient(dataflowsqlite.New(db), nil)
	check(err)

	status, err := client.Migrations(ctx)
	check(err)
	fmt.Println("version", status.Version, "up to date:", status.Version == len(status.Migrations))
	// Output: version 0 up to date: false
}

// Migrate makes or upgrades the tables, River's too. A program may call it at each start.
func ExampleClient_Migrate() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Logger: quiet})
	check(err)

	check(client.Migrate(ctx))
	status, err := client.Migrations(ctx)
	check(err)
	fmt.Println("up to date:", status.Version == len(status.Migrations), status.RiverVersion == status.RiverNewest)
	// Output: up to date: true true
}

// MigrateDown to version 0 removes the library's tables and all that is in them.
func ExampleClient_MigrateDown() {
	ctx := context.Background()
	client, done := open(orderFlow(nil))
	defer done()

	check(client.MigrateDown(ctx, 0))
	status, err := client.Migrations(ctx)
	check(err)
	fmt.Println("version", status.Version)
	// Output: version 0
}

// warehouse is another transactional store, which keeps the checkpoint beside its rows. In a
// real one, each method is a transaction.
type warehouse struct {
	fence int64
	state json.RawMessage
	rows  []int
}

func (w *warehouse) Claim(_ context.Context, _ string, fence int64) (json.RawMessage, error) {
	if fence < w.fence {
		return nil, dataflow.ErrFenced
	}
	w.fence = fence
	return w.state, nil
}

func (w *warehouse) WriteFenced(_ context.Context, b dataflow.FencedBatch[int]) error {
	if b.Fence != w.fence {
		return dataflow.ErrFenced
	}
	w.rows, w.state = append(w.rows, b.Rows...), b.State
	return nil
}

// ToFenced writes exactly once to another store than the client's database.
func ExampleToFenced() {
	w := &warehouse{}
	target := dataflow.ToFenced(w)
	client, done := open(dataflow.NewFlow("facts", memory.Slice([]int{1, 2, 3}), dataflow.Identity[int](), target, nil))
	defer done()
	_, err := client.Trigger(context.Background(), "facts", nil)
	check(err)
	fmt.Println(w.rows, target.Guarantee())
	// Output: [1 2 3] exactly_once
}

// prices is a table that each run replaces. Its batches go to the table prices_next first.
type prices struct{}

func (prices) exec(ctx context.Context, query string, args ...any) error {
	tx, _ := dataflowsqlite.TxFrom(ctx)
	_, err := tx.ExecContext(ctx, query, args...)
	return err
}

func (p prices) BeginTx(ctx context.Context, _ string) (dataflow.Replacement[int], error) {
	return p, p.exec(ctx, `delete from prices_next`)
}

func (p prices) WriteTx(ctx context.Context, rows []int) error {
	for _, cents := range rows {
		if err := p.exec(ctx, `insert into prices_next values (?)`, cents); err != nil {
			return err
		}
	}
	return nil
}

func (p prices) EndTx(ctx context.Context) error {
	if err := p.exec(ctx, `delete from prices`); err != nil {
		return err
	}
	return p.exec(ctx, `insert into prices select * from prices_next`)
}

// ToReplace refreshes a whole table in each run. Readers see the old rows until the new ones
// are complete.
func ExampleToReplace() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()
	_, err := db.ExecContext(ctx, `create table prices (cents int); create table prices_next (cents int)`)
	check(err)

	today := []int{100, 250}
	source := memory.Func(func(context.Context) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for _, cents := range today {
				if !yield(cents, nil) {
					return
				}
			}
		}
	})
	flow := dataflow.NewFlow("prices", source, dataflow.Identity[int](), dataflow.ToReplace[int](prices{}), nil)
	client := connect(db, &dataflow.Config{Flows: []*dataflow.Flow{flow}})
	for range 2 {
		_, err := client.Trigger(ctx, "prices", nil)
		check(err)
		var count, sum int
		check(db.QueryRowContext(ctx, `select count(*), sum(cents) from prices`).Scan(&count, &sum))
		fmt.Println(count, "prices, in all", sum)
		today = []int{300}
	}
	// Output:
	// 2 prices, in all 350
	// 1 prices, in all 300
}
