package main

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowotel"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// discarded takes spans and exports them nowhere.
type discarded struct{}

func (discarded) ExportSpans(context.Context, []trace.ReadOnlySpan) error { return nil }
func (discarded) Shutdown(context.Context) error                          { return nil }

// observed works the flow of the insert bench with every run traced and measured, by the SDK of
// OpenTelemetry. Each batch gets its spans.
func (w *work) observed(ctx context.Context) error {
	tracers := trace.NewTracerProvider(trace.WithBatcher(discarded{}))
	meters := metric.NewMeterProvider(metric.WithReader(metric.NewManualReader()))
	observer, err := dataflowotel.New(&dataflowotel.Options{TracerProvider: tracers, MeterProvider: meters, BatchSpans: 1_000_000})
	if err != nil {
		return err
	}
	w.run++
	f := dataflow.NewFlow(fmt.Sprintf("observed %d", w.run), w.keyset(), transform(), insert(), nil)
	_, err = executeObserved(ctx, dataflowpgx.New(w.pool), f, observer)
	return errors.Join(err, tracers.Shutdown(ctx), meters.Shutdown(ctx))
}
