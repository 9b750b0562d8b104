package dataflowotel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/activedataflow/dataflow"
)

// ReportFlows adds the gauges of the flows whose code a client has. They come from the database,
// by a statement or two at each collection. Of the processes that have the same flows, one
// reports them; if it dies, another does after Options.GaugeLease. Processes with other flows, such
// as those of another version during a deploy, report beside it: take the maximum by flow.
//
// The client need not be started. The returned function ends the reports, and lets another
// process begin; call it before the database is closed. It returns an error if the database
// cannot be told.
func (t *Telemetry) ReportFlows(client *dataflow.Client) (stop func(ctx context.Context) error, err error) {
	r := &reporter{t: t, client: client, within: patience}
	in := t.in
	registration, err := t.meter.RegisterCallback(r.collect,
		in.lag, in.logLag, in.flowState, in.failures, in.sinceGood, in.inProgress, in.waiting, in.oldestWait, in.deadLetters)
	if err != nil {
		return nil, fmt.Errorf("dataflowotel: report flows: %w", err)
	}
	return func(ctx context.Context) error {
		if err := registration.Unregister(); err != nil {
			return fmt.Errorf("dataflowotel: end the reports of flows: %w", err)
		}
		return r.letGo(ctx)
	}, nil
}

// otherFlows is how often a process that does not report looks whether it has other flows now.
const otherFlows = 5 * time.Minute

// patience is the longest that a collection waits for the database and the sources: it holds up all other
// metrics of the process, and Prometheus gives up after 10 s.
const patience = 5 * time.Second

// reporter reports the gauges of one client, if it is elected.
type reporter struct {
	t      *Telemetry
	client *dataflow.Client
	within time.Duration // see patience

	mu      sync.Mutex // guards what follows
	task    string     // that it wants to be elected for; empty: it does not know its flows
	tasked  time.Time  // when it last looked which flows it has
	asked   time.Time  // when it last asked the database
	elected bool
	stats   []*dataflow.FlowStats // of then
}

func (r *reporter) collect(ctx context.Context, o metric.Observer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked.IsZero() || time.Since(r.asked) > r.t.options.GaugeAge {
		ctx, cancel := context.WithTimeout(ctx, r.within)
		defer cancel()
		if err := r.ask(ctx); err != nil {
			r.stats, r.asked = nil, time.Time{}
			return fmt.Errorf("dataflowotel: look at the flows: %w", err)
		}
		r.asked = time.Now() //nolint:forbidigo // how long ago, not what time it is
	}
	for _, s := range r.stats {
		r.observe(o, s, r.t.of(ctx, s.Flow).flow)
	}
	return nil
}

// ask asks the database how the flows are doing, if this process is the one to report it.
func (r *reporter) ask(ctx context.Context) error {
	r.stats = nil
	var stats []*dataflow.FlowStats
	if r.task == "" || time.Since(r.tasked) > otherFlows {
		if err := r.look(ctx, &stats); err != nil || r.task == "" {
			return err
		}
	}
	var err error
	if r.elected, err = r.client.Elect(ctx, r.task, r.t.options.GaugeLease); err != nil || !r.elected {
		return err
	}
	if stats == nil {
		if err := r.look(ctx, &stats); err != nil {
			return err
		}
	}
	r.stats = stats
	return nil
}

// look reads the flows, and sets the task, which all processes with the same flows have.
func (r *reporter) look(ctx context.Context, stats *[]*dataflow.FlowStats) (err error) {
	if *stats, err = r.client.FlowStats(ctx); err != nil || len(*stats) == 0 {
		return err
	}
	names := sha256.New()
	for _, s := range *stats {
		r.t.of(ctx, s.Flow)
		_, _ = fmt.Fprintf(names, "%q", s.Flow) // it never fails
	}
	r.task, r.tasked = "dataflowotel:"+hex.EncodeToString(names.Sum(nil)[:8]), time.Now() //nolint:forbidigo // how long ago, not what time it is
	return nil
}

func (r *reporter) letGo(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.elected {
		return nil
	}
	r.elected = false
	if _, err := r.client.Elect(ctx, r.task, 0); err != nil {
		return fmt.Errorf("dataflowotel: let another process report flows: %w", err)
	}
	return nil
}

func (r *reporter) observe(o metric.Observer, s *dataflow.FlowStats, flow metric.MeasurementOption) {
	in := r.t.in
	switch {
	case s.Lag != nil:
		o.ObserveFloat64(in.lag, s.Lag.Seconds(), with(keyFlow.String(s.Flow), keyLagOf.String("record")))
	case s.Cursor != nil && s.CursorAt != nil:
		o.ObserveFloat64(in.lag, s.At.Sub(*s.CursorAt).Seconds(), with(keyFlow.String(s.Flow), keyLagOf.String("cursor")))
	}
	if s.LagBytes != nil {
		o.ObserveInt64(in.logLag, *s.LagBytes, flow)
	}
	for _, state := range []string{"active", "inactive", "tripped"} {
		is := int64(0)
		if state == stateOf(s) {
			is = 1
		}
		o.ObserveInt64(in.flowState, is, with(keyFlow.String(s.Flow), keyFlowIs.String(state)))
	}
	o.ObserveInt64(in.failures, int64(s.Failures), flow)
	if s.LastSuccessAt != nil {
		o.ObserveFloat64(in.sinceGood, s.At.Sub(*s.LastSuccessAt).Seconds(), flow)
	}
	o.ObserveInt64(in.inProgress, int64(s.InProgress), flow)
	o.ObserveInt64(in.waiting, int64(s.Due), flow)
	wait := 0.0
	if s.DueSince != nil {
		wait = s.At.Sub(*s.DueSince).Seconds()
	}
	o.ObserveFloat64(in.oldestWait, wait, flow)
	o.ObserveInt64(in.deadLetters, int64(s.DeadLetters), flow)
}

// stateOf returns the state of a flow as the gauge has it.
func stateOf(s *dataflow.FlowStats) string {
	if s.State == dataflow.FlowActive && s.TrippedAt != nil {
		return "tripped"
	}
	return string(s.State)
}
