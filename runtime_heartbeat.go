package dataflow

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/activedataflow/dataflow/internal/stored"
)

// Heartbeat works runs in process, without River: Execute in the calling
// process, and a run for later in the process that finds it due, which is a
// started client or a call of [Client.Tick]. The zero value is ready to use.
type Heartbeat struct {
	// Interval is the time between two ticks, at which the flow runs by itself: whole
	// milliseconds, at least a second. 0: it runs only when it is called, or by
	// Schedule.Cron.
	Interval time.Duration
	// Schedule has the other ways to say when the flow runs by itself, and what
	// becomes of ticks that overlap or are missed. The zero value adds nothing.
	Schedule Schedule
	// BatchSize is the number of records between two checkpoints, at least; a
	// batch ends at the first resume point from there on. 0: automatic: it begins at
	// 100, and doubles up to 10,000 as long as batches take less than a quarter of a
	// second and are of less than about 4 MiB. For a sink outside the database ([To]),
	// which is to be given the same batches again, it is 1000.
	BatchSize int
	// Disabled stops the flow's runs from being started and worked.
	Disabled bool
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
	}
}

// Execute starts a run and works it before it returns. The error of a failed
// attempt is a *[RunError]; the run may be pending then, to be tried again. If
// another run of the flow is in progress, the new one stays pending, for a
// started client or a [Client.Tick], and the error is ErrAlreadyRunning.
func (h Heartbeat) Execute(ctx context.Context, flow *Flow) (*Run, error) {
	if err := flow.bound(); err != nil {
		return nil, err
	}
	return NewFlowExecutor(flow.client).executeNew(ctx, flow, h.Settings())
}

// ExecuteAt leaves a pending run, which a started client or a [Client.Tick]
// works when it is due.
func (h Heartbeat) ExecuteAt(ctx context.Context, flow *Flow, at time.Time) (*Run, error) {
	return h.ExecuteTx(ctx, nil, flow, at)
}

// ScheduleNext is ExecuteAt one interval after from, or at the first tick of the
// Cron after it.
func (h Heartbeat) ScheduleNext(ctx context.Context, flow *Flow, from time.Time) (*Run, error) {
	if err := flow.bound(); err != nil {
		return nil, err
	}
	at, err := h.Settings().next(flow, from)
	if err != nil {
		return nil, err
	}
	return h.ExecuteAt(ctx, flow, at)
}

// ExecuteTx leaves a pending run in the caller's transaction; a nil tx is one of
// its own.
func (h Heartbeat) ExecuteTx(ctx context.Context, tx Tx, flow *Flow, at time.Time) (*Run, error) {
	return flow.start(ctx, tx, h.Settings(), at, nil)
}

// Validate returns what is wrong with the settings.
func (h Heartbeat) Validate() error { return validateCommon(h.Interval, &h.Schedule, h.BatchSize) }

type heartbeatJSON struct {
	Type string `json:"type"`
	commonJSON
}

// MarshalJSON writes the settings with their type, defaults filled in.
func (h Heartbeat) MarshalJSON() ([]byte, error) {
	return json.Marshal(heartbeatJSON{Type: h.Type(), commonJSON: commonOf(h.Settings())})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (h *Heartbeat) UnmarshalJSON(data []byte) error {
	var v heartbeatJSON
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("%s: %w", stored.Clip(string(data)), err)
	}
	*h = Heartbeat{Interval: v.interval(), Schedule: v.Schedule, BatchSize: v.batchSize(), Disabled: v.disabled()}
	return nil
}

func decodeHeartbeat(data []byte) (Runtime, error) {
	var h Heartbeat
	if err := json.Unmarshal(data, &h); err != nil {
		return nil, err
	}
	return h, h.Validate()
}
