// Otel works a flow once, and prints its trace and its metrics.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"

	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
	_ "modernc.org/sqlite"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/sqltable"
	"github.com/activedataflow/dataflow/dataflowotel"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

type Bird struct {
	Name string `db:"name"`
}

func main() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "file:otel.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	check(err)
	db.SetMaxOpenConns(1) // SQLite has one writer
	_, err = db.ExecContext(ctx, `create table if not exists birds (name text)`)
	check(err)

	// A service exports to its collector here.
	spans, err := stdouttrace.New(stdouttrace.WithWriter(os.Stdout), stdouttrace.WithPrettyPrint())
	check(err)
	tracers := trace.NewTracerProvider(trace.WithBatcher(spans))
	metrics, err := stdoutmetric.New(stdoutmetric.WithWriter(os.Stdout), stdoutmetric.WithPrettyPrint())
	check(err)
	meters := metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(metrics)))

	telemetry, err := dataflowotel.New(&dataflowotel.Options{TracerProvider: tracers, MeterProvider: meters})
	check(err)
	birds := dataflow.NewFlow("birds", memory.Slice([]Bird{{"wren"}, {"robin"}, {"heron"}}), dataflow.Identity[Bird](), sqltable.Insert[Bird]("birds"), nil)
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{birds}, Observer: telemetry})
	check(err)
	stop, err := telemetry.ReportFlows(client)
	check(err)
	check(client.Migrate(ctx))
	check(client.Start(ctx))

	// The run is linked to this span, whichever process works it.
	asking, span := tracers.Tracer("example").Start(ctx, "POST /birds")
	run, err := client.Enqueue(asking, "birds", nil)
	check(err)
	span.End()
	run, err = client.Wait(ctx, run.ID)
	check(err)

	check(client.Stop(ctx))
	check(tracers.Shutdown(ctx)) // prints the spans
	check(meters.Shutdown(ctx))  // prints the metrics
	check(stop(ctx))
	fmt.Printf("run %d: %s, %d read, %d written\n", run.ID, run.State, run.Counters.Read, run.Counters.Written)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
