package dataflow

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/activedataflow/dataflow/internal/schedule"
	"github.com/activedataflow/dataflow/internal/stored"
)

// MaxNameLength is the greatest length of a flow's name, in bytes.
const MaxNameLength = 200

// OverdueAfter is how long after its time a tick or a run counts as overdue.
const OverdueAfter = time.Hour

// LateAfter is how long after its tick an active flow counts as in trouble.
const LateAfter = time.Minute

// Flow reads, transforms and writes records. [NewFlow] declares it in code, and a
// started [Client] stores it under its name. A Flow that a client returns also carries
// what is stored of it. It is bound to that client, so that it can be handed to its
// [Runtime]. It is a copy: it does not change.
type Flow struct {
	FlowRecord

	// Runtime decides when and where the flow's runs are worked.
	Runtime Runtime

	// LastRuns are its newest runs, newest first, if FlowListParams.LastRuns asked for them.
	LastRuns []*RunSummary

	opts   FlowOptions
	code   pipeline // nil: this process does not have the flow's code
	client *Client  // nil: not got from a client

	request *request // what its Runtime is asked for; nil: a plain run
}

// FlowRecord is what is stored of a flow.
type FlowRecord struct {
	ID   int64
	Name string

	// Source, Sink and RuntimeJSON describe the flow's parts as JSON objects.
	Source      json.RawMessage
	Sink        json.RawMessage
	RuntimeJSON json.RawMessage
	// MigratedFrom is the Runtime that the flow's code declared when somebody migrated
	// the flow to another Runtime. Registering the same code again does not undo that.
	// Nil: the Runtime is the code's own. Equal to RuntimeJSON: a migration back has
	// not yet cancelled the waiting runs. See [Client.MigrateRuntimes].
	MigratedFrom json.RawMessage
	// Guarantee says how often a record can arrive in the flow's sink.
	Guarantee Guarantee

	// State is set by operators. Registering a flow again does not change it.
	State       FlowState
	StateBy     string
	StateReason string
	StateAt     *time.Time

	// ScheduleJSON is the schedule as a JSON object. ScheduleAt is since when it has
	// its present ticks.
	ScheduleJSON json.RawMessage
	ScheduleAt   time.Time

	// NextRunAt is the next tick, nil if there is none. All processes go by it.
	NextRunAt *time.Time
	// NextRunLocal is the local time of a cron expression that NextRunAt stands for, such
	// as "2026-12-01 02:00:00". Processes with different zone data agree by it which tick
	// that is. Empty: the tick has none.
	NextRunLocal  string
	LastRunAt     *time.Time
	LastSuccessAt *time.Time
	// LastError is the error of the last attempt, empty after a success.
	LastError string
	// Failures counts the runs that failed in a row since the last success, or since a run went on
	// to its next slice.
	Failures int
	// TrippedAt is when Schedule.PauseAfter failures in a row stopped ticks from
	// starting runs, nil if they have not. TrippedReason says which failures. A probe
	// run starts at ProbeAt.
	TrippedAt     *time.Time
	TrippedReason string
	ProbeAt       *time.Time

	// CodeVersion is the Config.CodeVersion of the client that registered the flow
	// last. DefinitionHash is equal for equal definitions.
	CodeVersion    string
	DefinitionHash string

	CreatedAt time.Time
	UpdatedAt time.Time
}

// nextTick returns the stored tick, nil if there is none.
func (f *FlowRecord) nextTick() *schedule.Tick {
	if f.NextRunAt == nil {
		return nil
	}
	return &schedule.Tick{At: *f.NextRunAt, Local: f.NextRunLocal}
}

// IsActive reports whether nobody has paused the flow.
func (f *FlowRecord) IsActive() bool { return f.State == FlowActive }

// IsDue reports whether the flow is active and its next tick has come.
func (f *FlowRecord) IsDue(now time.Time) bool {
	return f.IsActive() && f.NextRunAt != nil && !f.NextRunAt.After(now)
}

// IsOverdue reports whether the flow is active and its next tick came at least an hour
// ago ([OverdueAfter]).
func (f *FlowRecord) IsOverdue(now time.Time) bool { return f.IsDue(now.Add(-OverdueAfter)) }

