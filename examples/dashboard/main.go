// Dashboard runs a dozen flows on SQLite that succeed, fail, retry, keep bad records, overlap and
// backfill, and serves the pages that show them at http://localhost:8080/dataflow/.
//
//	go run ./examples/dashboard
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
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
		events(),
	}
	return list
}

// eventLog is a source to which an event comes every 50 ms. It tells how far its readers are after it,
// and where a backfill can be cut into ranges.
type eventLog struct{ began time.Time }

// The powers of the source that the dashboard shows.
var (
	_ dataflow.Lagger[int]         = eventLog{}
	_ dataflow.Counter[int]        = eventLog{}
	_ dataflow.Splitter[int]       = eventLog{}
	_ dataflow.RequestChecker[int] = eventLog{}
)

const eventEvery = 50 * time.Millisecond

// last is the number of the newest event, or of the last one that is asked for.
func (l eventLog) last(r dataflow.Request[int]) int {
	n := 6000 + int(time.Since(l.began)/eventEvery)
	if r.Bounded {
		return min(n, r.Until)
	}
	return n
}

func (l eventLog) Read(_ context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[order, int], error] {
	return func(yield func(dataflow.Item[order, int], error) bool) {
		for i := r.From + 1; i <= l.last(r); i++ {
			if !yield(dataflow.Item[order, int]{Value: order{ID: i, Customer: "customer 1", Token: "t0k3n"}, Cursor: i, Resume: true}, nil) {
				return
			}
		}
	}
}

func (l eventLog) Lag(_ context.Context, r dataflow.Request[int]) (time.Duration, bool, error) {
	return time.Duration(l.last(r)-r.From) * eventEvery, true, nil
}

func (l eventLog) CheckRequest(dataflow.Request[int]) error { return nil }

func (l eventLog) Count(_ context.Context, r dataflow.Request[int]) (int64, error) {
	return int64(l.last(r) - r.From), nil
}

func (l eventLog) Split(_ context.Context, r dataflow.Request[int], n int) ([]int, error) {
	var cuts []int
	for i := 1; i < n; i++ {
		cuts = append(cuts, r.From+(l.last(r)-r.From)*i/n)
	}
	return cuts, nil
}

// events is a flow that lags, and that is read again in ranges, two at once.
func events() *dataflow.Flow {
	slowly := dataflow.Map(func(ctx context.Context, o order) (order, error) {
		select {
		case <-time.After(25 * time.Millisecond):
			return o, nil
		case <-ctx.Done():
			return o, ctx.Err()
		}
	})
	return dataflow.NewFlow("events", eventLog{time.Now()}, slowly, memory.ToFunc(func(context.Context, order) error { return nil }), &dataflow.FlowOptions{
		Runtime: dataflow.Heartbeat{BatchSize: 50, Schedule: dataflow.Schedule{Cron: "* * * * *", TimeZone: "Europe/Berlin"}}, MaxBackfills: 2,
	})
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
	_, err = client.BackfillRanges(ctx, "events", 8, &dataflow.BackfillParams{Append: true, Until: json.RawMessage("6000"), Actor: "ann", Reason: "all events have a new field"})
	check(err)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
