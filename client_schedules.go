package dataflow

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/dataflow/internal/schedule"
	"github.com/activedataflow/dataflow/internal/stored"
)

// ScheduleChangeKind is the kind of a difference.
type ScheduleChangeKind string

// The kinds of differences between declared schedules and those in the database.
const (
	// ScheduleAdded: the flow is declared, but not in the database.
	ScheduleAdded ScheduleChangeKind = "added"
	// ScheduleChanged: the declared schedule is not the one in the database.
	ScheduleChanged ScheduleChangeKind = "changed"
	// ScheduleRemoved: the flow is in the database, but this client does not declare it. It
	// may be another program's.
	ScheduleRemoved ScheduleChangeKind = "removed"
	// SchedulePaused: somebody paused the flow. [Client.SyncSchedules] does not undo that.
	SchedulePaused ScheduleChangeKind = "paused"
)

// ScheduleChange is one difference.
type ScheduleChange struct {
	Flow string             `json:"flow"`
	Kind ScheduleChangeKind `json:"kind"`
	// Stored and Declared are the schedules as JSON objects, nil if there is none. For a
	// paused flow, Declared is nil.
	Stored   json.RawMessage `json:"stored,omitempty"`
	Declared json.RawMessage `json:"declared,omitempty"`
	// By, Reason and At say who paused the flow, why and when.
	By     string     `json:"by,omitempty"`
	Reason string     `json:"reason,omitempty"`
	At     *time.Time `json:"at,omitempty"`
}

// String returns the change in a line.
func (c ScheduleChange) String() string {
	switch c.Kind {
	case ScheduleAdded:
		return fmt.Sprintf("added    %s: %s", c.Flow, scheduleText(c.Declared))
	case ScheduleChanged:
		return fmt.Sprintf("changed  %s: %s, was %s", c.Flow, scheduleText(c.Declared), scheduleText(c.Stored))
	case ScheduleRemoved:
		return fmt.Sprintf("removed  %s: %s", c.Flow, scheduleText(c.Stored))
	default:
		return fmt.Sprintf("%-8s %s%s", c.Kind, c.Flow, byWhom(c.By, c.Reason))
	}
}

// scheduleText returns a stored schedule as people read it.
func scheduleText(raw json.RawMessage) string {
	text, err := schedule.Text(raw)
	if err != nil {
		return stored.Clip(string(raw))
	}
	return text
}

// ScheduleDiff compares the schedules that Config.Flows declare with those in the database.
// The differences are in the order of the flows' names. A paused flow may appear twice. It
// changes nothing.
func (c *Client) ScheduleDiff(ctx context.Context) ([]ScheduleChange, error) {
	diff, err := c.scheduleDiff(ctx)
	if err != nil {
		return nil, public(fmt.Errorf("compare schedules: %w", err))
	}
	return diff, nil
}

