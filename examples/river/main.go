// River is a service with a River client and jobs of its own. The flows share that client: their
// runs are jobs in one of its queues. See README.md.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

type Name struct {
	Name string `db:"name"`
}

// MailArgs and mailWorker are a job of the service.
type MailArgs struct {
	To string `json:"to"`
}

func (MailArgs) Kind() string { return "mail" }

type mailWorker struct {
	river.WorkerDefaults[MailArgs]
	sent chan<- string
}

func (w *mailWorker) Work(_ context.Context, job *river.Job[MailArgs]) error {
	w.sent <- job.Args.To
	return nil
}

func main() {
	url := os.Getenv("DATABASE_URL")
	if url == "" {
		log.Fatal("set DATABASE_URL, such as postgres://user:password@localhost:5432/name")
	}
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, url)
	check(err)
	defer pool.Close()
	_, err = pool.Exec(ctx, `create table if not exists names (name text primary key)`)
	check(err)

	names := dataflow.NewFlow("names", memory.Slice([]Name{{"ada"}, {"grace"}}), dataflow.Identity[Name](), pgtable.Upsert[Name]("names", "name"),
		&dataflow.FlowOptions{Runtime: dataflow.JobQueue{Queue: "flows"}})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{names}})
	check(err)
	check(client.Migrate(ctx)) // River's tables, too

	// The service makes, starts and stops its River client.
	sent := make(chan string, 1)
	workers := river.NewWorkers()
	river.AddWorker(workers, &mailWorker{sent: sent})
	check(client.AddWorker(workers)) // the worker of runs
	rc, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Workers: workers,
		Queues: map[string]river.QueueConfig{
			river.QueueDefault: {MaxWorkers: 10}, // the service's jobs
			"flows":            {MaxWorkers: 4},  // runs
		},
	})
	check(err)
	check(dataflow.UseRiver(client, rc)) // before anything is started
	check(client.Start(ctx))
	check(rc.Start(ctx))

	// A job and a run, in one transaction.
	var run *dataflow.Run
	check(pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := rc.InsertTx(ctx, tx, MailArgs{To: "ada@example.com"}, nil); err != nil {
			return err
		}
		run, err = client.TriggerTx(ctx, dataflowpgx.Tx(tx), "names", nil)
		return err
	}))
	fmt.Println("mail to", <-sent)
	run, err = client.Wait(ctx, run.ID)
	check(err)
	fmt.Printf("run %d: %s, %d written, by a job in the queue %q\n", run.ID, run.State, run.Counters.Written, run.Queue)
	check(rc.Stop(ctx)) // first, because it works runs
	check(client.Stop(ctx))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