// FlowState says whether a flow's runs are worked.
type FlowState string

// The states of a flow.
const (
	FlowActive   FlowState = "active"
	FlowInactive FlowState = "inactive" // somebody has paused it: see [Client.Pause]
)

// Valid reports whether s is a state of a flow.
func (s FlowState) Valid() bool { return s == FlowActive || s == FlowInactive }

// FlowOptions are the optional settings of [NewFlow]. The zero value is ready to use.
type FlowOptions struct {
	// Runtime decides when and where the flow's runs are worked. Nil: that of
	// Config.RuntimeAdapter, which is [Heartbeat]{} unless it is set.
	Runtime Runtime

	// After starts a run whenever a run of another flow has succeeded, besides the ticks of the
	// schedule. That is so from the registration on. Several successes, and a run that waits
	// already, become one run. A backfill of the other flow starts none. While this flow is
	// paused, disabled or tripped, nothing is started; one run makes up for it afterwards.
	// Flows that follow each other in a circle are not registered: see [Client.RegistrationErrors].
	After After

	// Group is the group of flows with which this one shares a limit of [Config].Groups, such as
	// one for all flows that call the same API. A run that finds no place waits as pending. The
	// oldest due run goes first. A flow whose group no process has declared is not registered:
	// see [Client.RegistrationErrors]. Empty: none.
	Group string

	// OnBadRecord decides about a record that cannot be read, transformed or, with a
	// target of [ToTx] or [ToReplace], written. Nil: [FailFast].
	OnBadRecord Policy

	// MaxAttempts is how often a run is tried before it fails. 0: 5.
	MaxAttempts int

	// BatchWait ends a batch at its last resume point when this time has passed since
	// its first record, even if it has fewer records than BatchSize. Use it for a
	// source that waits for its records, such as a queue. 0: a batch waits until it is
	// full or the source ends. The least is a millisecond.
	//
	// After a failure, a sink outside the database ([To]) may then get other batches,
	// with other IDs and the same keys.
	BatchWait time.Duration

	// ReadTimeout is how long the source may say nothing: neither a record, nor a mark, nor
	// an error. Time in which it is not asked, because the batches before are still being
	// written, does not count. After that, its context is cancelled, the attempt fails with
	// an error that says since when nothing came, and the next attempt begins to read again.
	// A source that ignores its context is left behind. [Client.Why] says since when nothing
	// came before that, after ten seconds at most.
	//
	// 0: five minutes; with a BatchWait, whose source may have nothing to say for long, no
	// limit. Negative: no limit. The least is a millisecond.
	ReadTimeout time.Duration

	// MaxBackfills is how many backfills of the flow, or ranges of a first load, are worked at
	// once, over all processes, beside the flow's own runs. A backfill and such a run do not wait
	// for each other. Several runs then use the flow's source, transform and sink at once, which
	// must be safe for that. 0: a backfill takes the place of one of the flow's own runs. The most
	// are 1,000. See [Client.BackfillRanges] and FirstLoad.
	MaxBackfills int

	// FirstLoad is in how many ranges of about the same size the flow reads its source while it
	// has no cursor, as in its first run. Each range is a run, which any process may work,
	// MaxBackfills at once. The first run is in progress until all ranges have succeeded. Then the
	// flow's cursor is where the source ended before the first range was read, and the run reads
	// what has changed since. The flow's other runs wait for it as for any run in progress, and
	// [Client.Why] says how many ranges are done. [Flow.Backfills] has the progress.
	//
	// A range that fails, after its attempts, fails the first run. The flow's next run goes on
	// with what is missing. [Client.Cancel] of the first run cancels the ranges. If somebody sets
	// the flow's cursor meanwhile, or a deploy takes FirstLoad away, they end, too, before the flow reads on.
	//
	// It needs MaxBackfills, a source that is a [Splitter], an [EndSeeker] and a
	// [RequestChecker], such as the Keyset of pgtable and of sqltable, and a target that keeps
	// one row for each key: one that only appends, keeps each batch, or replaces everything, is
	// refused. 0: the first run reads everything by itself. The most are [MaxRanges]; 1 is refused.
	FirstLoad int

	// MarkError says what becomes of a run after an error, where the code that returns the
	// error cannot: it returns the error marked by [Permanent], [Transient] or [RetryAfter],
	// or as it is. It is asked about the error that ends an attempt's work, and about that of
	// a bad record before OnBadRecord is. It is not asked about stops, cancels and lost
	// leases. Several goroutines may call it at once. Nil, or if it panics or returns nil: the
	// error as it is.
	MarkError func(err error) error

	// Backoff returns how long a run waits after a failed attempt, which is 1 for the
	// first. Nil, or if it panics: attempt⁴ + 2 seconds, so 3 s, 18 s, 83 s and 258 s.
	Backoff func(attempt int) time.Duration
}

