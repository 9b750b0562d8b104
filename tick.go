package dataflow

import (
	"context"
	"fmt"
	"time"
)

// SkippedTicks are ticks of a schedule, one after the other, that did not become
// runs. Every tick is either the ScheduledFor of a run with TriggerSchedule, or in
// one of these.
type SkippedTicks struct {
	ID       int64
	FlowID   int64
	FlowName string
	// First and Last are the times of the first and the last of the ticks, which are
	// the same if there is one. Count is how many there are.
	First time.Time
	Last  time.Time
	Count int64
	// Reason is why they did not become runs.
	Reason SkipReason
	// CreatedAt is when the first of them was skipped.
	CreatedAt time.Time
}

// SkipReason is why a tick did not become a run.
type SkipReason string

// The reasons for which ticks are skipped.
const (
	// SkipOverlap: another run of the flow was in progress, or waited. See Overlap.
	SkipOverlap SkipReason = "overlap"
	// SkipPaused: somebody, or failures in a row, had paused the flow.
	SkipPaused SkipReason = "paused"
	// SkipDisabled: the flow's Runtime was disabled.
	SkipDisabled SkipReason = "disabled"
	// SkipMissed: no process was there to see it, and CatchUp did not make up for it.
	SkipMissed SkipReason = "missed"
	// SkipWindow: the same, and it was older than CatchUpWindow.
	SkipWindow SkipReason = "outside_window"
)

// Valid reports whether r is a reason.
func (r SkipReason) Valid() bool {
	switch r {
	case SkipOverlap, SkipPaused, SkipDisabled, SkipMissed, SkipWindow:
		return true
	default:
		return false
	}
}

// TickListParams choose and page what [Client.SkippedTicks] lists, newest first.
// The zero value lists the newest 100 of all flows.
type TickListParams struct {
	// Flow lists only ticks of the flow of this name. Empty: all.
	Flow string
	// Reason lists only ticks that were skipped for it. Empty: all.
	Reason SkipReason
	// Before lists entries older than this id: that of the last entry of the page
	// before. 0: from the newest.
	Before int64
	// Limit is the size of a page, up to 10,000. 0: 100.
	Limit int
}

// SkippedTicks lists the ticks that did not become runs, newest first, as ranges.
// params may be nil.
func (c *Client) SkippedTicks(ctx context.Context, params *TickListParams) ([]*SkippedTicks, error) {
	p := TickListParams{}
	if params != nil {
		p = *params
	}
	var err error
	if p.Limit, err = pageSize(p.Limit); err != nil {
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

// Next returns the next n ticks of the flow's schedule after a time: fewer, or none,
// if there are no more. It looks at the schedule alone: whether the flow is paused,
// say, and which of them become runs is another matter. It may be called on a flow
// that is declared and on one that was got from a client. n may be up to 10,000.
func (f *Flow) Next(after time.Time, n int) ([]time.Time, error) {
	fail := func(err error) ([]time.Time, error) {
		return nil, public(fmt.Errorf("preview ticks of flow %q: %w", f.Name, err))
	}
	if n < 0 || n > maxPage {
		return fail(&ConfigError{Field: "n", Reason: fmt.Sprintf("%d is not from 0 to %d", n, maxPage)})
	}
	if unread, ok := f.Runtime.(unreadRuntime); ok {
		return fail(unread.err)
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
