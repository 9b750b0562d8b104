package dataflow

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/activedataflow/dataflow/internal/stored"
)

// Heartbeat works runs without River. Execute works its run in the calling process. A
// run for later is worked by the process that finds it due: a started client, or a call
// of [Client.Tick]. The zero value is ready to use.
type Heartbeat struct {
	// Interval is the time between two ticks, at which the flow runs by itself: whole
	// milliseconds, at least a second. 0: the flow runs only when it is called, or by
	// Schedule.Cron.
	Interval time.Duration
	// Schedule holds the other options of the schedule: a Cron, and what happens to
	// ticks that overlap or are missed. The zero value adds nothing.
	Schedule Schedule
	// BatchSize is the least number of records between two checkpoints. A batch ends at
	// the first resume point from there on. 0 is automatic:
	//
	//   - A batch begins with 100 records. The size doubles, up to 10,000, after each
	//     batch that took less than a quarter of a second. It halves, down to 100,
	//     after one that took more than a second.
	//   - A batch of heavy records ends at about 4 MiB.
	//   - For a sink outside the database ([To]) the size stays 1000, so that a retry
	//     gives it the same batch.
	BatchSize int
	// Disabled stops the flow's runs from being started and worked.
	Disabled bool

	options string // of the Ruby gem, as JSON
}

// Type returns "heartbeat".
func (Heartbeat) Type() string { return "heartbeat" }

// Settings returns what all Runtimes have, defaults filled in.
func (h Heartbeat) Settings() RuntimeSettings {
	return RuntimeSettings{
		Enabled:   !h.Disabled,
		Interval:  h.Interval,
		Schedule:  h.Schedule,
		BatchSize: h.BatchSize,
		options:   h.options,
	}
}

// Execute starts a run and works it before it returns. The error of a failed attempt is
// a *[RunError]. The run may then be pending, to be tried again. If another run of the
// flow is in progress, or has lost its worker and goes first, the error is ErrAlreadyRunning. The new run then stays pending,
// for a started client or a [Client.Tick].
func (h Heartbeat) Execute(ctx context.Context, flow *Flow) (*Run, error) {
	if err := flow.mustBeBound(); err != nil {
		return nil, err
	}
	return NewFlowExecutor(flow.client).executeNew(ctx, flow, h.Settings())
}

// ExecuteAt stores a pending run. A started client or a [Client.Tick] works it when it
// is due.
func (h Heartbeat) ExecuteAt(ctx context.Context, flow *Flow, at time.Time) (*Run, error) {
	return h.ExecuteTx(ctx, nil, flow, at)
}

// ScheduleNext is ExecuteAt one Interval after from, or at the first tick of the Cron
// after from.
func (h Heartbeat) ScheduleNext(ctx context.Context, flow *Flow, from time.Time) (*Run, error) {
	if err := flow.mustBeBound(); err != nil {
		return nil, err
	}
	at, err := h.Settings().nextAt(flow, from)
	if err != nil {
		return nil, err
	}
	return h.ExecuteAt(ctx, flow, at)
}

// ExecuteTx stores a pending run in the caller's transaction. If tx is nil, it uses a
// transaction of its own.
func (h Heartbeat) ExecuteTx(ctx context.Context, tx Tx, flow *Flow, at time.Time) (*Run, error) {
	return flow.start(ctx, tx, h.Settings(), at, nil)
}

// Validate returns what is wrong with the settings, each fault as a *[ConfigError],
// joined.
func (h Heartbeat) Validate() error { return validateCommon(h.Interval, &h.Schedule, h.BatchSize) }

type heartbeatJSON struct {
	Type string `json:"type"`
	commonJSON
}

// MarshalJSON writes the settings with their type. What is not set is null.
func (h Heartbeat) MarshalJSON() ([]byte, error) {
	return json.Marshal(heartbeatJSON{Type: h.Type(), commonJSON: commonOf(h.Settings())})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (h *Heartbeat) UnmarshalJSON(data []byte) error {
	var v heartbeatJSON
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("%s: %w", stored.Clip(string(data)), err)
	}
	*h = Heartbeat{Interval: v.interval(), Schedule: v.Schedule, BatchSize: v.batchSize(), Disabled: v.disabled(), options: string(v.Options)}
	return nil
}

func decodeHeartbeat(data []byte) (Runtime, error) {
	var h Heartbeat
	if err := json.Unmarshal(data, &h); err != nil {
		return nil, err
	}
	return h, h.Validate()
}

func migrateToHeartbeat(s RuntimeSettings, _ string, _ int) Runtime {
	return Heartbeat{Interval: s.Interval, Schedule: s.Schedule, BatchSize: s.BatchSize, Disabled: !s.Enabled, options: s.options}
}