// MaxRanges is the most ranges that [Client.BackfillRanges] and FlowOptions.FirstLoad take.
const MaxRanges = 1000

// maxBackfills is the greatest FlowOptions.MaxBackfills.
const maxBackfills = 1000

// NewFlow declares a flow: records from source go through transform to target. T is the
// source's record, C its cursor, and Out the target's record. Go infers all three.
//
// The name is the flow's identity: a flow that is registered again under its name goes
// on at its last checkpoint. It has 1 to 200 bytes, no space at either end, and no
// control character. opts may be nil. [NewClient] reports what is wrong.
func NewFlow[T, C, Out any](name string, source Source[T, C], transform Transform[T, Out], target Target[Out], opts *FlowOptions) *Flow {
	f := &Flow{
		FlowRecord: FlowRecord{Name: name, State: FlowActive},
		code:       newFlowCode(source, transform, target),
	}
	f.Guarantee = f.code.guarantee()
	if opts != nil {
		f.opts = *opts
	}
	f.Runtime = f.opts.Runtime
	if f.Runtime == nil {
		f.Runtime = Heartbeat{}
	}
	return f
}

// Client returns the client that returned the flow, nil for a declared flow.
func (f *Flow) Client() *Client { return f.client }

// Registered reports whether this process has the flow's code.
func (f *Flow) Registered() bool { return f.code != nil }

// adapted returns a declared flow with the adapter's Runtime, if it names none. It
// copies the flow, because other clients may have it too.
func (f *Flow) adapted(adapter string) *Flow {
	b := builtinOfType(adapter)
	if f == nil || f.opts.Runtime != nil || f.Runtime != Runtime(Heartbeat{}) || b == nil {
		return f
	}
	own := *f
	own.Runtime = b.zero
	return &own
}

// definition returns what is stored of a declared flow.
func (f *Flow) definition(codeVersion string) (*FlowDefinition, error) {
	runtime, err := marshalRuntime(f.Runtime)
	if err != nil {
		return nil, err
	}
	source, sink := f.code.describe()
	settings := f.Runtime.Settings()
	plan := settings.Schedule.settings(settings.Interval)
	d := &FlowDefinition{
		Name: f.Name, Runtime: runtime, Guarantee: f.Guarantee, CodeVersion: codeVersion, After: f.opts.After, Group: f.opts.Group,
		PauseAfter: settings.Schedule.PauseAfter, ProbeAfter: plan.ProbeWait(),
	}
	if d.Schedule, err = json.Marshal(schedule.Stored{Settings: *plan, Disabled: !settings.Enabled}); err != nil {
		return nil, fmt.Errorf("describe schedule: %w", err)
	}
	if d.Source, err = json.Marshal(source); err != nil {
		return nil, fmt.Errorf("describe source: %w", err)
	}
	if d.Sink, err = json.Marshal(sink); err != nil {
		return nil, fmt.Errorf("describe sink: %w", err)
	}
	parts := [][]byte{d.Source, d.Sink, d.Runtime, []byte(d.Guarantee)}
	if f.opts.After != (After{}) {
		parts = append(parts, fmt.Appendf(nil, "after %t %s", f.opts.After.OnlyIfRows, f.opts.After.Flow))
	}
	if f.opts.Group != "" {
		parts = append(parts, []byte("group "+f.opts.Group))
	}
	sum := sha256.Sum256(bytes.Join(parts, []byte{0}))
	d.Hash = hex.EncodeToString(sum[:8])
	return d, nil
}

