package dataflow

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/riverqueue/river"

	"github.com/activedataflow/dataflow/internal/stored"
)

// DefaultQueue is the River queue of a [JobQueue] that names none.
const DefaultQueue = "active_data_flow"

// JobQueue works runs by River jobs: in any process whose client has the flow's code
// and works the queue. The zero value is ready to use.
type JobQueue struct {
	// Queue is the River queue. Empty: "active_data_flow". Services that share a database need different ones:
	// a process that takes a job of a flow whose code it lacks puts it off for five seconds, again and again.
	Queue string
	// Priority is River's: 1, the highest, to 4. 0: none, which River takes as 1.
	Priority int
	// Interval is the time between two ticks, at which the flow runs by itself: whole
	// milliseconds, at least a second. 0: the flow runs only when it is called, or by
	// Schedule.Cron.
	Interval time.Duration
	// Schedule holds the other options of the schedule: a Cron, and what happens to
	// ticks that overlap or are missed. The zero value adds nothing.
	Schedule Schedule
	// BatchSize is the least number of records between two checkpoints. 0 is automatic.
	// See [Heartbeat].
	BatchSize int
	// Disabled stops the flow's runs from being started and worked.
	Disabled bool

	options string // of the Ruby gem, as JSON
}

// Type returns "job_queue".
func (JobQueue) Type() string { return "job_queue" }

// QueueName returns the River queue, the default filled in.
func (j JobQueue) QueueName() string { return cmp.Or(j.Queue, DefaultQueue) }

// Settings returns what all Runtimes have, defaults filled in.
func (j JobQueue) Settings() RuntimeSettings {
	return RuntimeSettings{
		Enabled:   !j.Disabled,
		Interval:  j.Interval,
		Schedule:  j.Schedule,
		BatchSize: j.BatchSize,
		options:   j.options,
	}
}

// Execute stores a run and its River job, in one transaction.
func (j JobQueue) Execute(ctx context.Context, flow *Flow) (*Run, error) {
	return j.ExecuteTx(ctx, nil, flow, time.Time{})
}

// ExecuteAt stores a run and its River job, scheduled at the time, in one transaction.
func (j JobQueue) ExecuteAt(ctx context.Context, flow *Flow, at time.Time) (*Run, error) {
	return j.ExecuteTx(ctx, nil, flow, at)
}

// ScheduleNext is ExecuteAt one Interval after from, or at the first tick of the Cron
// after from.
func (j JobQueue) ScheduleNext(ctx context.Context, flow *Flow, from time.Time) (*Run, error) {
	if err := flow.mustBeBound(); err != nil {
		return nil, err
	}
	at, err := j.Settings().nextAt(flow, from)
	if err != nil {
		return nil, err
	}
	return j.ExecuteAt(ctx, flow, at)
}

// ExecuteTx stores a run and its River job in the caller's transaction. If tx is nil,
// it uses a transaction of its own.
func (j JobQueue) ExecuteTx(ctx context.Context, tx Tx, flow *Flow, at time.Time) (*Run, error) {
	opts := j.insertOpts()
	return flow.start(ctx, tx, j.Settings(), at, &opts)
}

func (j JobQueue) insertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: j.QueueName(), Priority: j.Priority}
}

// queueName is what River accepts as the name of a queue: nameRegex of v0.51.1.
var queueName = regexp.MustCompile(`^[a-z0-9]+(?:[_|-]?[a-z0-9]+)*$`)

// Validate returns what is wrong with the settings, each fault as a *[ConfigError],
// joined.
func (j JobQueue) Validate() error {
	errs := []error{validateCommon(j.Interval, &j.Schedule, j.BatchSize)}
	if j.Priority < 0 || j.Priority > 4 {
		errs = append(errs, &ConfigError{Field: "Priority", Reason: fmt.Sprintf("%d is not a priority of River: use 1 (highest) to 4, or 0 for none", j.Priority)})
	}
	if q := j.QueueName(); len(q) > 64 || !queueName.MatchString(q) {
		errs = append(errs, &ConfigError{Field: "Queue", Reason: fmt.Sprintf("%q is not a River queue: use up to 64 lower-case letters and digits, separated by single underscores or hyphens", stored.Clip(q))})
	}
	return errors.Join(errs...)
}

type jobQueueJSON struct {
	Type     string  `json:"type"`
	Queue    *string `json:"queue"`
	Priority *int    `json:"priority"`
	commonJSON
}

// MarshalJSON writes the settings with their type. The queue is never null.
func (j JobQueue) MarshalJSON() ([]byte, error) {
	queue := j.QueueName()
	v := jobQueueJSON{Type: j.Type(), Queue: &queue, commonJSON: commonOf(j.Settings())}
	if j.Priority != 0 {
		v.Priority = &j.Priority
	}
	return json.Marshal(v)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (j *JobQueue) UnmarshalJSON(data []byte) error {
	var v jobQueueJSON
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("%s: %w", stored.Clip(string(data)), err)
	}
	*j = JobQueue{Interval: v.interval(), Schedule: v.Schedule, BatchSize: v.batchSize(), Disabled: v.disabled(), options: string(v.Options)}
	if v.Queue != nil {
		j.Queue = *v.Queue
	}
	if v.Priority != nil {
		j.Priority = *v.Priority
	}
	return nil
}

func decodeJobQueue(data []byte) (Runtime, error) {
	var j JobQueue
	if err := json.Unmarshal(data, &j); err != nil {
		return nil, err
	}
	return j, j.Validate()
}

func migrateToJobQueue(s RuntimeSettings, queue string, priority int) Runtime {
	return JobQueue{Queue: queue, Priority: priority, Interval: s.Interval, Schedule: s.Schedule, BatchSize: s.BatchSize, Disabled: !s.Enabled, options: s.options}
}
