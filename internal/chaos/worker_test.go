//go:build unix && chaos

package chaos_test

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// workerEnv holds the settings of a worker process, as JSON.
const workerEnv = "DATAFLOW_CHAOS_WORKER"

// workerSettings are the settings of a worker process. For a setting of the client, zero means
// the library's default.
type workerSettings struct {
	ID   string
	Kind kind
	URL  string // of Postgres, or the path of the SQLite file
	// Elsewhere is the URL of the second database, "" if there is none.
	Elsewhere string
	Orders    string // the directory of its orders
	Conns     int32
	AtOnce    int // runs
	Lease     time.Duration
	Slice     time.Duration
	// MaxRescues is how many workers in a row a run may lose, 0 for any number: a slow machine stalls workers for
	// longer than their short leases, and they count as dead.
	MaxRescues int
	// Triggers is how many goroutines start runs of the flows and work them, in this process.
	Triggers int
	Flows    []flowSettings
}

type kind string

const (
	onPostgres kind = "Postgres"
	onSQLite   kind = "SQLite"
)

var kinds = []kind{onPostgres, onSQLite}

// stopWithin is the deadline of a worker that is asked to end.
const stopWithin = 10 * time.Second

// workerMain is the main function of a worker process: a client that works runs until SIGTERM, as
// a service would. The process ends with the one that started it.
func workerMain(ctx context.Context, text string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	if err := workUntilTerm(ctx, text, log); err != nil {
		log.ErrorContext(ctx, "chaos: worker failed", slog.Any("error", err))
		return 1
	}
	return 0
}

func workUntilTerm(ctx context.Context, text string, log *slog.Logger) error {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	var w workerSettings
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		return err
	}
	orders := &orders{dir: w.Orders, log: log}
	p, driver, err := w.place(ctx, orders)
	if err != nil {
		return err
	}
	client, err := dataflow.NewClient(damaged{Driver: driver, orders: orders}, &dataflow.Config{
		ID: w.ID, Flows: w.flows(p), Lease: w.Lease, Slice: w.Slice, MaxRescues: cmp.Or(w.MaxRescues, math.MaxInt32), MaxWorkers: w.AtOnce, Logger: log,
	})
	if err != nil {
		return err
	}
	// A supervisor would restart a service that starts while its database is down.
	for {
		err := client.Start(ctx)
		if err == nil {
			break
		}
		log.WarnContext(ctx, "chaos: worker could not start", slog.Any("error", err))
		select {
		case <-time.After(100 * time.Millisecond):
		case <-term:
			return nil
		}
	}
	w.trigger(ctx, client, log)
	<-term
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	return client.Stop(ctx)
}

// trigger begins to start runs: each goroutine starts one of one flow after the other, until the process ends.
func (w *workerSettings) trigger(ctx context.Context, client *dataflow.Client, log *slog.Logger) {
	for i := range w.Triggers {
		go func() {
			for n := i; ctx.Err() == nil; n += w.Triggers {
				if _, err := client.Trigger(ctx, w.Flows[n%len(w.Flows)].Name, nil); err != nil {
					log.InfoContext(ctx, "chaos: not started", slog.Any("error", err))
					pause(ctx, 10*time.Millisecond)
				}
			}
		}()
	}
}

// place opens the databases. On Postgres, the connections have the worker's name.
func (w *workerSettings) place(ctx context.Context, o *orders) (p place, driver dataflow.Driver, err error) {
	p = place{kind: w.Kind, orders: o}
	if w.Elsewhere != "" {
		if p.elsewhere, err = w.pool(ctx, w.Elsewhere, sinkTracer{orders: o}); err != nil {
			return p, nil, err
		}
	}
	switch w.Kind {
	case onPostgres:
		p.pool, err = w.pool(ctx, w.URL, nil)
		return p, dataflowpgx.New(p.pool), err
	case onSQLite:
		db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: w.URL}).EscapedPath()+
			"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)")
		if err != nil {
			return p, nil, err
		}
		db.SetMaxOpenConns(1)
		return p, dataflowsqlite.New(db), nil
	default:
		return p, nil, errors.New("unknown kind of database: " + string(w.Kind))
	}
}

func (w *workerSettings) pool(ctx context.Context, url string, tracer pgx.QueryTracer) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = max(w.Conns, 1)
	config.ConnConfig.RuntimeParams["application_name"] = w.ID
	config.ConnConfig.Tracer = tracer
	return pgxpool.NewWithConfig(ctx, config)
}

func (w *workerSettings) flows(p place) []*dataflow.Flow {
	flows := make([]*dataflow.Flow, len(w.Flows))
	for i := range w.Flows {
		flows[i] = w.Flows[i].flow(p)
	}
	return flows
}

func (w *workerSettings) env() string {
	text, err := json.Marshal(w)
	if err != nil {
		return fmt.Sprint(err) // The worker fails to parse it, and logs that.
	}
	return workerEnv + "=" + string(text)
}
