package dataflowotel

import (
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// The attributes of spans and metrics.
const (
	keyFlow     = attribute.Key("dataflow.flow.name")
	keyState    = attribute.Key("dataflow.run.state")
	keyTrigger  = attribute.Key("dataflow.run.trigger")
	keyEnd      = attribute.Key("dataflow.attempt.end")
	keyOutcome  = attribute.Key("dataflow.record.outcome")
	keyStage    = attribute.Key("dataflow.batch.stage")
	keyLagOf    = attribute.Key("dataflow.flow.lag_of")
	keyFlowIs   = attribute.Key("dataflow.flow.state")
	keyRun      = attribute.Key("dataflow.run.id")
	keyAttempt  = attribute.Key("dataflow.run.attempt")
	keyWorker   = attribute.Key("dataflow.run.worker")
	keyBackfill = attribute.Key("dataflow.run.backfill")
	keyJob      = attribute.Key("dataflow.run.river_job")
	keyBatches  = attribute.Key("dataflow.run.batches")
)

// The boundaries of histograms. Batches and checkpoints take milliseconds; runs wait and work
// from a moment to a day.
func moments() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
}

func waits() []float64 {
	return []float64{.01, .05, .1, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}
}

func spells() []float64 {
	return []float64{.05, .1, .5, 1, 5, 15, 60, 300, 900, 1800, 3600, 4 * 3600, 12 * 3600, 24 * 3600}
}

func numbers() []float64 {
	return []float64{1, 10, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000}
}

// instruments are all that is measured.
type instruments struct {
	runEnded      metric.Int64Counter
	runDuration   metric.Float64Histogram
	runWait       metric.Float64Histogram
	tickLateness  metric.Float64Histogram
	attemptEnded  metric.Int64Counter
	leaseLost     metric.Int64Counter
	takenOver     metric.Int64Counter
	records       metric.Int64Counter
	batchSize     metric.Int64Histogram
	batchDuration metric.Float64Histogram
	checkpoint    metric.Float64Histogram

	lag         metric.Float64ObservableGauge
	logLag      metric.Int64ObservableGauge
	flowState   metric.Int64ObservableGauge
	failures    metric.Int64ObservableGauge
	sinceGood   metric.Float64ObservableGauge
	inProgress  metric.Int64ObservableGauge
	waiting     metric.Int64ObservableGauge
	oldestWait  metric.Float64ObservableGauge
	deadLetters metric.Int64ObservableGauge
}

func newInstruments(m metric.Meter) (*instruments, error) {
	var in instruments
	var errs []error
	counter := func(to *metric.Int64Counter, name, unit, meaning string) {
		c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(meaning))
		*to, errs = c, append(errs, err)
	}
	seconds := func(to *metric.Float64Histogram, name, meaning string, bounds []float64) {
		h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(meaning), metric.WithExplicitBucketBoundaries(bounds...))
		*to, errs = h, append(errs, err)
	}
	gauge := func(to *metric.Int64ObservableGauge, name, unit, meaning string) {
		g, err := m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(meaning))
		*to, errs = g, append(errs, err)
	}
	age := func(to *metric.Float64ObservableGauge, name, meaning string) {
		g, err := m.Float64ObservableGauge(name, metric.WithUnit("s"), metric.WithDescription(meaning))
		*to, errs = g, append(errs, err)
	}
	counter(&in.runEnded, "dataflow.run.ended", "{run}", "Runs that ended, by their state.")
	seconds(&in.runDuration, "dataflow.run.duration", "Time from the start of a run's first attempt to its end.", spells())
	seconds(&in.runWait, "dataflow.run.wait", "Time from when a run was due until a worker took it up.", waits())
	seconds(&in.tickLateness, "dataflow.tick.lateness", "Time from a tick until its run was stored.", waits())
	counter(&in.attemptEnded, "dataflow.attempt.ended", "{attempt}", "Attempts at runs that ended, by how.")
	counter(&in.leaseLost, "dataflow.lease.lost", "{lease}", "Attempts that lost their run to another worker.")
	counter(&in.takenOver, "dataflow.lease.taken_over", "{run}", "Runs that were put back because their worker had died.")
	counter(&in.records, "dataflow.record.processed", "{record}", "Records that were read and committed, by what became of them.")
	seconds(&in.batchDuration, "dataflow.batch.duration", "Time that a stage took for a batch.", moments())
	seconds(&in.checkpoint, "dataflow.checkpoint.duration", "Time from the request to commit a batch and its checkpoint to the answer.", moments())
	size, err := m.Int64Histogram("dataflow.batch.size", metric.WithUnit("{record}"), metric.WithDescription("Records in a batch."), metric.WithExplicitBucketBoundaries(numbers()...))
	in.batchSize, errs = size, append(errs, err)

	age(&in.lag, "dataflow.flow.lag", "Age of the oldest record not yet read, or, if the source cannot tell, of the cursor.")
	gauge(&in.logLag, "dataflow.flow.log_lag", "By", "Bytes of the source's log that the flow has not read, if the source reads one.")
	gauge(&in.flowState, "dataflow.flow.state", "{flow}", "1 for the state that the flow is in.")
	gauge(&in.failures, "dataflow.flow.failures", "{run}", "Runs that failed in a row since the last success.")
	age(&in.sinceGood, "dataflow.flow.success_age", "Time since the last success.")
	gauge(&in.inProgress, "dataflow.run.in_progress", "{run}", "Runs that are worked.")
	gauge(&in.waiting, "dataflow.run.waiting", "{run}", "Runs that are due and wait.")
	age(&in.oldestWait, "dataflow.run.oldest_wait", "Time since the oldest waiting run was due.")
	gauge(&in.deadLetters, "dataflow.dead_letter.open", "{record}", "Open dead letters, up to 10,000.")
	return &in, errors.Join(errs...)
}
