// Schedules shows what happens to ticks: one runs, some overlap a slow run, and
// some fall into a pause. It prints the ledger of ticks and explains them. Then it
// does the same by requests to the heartbeat endpoint. It takes about fifteen
// seconds.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	_ "modernc.org/sqlite"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowhttp"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

const token = "an-example-of-a-token"

func main() {
	ctx := context.Background()
	file, err := os.MkdirTemp("", "schedules")
	check(err)
	defer os.RemoveAll(file) //nolint:errcheck // the directory is temporary
	db, err := sql.Open("sqlite", "file:"+file+"/schedules.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	check(err)
	db.SetMaxOpenConns(1) // SQLite has one writer at a time

	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{
		Flows:  []*dataflow.Flow{flow("quick", 0), flow("slow", 6*time.Second)},
		Logger: slog.New(slog.DiscardHandler),
	})
	check(err)
	check(client.Migrate(ctx))
	check(client.Start(ctx))
	work(ctx, client)
	check(client.Stop(ctx))

	// Requests do the same without a started client. No process was running for a while.
	client, err = dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{
		Flows:  []*dataflow.Flow{flow("quick", 0)},
		Logger: slog.New(slog.DiscardHandler),
	})
	check(err)
	check(client.Register(ctx))
	time.Sleep(3 * time.Second)
	request(client)
	show(ctx, client, "quick")
	check(client.Stop(ctx))
}

// flow returns a flow that is due every second and takes the given time.
func flow(name string, takes time.Duration) *dataflow.Flow {
	slowly := dataflow.Map(func(ctx context.Context, n int) (int, error) {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
		}
		return n, ctx.Err()
	})
	return dataflow.NewFlow(name, memory.Slice([]int{1}), slowly, memory.NewSink[int]().Target(),
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: time.Second}})
}

func work(ctx context.Context, client *dataflow.Client) {
	time.Sleep(4 * time.Second)
	why(ctx, client, "slow")
	_, err := client.Pause(ctx, "quick", "ann", "the disk is full")
	check(err)
	time.Sleep(3 * time.Second)
	why(ctx, client, "quick")
	_, err = client.Resume(ctx, "quick", "ann", "")
	check(err)
	time.Sleep(2 * time.Second)
	show(ctx, client, "quick")
	show(ctx, client, "slow")
}

func why(ctx context.Context, client *dataflow.Client, name string) {
	e, err := client.Why(ctx, name)
	check(err)
	fmt.Printf("Why is %s not running?\n%s\n\n", name, e)
}

// show prints the outcome of each tick.
func show(ctx context.Context, client *dataflow.Client, name string) {
	runs, err := client.Runs(ctx, &dataflow.RunListParams{Flow: name, Trigger: dataflow.TriggerSchedule})
	check(err)
	fmt.Printf("Ticks of %s:\n", name)
	for i := range runs {
		run := runs[len(runs)-1-i]
		fmt.Printf("  %s           run %d, %s\n", run.ScheduledFor.Format(time.TimeOnly), run.ID, run.State)
	}
	skipped, err := client.SkippedTicks(ctx, &dataflow.TickListParams{Flow: name})
	check(err)
	for i := range skipped {
		s := skipped[len(skipped)-1-i]
		fmt.Printf("  %s-%s  %d skipped: %s\n", s.First.Format(time.TimeOnly), s.Last.Format(time.TimeOnly), s.Count, s.Reason)
	}
	fmt.Println()
}

func request(client *dataflow.Client) {
	handler, err := dataflowhttp.Heartbeat(client, &dataflowhttp.HeartbeatOptions{Tokens: []string{token}})
	check(err)
	server := httptest.NewServer(handler)
	defer server.Close()
	req, err := http.NewRequest(http.MethodPost, server.URL+"?wait=10s", http.NoBody) //nolint:noctx // a short program
	check(err)
	req.Header.Set("X-Heartbeat-Token", token)
	res, err := http.DefaultClient.Do(req)
	check(err)
	defer res.Body.Close() //nolint:errcheck // the body was read
	body, err := io.ReadAll(res.Body)
	check(err)
	fmt.Printf("POST /?wait=10s: %s\n%s\n", res.Status, body)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
