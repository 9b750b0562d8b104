package dataflowpgx_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// newClient returns a client whose tables and flows are in the database.
func newClient(pool *pgxpool.Pool, flow *dataflow.Flow) *dataflow.Client {
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{
		Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler),
	})
	check(err)
	check(client.Migrate(context.Background()))
	check(client.Register(context.Background()))
	return client
}

func ExampleNew() {
	ctx := context.Background()
	pool, end := dbtest.ExamplePostgres() // an application calls pgxpool.New
	defer end()

	names := memory.NewSink[string]()
	flow := dataflow.NewFlow("names", memory.Slice([]string{"ada", "grace"}), dataflow.Identity[string](), names.Target(), nil)

	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{
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
	pool, end := dbtest.ExamplePostgres() // an application calls pgxpool.New
	defer end()
	names := memory.NewSink[string]()
	client := newClient(pool, dataflow.NewFlow("names", memory.Slice([]string{"ada"}), dataflow.Identity[string](), names.Target(), nil))

	tx, err := pool.Begin(ctx)
	check(err)
	run, err := client.TriggerTx(ctx, dataflowpgx.Tx(tx), "names", nil)
	check(err)
	check(tx.Rollback(ctx))

	_, err = client.Run(ctx, run.ID)
	fmt.Println("there is no such run:", errors.Is(err, dataflow.ErrNotFound))
	// Output: there is no such run: true
}

// A sink writes its rows in the transaction that commits the checkpoint, so that each record
// is written exactly once.
func ExampleTxFrom() {
	ctx := context.Background()
	pool, end := dbtest.ExamplePostgres(`create table person (name text not null)`) // an application calls pgxpool.New
	defer end()

	people := dataflow.TxSinkFunc[string](func(ctx context.Context, names []string) error {
		tx, ok := dataflowpgx.TxFrom(ctx)
		if !ok {
			return dataflow.ErrTxMismatch
		}
		for _, name := range names {
			if _, err := tx.Exec(ctx, `insert into person (name) values ($1)`, name); err != nil {
				return err
			}
		}
		return nil
	})
	flow := dataflow.NewFlow("people", memory.Slice([]string{"ada", "grace"}), dataflow.Identity[string](), dataflow.ToTx(people), nil)
	run, err := newClient(pool, flow).Trigger(ctx, "people", nil)
	check(err)

	var n int
	check(pool.QueryRow(ctx, `select count(*) from person`).Scan(&n))
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
	pool, end := dbtest.ExamplePostgres() // an application calls pgxpool.New
	defer end()

	workers := river.NewWorkers()
	river.AddWorker(workers, mailWorker{})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{
		River: &river.Config{Workers: workers}, Logger: slog.New(slog.DiscardHandler),
	})
	check(err)
	check(client.Migrate(ctx))

	rc, err := dataflowpgx.RiverClient(client)
	check(err)
	inserted, err := rc.Insert(ctx, mailArgs{To: "ada@example.com"}, nil)
	check(err)
	fmt.Println(inserted.Job.Kind, string(inserted.Job.EncodedArgs), inserted.Job.State)
	// Output: mail {"to": "ada@example.com"} available
}