func (c *Client) scheduleDiff(ctx context.Context) ([]ScheduleChange, error) {
	diff := []ScheduleChange{}
	there := make(map[string]bool)
	err := c.flows.each(ctx, func(f *Flow) error {
		there[f.Name] = true
		change := ScheduleChange{Flow: f.Name, Stored: f.ScheduleJSON}
		if declared := c.flows.declared[f.Name]; declared == nil {
			change.Kind = ScheduleRemoved
		} else {
			def, err := declared.definition(c.config.CodeVersion)
			if err != nil {
				return fmt.Errorf("flow %q: %w", f.Name, err)
			}
			if !schedule.Same(def.Schedule, f.ScheduleJSON) {
				change.Kind, change.Declared = ScheduleChanged, def.Schedule
			}
		}
		if change.Kind != "" {
			diff = append(diff, change)
		}
		if f.State != FlowActive {
			diff = append(diff, ScheduleChange{Flow: f.Name, Kind: SchedulePaused, Stored: f.ScheduleJSON, By: f.StateBy, Reason: f.StateReason, At: f.StateAt})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, f := range c.config.Flows {
		if there[f.Name] {
			continue
		}
		def, err := f.definition(c.config.CodeVersion)
		if err != nil {
			return nil, fmt.Errorf("flow %q: %w", f.Name, err)
		}
		diff = append(diff, ScheduleChange{Flow: f.Name, Kind: ScheduleAdded, Declared: def.Schedule})
	}
	slices.SortStableFunc(diff, func(a, b ScheduleChange) int { return strings.Compare(a.Flow, b.Flow) })
	return diff, nil
}

// SyncSchedules registers Config.Flows, which stores their schedules, and returns the earlier
// differences. Added and changed schedules are stored then. Removed ones stay, because they
// may be another program's. Paused flows stay paused. A dry run only returns the differences.
func (c *Client) SyncSchedules(ctx context.Context, dryRun bool) ([]ScheduleChange, error) {
	diff, err := c.ScheduleDiff(ctx)
	if err != nil || dryRun {
		return diff, err
	}
	return diff, c.Register(ctx)
}

// ScheduleExport is the schedules in a database, in a form to read and keep. Its String is
// YAML. It marshals to JSON too. It holds nothing that changes by itself, so that two exports
// can be compared.
type ScheduleExport struct {
	Flows []ExportedSchedule `json:"flows"`
}

// ExportedSchedule is the Runtime and the schedule of one flow.
type ExportedSchedule struct {
	Flow string `json:"flow"`
	// State is "active" or "inactive". StateBy and StateReason say who set it, and why.
	State       FlowState `json:"state"`
	StateBy     string    `json:"state_by,omitempty"`
	StateReason string    `json:"state_reason,omitempty"`
	// Runtime is the stored Runtime with its settings.
	Runtime json.RawMessage `json:"runtime"`
	// Schedule is the stored schedule.
	Schedule json.RawMessage `json:"schedule"`
}

// ExportSchedules returns the schedules of all flows in the database, in the order of their
// names.
func (c *Client) ExportSchedules(ctx context.Context) (*ScheduleExport, error) {
	e := &ScheduleExport{Flows: []ExportedSchedule{}}
	err := c.flows.each(ctx, func(f *Flow) error {
		e.Flows = append(e.Flows, ExportedSchedule{
			Flow: f.Name, State: f.State, StateBy: f.StateBy, StateReason: f.StateReason, Runtime: f.RuntimeJSON, Schedule: f.ScheduleJSON,
		})
		return nil
	})
	if err != nil {
		return nil, public(fmt.Errorf("export schedules: %w", err))
	}
	return e, nil
}

// String returns the schedules as YAML: durations as "5m0s", other texts as JSON strings,
// which are YAML too.
func (e *ScheduleExport) String() string {
	if len(e.Flows) == 0 {
		return "flows: []\n"
	}
	var b strings.Builder
	b.WriteString("flows:\n")
	for _, f := range e.Flows {
		fmt.Fprintf(&b, "  - flow: %s\n    state: %s\n", schedule.YAMLText(f.Flow), f.State)
		if f.StateBy != "" {
			fmt.Fprintf(&b, "    state_by: %s\n", schedule.YAMLText(f.StateBy))
		}
		if f.StateReason != "" {
			fmt.Fprintf(&b, "    state_reason: %s\n", schedule.YAMLText(f.StateReason))
		}
		schedule.WriteYAML(&b, "runtime", f.Runtime)
		schedule.WriteYAML(&b, "schedule", f.Schedule)
	}
	return b.String()
}

// ZoneConflicts returns the zones that schedules use and about which live processes, or a process
// and the database server, disagree within a year. It compares offsets from UTC and not versions:
// data of different versions may say the same about a zone.
func (c *Client) ZoneConflicts(ctx context.Context) ([]*ZoneConflict, error) {
	conflicts, err := c.zoneConflicts(ctx)
	if err != nil {
		return nil, public(fmt.Errorf("compare zone data: %w", err))
	}
	return conflicts, nil
}

func (b base) zoneConflicts(ctx context.Context) ([]*ZoneConflict, error) {
	now, err := b.store.Now(ctx)
	if err != nil {
		return nil, err
	}
	all, err := b.store.ProcessList(ctx)
	if err != nil {
		return nil, err
	}
	return zoneConflicts(ctx, b.store, all, now)
}

// SkippedTicks lists the ticks that did not become runs, as ranges, newest first. params may
// be nil.
func (c *Client) SkippedTicks(ctx context.Context, params *TickListParams) ([]*SkippedTicks, error) {
	p, err := page(params)
	if err != nil {
		return nil, public(fmt.Errorf("list skipped ticks: %w", err))
	}
	if p.Reason != "" && !p.Reason.Valid() {
		return nil, public(fmt.Errorf("list skipped ticks: %w", &ConfigError{Field: "Reason", Reason: fmt.Sprintf(
			"%q is not a reason: use overlap, paused, disabled, missed or outside_window", p.Reason)}))
	}
	ticks, err := c.store.TickList(ctx, &p)
	if err != nil {
		return nil, public(fmt.Errorf("list skipped ticks: %w", err))
	}
	return ticks, nil
}

// Next returns the next n ticks of the flow's schedule after a time, or fewer if there are no
// more. It looks only at the schedule: it does not consider whether the flow is paused, or
// which ticks will become runs. The flow may be a declared one or one that a client returned.
// n is from 0 to 10,000. Otherwise the error is a *[ConfigError].
func (f *Flow) Next(after time.Time, n int) ([]time.Time, error) {
	fail := func(err error) ([]time.Time, error) {
		return nil, public(fmt.Errorf("preview ticks of flow %q: %w", f.Name, err))
	}
	if n < 0 || n > maxPage {
		return fail(&ConfigError{Field: "n", Reason: fmt.Sprintf("%d is out of range: use 0 to %d", n, maxPage)})
	}
	if err := f.unread(); err != nil {
		return fail(err)
	}
	s := f.Runtime.Settings()
	if !s.scheduled() {
		return nil, nil
	}
	ticks, err := s.ticks(f.Name)
	if err != nil {
		return fail(err)
	}
	next := make([]time.Time, 0, n)
	for range n {
		if after = ticks.Next(after); after.IsZero() {
			break
		}
		next = append(next, after)
	}
	return next, nil
}

// Wait waits until the runs of Due have been worked. It returns those that this process
// worked, as they are then: finished, or pending again. If ctx is done first, it returns ctx's
// error. The runs go on.
func (r *TickReport) Wait(ctx context.Context) ([]*Run, error) {
	select {
	case <-r.done:
	case <-ctx.Done():
		return nil, public(fmt.Errorf("wait for the runs of a tick: %w", ctx.Err()))
	}
	runs := make([]*Run, 0, len(r.worked))
	for _, run := range r.worked {
		if run != nil {
			runs = append(runs, run)
		}
	}
	return runs, nil
}

// BeginTick does once what a started client does all the time, for the flows whose code this
// process has. It puts back the runs of dead workers and turns due ticks into runs. It then
// takes up the due runs that are worked without River.
//
// BeginTick returns at once. The runs are worked in the background until Stop, even if ctx is
// done, [Client.Config].MaxWorkers at a time. Any number of processes may call it at once,
// with or without started clients: each run is worked once. The client need not be started.
func (c *Client) BeginTick(ctx context.Context) (*TickReport, error) {
	return c.beginTick(ctx, context.WithoutCancel(ctx))
}

// Tick is BeginTick, and waits for the runs. It returns them as they are then: finished, or
// pending again. When ctx is done, runs in progress are handed back. A failed run is no error
// of Tick.
func (c *Client) Tick(ctx context.Context) ([]*Run, error) {
	r, err := c.beginTick(ctx, ctx)
	if err != nil {
		return nil, err
	}
	return r.Wait(context.WithoutCancel(ctx))
}

func (c *Client) beginTick(ctx, work context.Context) (*TickReport, error) {
	if err := c.gate.enter(); err != nil {
		return nil, public(fmt.Errorf("tick: %w", err))
	}
	r, err := c.worker.look(ctx)
	if err != nil {
		c.gate.leave()
		return nil, public(fmt.Errorf("tick: %w", err))
	}
	go func() {
		defer c.gate.leave()
		defer close(r.done)
		c.worker.workAll(work, r)
		c.worker.callbacks.all(work)
	}()
	return r, nil
}
