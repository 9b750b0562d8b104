// Package dataflowotel reports what flows do as OpenTelemetry traces and metrics.
//
//	telemetry, err := dataflowotel.New(nil)
//	client, err := dataflow.NewClient(driver, &dataflow.Config{Flows: flows, Observer: telemetry})
//	stop, err := telemetry.ReportFlows(client)
//
// Without Options it uses the global providers of package otel. It starts no exporter: the
// program does.
//
// # Traces
//
// An attempt at a run is a span "run NAME". Its batches are spans "batch", with the spans "read",
// "transform", "write" and "checkpoint" below them. These overlap from batch to batch, as the work
// does. Spans that a source, a transform or a sink starts itself are children of the attempt's.
//
// The attempt is a child of the span of whoever works it: River's own, of otelriver, for a River
// job. It is linked to the span of whoever asked for the run, even if another process works it
// much later.
//
// # Metrics
//
// docs/telemetry.md lists all of them. Counters and histograms come from the process in which
// something happens, and so each adds to those of the others. Gauges say how flows are doing, by
// the database: of all processes that have the same flows, one reports them. See
// [Telemetry.ReportFlows].
package dataflowotel