// slots returns how many runs of the flow may be in progress at once, by this process's
// settings.
func (f *Flow) slots() FlowSlots {
	return FlowSlots{FlowID: f.ID, Slots: max(f.Runtime.Settings().Schedule.Overlap.policy().Slots, 1), Backfills: f.opts.MaxBackfills}
}

// ownSlots reports whether a run has one of the slots that only backfills have.
func (f *Flow) ownSlots(run *Run) bool { return run.IsBackfill() && f.opts.MaxBackfills > 0 }

// places returns how many runs may be in progress at once in the kind of slots that run
// would take.
func (f *Flow) places(run *Run) int {
	if f.ownSlots(run) {
		return f.opts.MaxBackfills
	}
	return f.slots().Slots
}

// inTheWay returns the runs in progress that occupy the slots that run could take. It
// mirrors RunClaim.
func (f *Flow) inTheWay(run *Run, inProgress []*Run) []*Run {
	var busy []*Run
	for _, r := range inProgress {
		if f.ownSlots(run) && r.IsBackfill() || !f.ownSlots(run) && (run.IsBackfill() || r.Slot < FirstBackfillSlot) {
			busy = append(busy, r)
		}
	}
	return busy
}

// comingBack reports whether the flow has been migrated back to the Runtime that its
// code declares, and the runs of the other have yet to be cancelled.
func (f *FlowRecord) comingBack() bool {
	return f.MigratedFrom != nil && stored.Same(f.MigratedFrom, f.RuntimeJSON)
}

// Examine asks the parts of the flow that have the power [Examiner] what keeps them from
// working, or will. It changes nothing. A flow that this process has no code for has no
// findings. If a part cannot look, the error says why, and the findings are those of the
// others. Where the flow's next read begins is looked at only for a flow that was got from a client.
func (f *Flow) Examine(ctx context.Context) ([]Finding, error) {
	if f.code == nil {
		return nil, nil
	}
	var found []Finding
	var errs []error
	for _, p := range f.code.parts() {
		examiner, ok := p.part.(Examiner)
		if !ok || isNil(p.part) {
			continue
		}
		examine := examiner.Examine
		if p.name == "source" && f.client != nil {
			place, err := f.client.store.CursorGet(ctx, f.ID)
			if err != nil {
				errs = append(errs, fmt.Errorf("examine the source: %w", err))
				continue
			}
			if from := f.code.examineFrom(place.Cursor); from != nil {
				examine = from
			}
		}
		err := guard(func() error {
			some, err := examine(ctx)
			found = append(found, some...)
			return err
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("examine the %s: %w", p.name, err))
		}
	}
	return found, public(errors.Join(errs...))
}

// flowPart is a flow's source, transform or sink, without its types.
type flowPart struct {
	name string
	part any
}

// pipeline is a flow's source, transform and target without their types.
type pipeline interface {
	validate() error
	describe() (source, sink Description)
	parts() []flowPart
	guarantee() Guarantee
	resumable() bool
	run(ctx context.Context, a *attempt) error
	replayable() error
	replay(ctx context.Context, store Store, l *DeadLetterRecord, by, reason string) error
	readLetter(ctx context.Context, q Queries, l *DeadLetterRecord) error
	checkCursor(cursor json.RawMessage) error
	checkRequest(from, until, params json.RawMessage) error
	split(ctx context.Context, from, until, params json.RawMessage, n int) ([]json.RawMessage, error)
	seekTime(ctx context.Context, params json.RawMessage, before time.Time) (json.RawMessage, error)
	seekEnd(ctx context.Context, params json.RawMessage) (json.RawMessage, error)
	// checkFirstLoad returns why the flow cannot have a first load in ranges.
	checkFirstLoad() error
	doubles() bool
	replaces() bool
	notes(ctx context.Context, from json.RawMessage) []string
	examineFrom(from json.RawMessage) func(ctx context.Context) ([]Finding, error)
	tellsLag() bool
	lag(ctx context.Context, from json.RawMessage) (Lag, error)
	dryRun(ctx context.Context, b base, f *Flow, params *DryRunParams, given bool) (*DryRunReport, error)
}
