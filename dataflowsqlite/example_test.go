package dataflowsqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"log/slog"

	"github.com/riverqueue/river"
	_ "modernc.org/sqlite"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// openExample opens a database in memory. An application names a file instead, such as
// "file:flows.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)".
func openExample() *sql.DB {
	db, err := sql.Open("sqlite", ":memory:")
	check(err)
	db.SetMaxOpenConns(1) // SQLite has one writer; River wants one connection
	return db
}

// newClient returns a client whose tables and flows are in the database.
func newClient(db *sql.DB, flow *dataflow.Flow) *dataflow.Client {
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{
		Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler),
	})
	check(err)
	check(client.Migrate(context.Background()))
	check(client.Register(context.Background()))
	return client
}

func ExampleNew() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()

	names := memory.NewSink[string]()
	flow := dataflow.NewFlow("names", memory.Slice([]string{"ada", "grace"}), dataflow.Identity[string](), names.Target(), nil)

	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{
		Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler),
	})
	check(err)
	check(client.Migrate(ctx)) // once, before the first start
	check(client.Register(ctx))
	run, err := client.Trigger(ctx, "names", nil)
	check(err)
	fmt.Println(run.State, names.Rows())
	// Output: success [ada grace]
}

// The run exists exactly if the caller's transaction commits.
func ExampleTx() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()
	names := memory.NewSink[string]()
	client := newClient(db, dataflow.NewFlow("names", memory.Slice([]string{"ada"}), dataflow.Identity[string](), names.Target(), nil))

	tx, err := db.BeginTx(ctx, nil)
	check(err)
	run, err := client.TriggerTx(ctx, dataflowsqlite.Tx(tx), "names", nil)
	check(err)
	check(tx.Rollback())

	_, err = client.Run(ctx, run.ID)
	fmt.Println("there is no such run:", errors.Is(err, dataflow.ErrNotFound))
	// Output: there is no such run: true
}

// A sink writes its rows in the transaction that commits the checkpoint, so that each record
// is written exactly once.
func ExampleTxFrom() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()
	_, err := db.ExecContext(ctx, `create table person (name text not null)`)
	check(err)

	people := dataflow.TxSinkFunc[string](func(ctx context.Context, names []string) error {
		tx, ok := dataflowsqlite.TxFrom(ctx)
		if !ok {
			return dataflow.ErrTxMismatch
		}
		for _, name := range names {
			if _, err := tx.ExecContext(ctx, `insert into person (name) values (?)`, name); err != nil {
				return err
			}
		}
		return nil
	})
	flow := dataflow.NewFlow("people", memory.Slice([]string{"ada", "grace"}), dataflow.Identity[string](), dataflow.ToTx(people), nil)
	run, err := newClient(db, flow).Trigger(ctx, "people", nil)
	check(err)

	var n int
	check(db.QueryRowContext(ctx, `select count(*) from person`).Scan(&n))
	fmt.Println(run.State, n, flow.Guarantee)
	// Output: success 2 exactly_once
}

// mailArgs are the arguments of a job of the application's own.
type mailArgs struct {
	To string `json:"to"`
}

func (mailArgs) Kind() string { return "mail" }

type mailWorker struct{ river.WorkerDefaults[mailArgs] }

func (mailWorker) Work(context.Context, *river.Job[mailArgs]) error { return nil }

// The client's River client can insert the application's own jobs too.
func ExampleRiverClient() {
	ctx := context.Background()
	db := openExample()
	defer func() { check(db.Close()) }()

	workers := river.NewWorkers()
	river.AddWorker(workers, mailWorker{})
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{
		River: &river.Config{Workers: workers}, Logger: slog.New(slog.DiscardHandler),
	})
	check(err)
	check(client.Migrate(ctx))

	rc, err := dataflowsqlite.RiverClient(client)
	check(err)
	inserted, err := rc.Insert(ctx, mailArgs{To: "ada@example.com"}, nil)
	check(err)
	fmt.Println(inserted.Job.Kind, string(inserted.Job.EncodedArgs), inserted.Job.State)
	// Output: mail {"to":"ada@example.com"} available
}
