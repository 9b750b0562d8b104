// Kill counts to 20,000 in two processes of which it kills one after the other with SIGKILL, and
// starts a new one for each. No number is lost or doubled. See README.md.
package main

import (
	"context"
	"fmt"
	"iter"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

const (
	last  = 20_000
	kills = 3
)

type Number struct {
	N int64 `db:"n"`
}

// counter is a source of the numbers to last. Its cursor is the last number.
type counter struct{}

func (counter) Read(ctx context.Context, r dataflow.Request[int64]) iter.Seq2[dataflow.Item[Number, int64], error] {
	return func(yield func(dataflow.Item[Number, int64], error) bool) {
		for n := r.From + 1; n <= last; n++ {
			if n%100 == 0 {
				time.Sleep(10 * time.Millisecond) // so that there is time to kill
			}
			if !yield(dataflow.Item[Number, int64]{Value: Number{n}, Cursor: n, Resume: true}, ctx.Err()) {
				return
			}
		}
	}
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
	// Insert would fail at a number that is there already: numbers has a primary key.
	numbers := dataflow.NewFlow("numbers", counter{}, dataflow.Identity[Number](), pgtable.Insert[Number]("numbers"),
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 100}})
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{
		Flows: []*dataflow.Flow{numbers}, ID: os.Getenv("WORKER"), Lease: time.Second, // how long after a kill another process takes over
		PollInterval: 100 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	check(err)
	if len(os.Args) > 1 { // a worker
		check(client.Start(ctx))
		select {}
	}
	_, err = pool.Exec(ctx, `create table if not exists numbers (n bigint primary key); truncate numbers`)
	check(err)
	check(client.Migrate(ctx))
	check(client.Register(ctx))
	run, err := client.Enqueue(ctx, "numbers", nil)
	check(err)
	killAll(ctx, client, run.ID)

	var rows, different int64
	check(pool.QueryRow(ctx, `select count(*), count(distinct n) from numbers`).Scan(&rows, &different))
	fmt.Printf("%d rows of %d numbers, after %d kills\n", rows, different, kills)
}

// killAll keeps two workers alive, and kills the one that works the run again and again.
func killAll(ctx context.Context, client *dataflow.Client, id int64) {
	workers := map[string]*exec.Cmd{}
	killed := 0
	defer func() {
		for _, w := range workers {
			_ = w.Process.Kill()
			_ = w.Wait()
		}
	}()
	for {
		for len(workers) < 2 {
			name := fmt.Sprintf("worker %d", len(workers)+killed+1)
			w := exec.Command(os.Args[0], name) //nolint:gosec,noctx // the program itself
			w.Env, w.Stderr = append(os.Environ(), "WORKER="+name), os.Stderr
			check(w.Start())
			workers[name] = w
		}
		run, err := client.Run(ctx, id)
		check(err)
		fmt.Printf("%s: %d written, worked by %q\n", run.State, run.Counters.Written, run.Worker)
		if run.State.Finished() {
			return
		}
		if w := workers[run.Worker]; w != nil && killed < kills && run.Counters.Written > int64(killed+1)*last/10 {
			fmt.Printf("kill -9 %d (%s)\n", w.Process.Pid, run.Worker)
			check(w.Process.Kill())
			_ = w.Wait() // it was killed
			delete(workers, run.Worker)
			killed++
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
