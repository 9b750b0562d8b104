// Dashboard runs a dozen flows on SQLite that succeed, fail, retry, keep bad records, overlap and
// backfill, and serves the pages that show them at http://localhost:8080/dataflow/.
//
//	go run ./examples/dashboard
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowhttp"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/dataflowui"
)

type order struct {
	ID       int    `json:"id"`
	Customer string `json:"customer"`
	Token    string `json:"token"` // shown as ***
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := os.MkdirTemp("", "dashboard")
	check(err)
	defer os.RemoveAll(dir) //nolint:errcheck // the directory is temporary
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "dashboard.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	check(err)
	db.SetMaxOpenConns(1) // SQLite has one writer at a time

	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: flows(), CodeVersion: "v1.4.2", Logger: slog.New(slog.DiscardHandler)})
	check(err)
	check(client.Migrate(ctx))
	check(client.Start(ctx))
	prepare(ctx, client)

	ui, err := dataflowui.New(client, &dataflowui.Options{Authorize: everybody})
	check(err)
	mux := http.NewServeMux()
	mux.Handle("/dataflow/", http.StripPrefix("/dataflow", ui))
	mux.Handle("/{$}", http.RedirectHandler("/dataflow/", http.StatusSeeOther))
	address := "localhost:8080"
	if port := os.Getenv("PORT"); port != "" {
		address = "localhost:" + port
	}
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	log.Printf("open http://%s/dataflow/", address)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Print(err)
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	check(client.Stop(stopping))
}

// everybody allows everything, because the example listens on this machine alone. A service looks
// at its own sign-in here.
func everybody(*http.Request, dataflowhttp.Action, string) (string, error) { return "ann", nil }

func flows() []*dataflow.Flow {
	every := func(d time.Duration) *dataflow.FlowOptions {
		return &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: d}, OnBadRecord: dataflow.DeadLetterUpTo(100)}
	}
	list := []*dataflow.Flow{
		flow("orders", 200, 0, nil, every(5*time.Second)),
		flow("customers", 1200, 0, nil, every(10*time.Second)),
		flow("prices", 40, 0, nil, every(7*time.Second)),
		flow("invoices", 90, 0, everyNth(30, errors.New("total is not the sum of the lines")), every(15*time.Second)),
		flow("addresses", 60, 0, everyNth(20, errors.New("postcode \"ABC\" does not fit <country DE>")), every(20*time.Second)),
		flow("payments", 30, 0, everyNth(10, dataflow.Permanent(errors.New("connect to bank.example: password=hunter2 was refused"))), failing(8*time.Second)),
		flow("stock", 30, 0, everyNth(10, errors.New("warehouse is away")), failing(12*time.Second)),
		flow("reports", 10, time.Second/2, nil, every(2*time.Second)),
		flow("archive", 3000, 20*time.Millisecond, nil, &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}}),
		flow("history", 500, time.Millisecond, nil, &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}}),
		flow("nightly", 100, 0, nil, &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Schedule: dataflow.Schedule{Cron: "0 3 * * *"}}}),
		flow("newsletter", 10, 0, nil, every(time.Minute)),
	}
	return list
}

func failing(d time.Duration) *dataflow.FlowOptions {
	return &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Interval: d}}
}

// flow returns a flow of n orders, each of which takes a while, and may be bad.
func flow(name string, n int, takes time.Duration, bad func(order) error, opts *dataflow.FlowOptions) *dataflow.Flow {
	orders := make([]order, n)
	for i := range orders {
		orders[i] = order{ID: i + 1, Customer: fmt.Sprintf("customer %d", i%7), Token: "t0k3n"}
	}
	work := dataflow.Map(func(ctx context.Context, o order) (order, error) {
		if takes > 0 {
			select {
			case <-time.After(takes):
			case <-ctx.Done():
				return o, ctx.Err()
			}
		}
		if bad != nil {
			return o, bad(o)
		}
		return o, nil
	})
	return dataflow.NewFlow(name, memory.Slice(orders), work, memory.ToFunc(func(context.Context, order) error { return nil }), opts)
}

func everyNth(n int, err error) func(order) error {
	return func(o order) error {
		if o.ID%n == 0 {
			return fmt.Errorf("order %d: %w", o.ID, err)
		}
		return nil
	}
}

// prepare does what somebody who steers flows does.
func prepare(ctx context.Context, client *dataflow.Client) {
	_, err := client.Pause(ctx, "newsletter", "ann", "the texts are not ready")
	check(err)
	_, err = client.Enqueue(ctx, "archive", &dataflow.TriggerOptions{Actor: "ben", Reason: "the auditors asked"})
	check(err)
	_, err = client.Backfill(ctx, "history", &dataflow.BackfillParams{Append: true, Actor: "ann", Reason: "a rule has changed"})
	check(err)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
