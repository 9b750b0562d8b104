package dataflow

import (
	"time"

	"github.com/activedataflow/dataflow/internal/schedule"
)

// SkippedTicks are ticks of a schedule, one after the other, that did not become runs.
// Each tick of a schedule is in one place: it is the ScheduledFor of a run with
// TriggerSchedule, or it lies in one SkippedTicks.
type SkippedTicks struct {
	ID       int64
	FlowID   int64
	FlowName string
	// First and Last are the times of the first and the last of the ticks. If there is
	// only one, they are equal. Count is the number of ticks.
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
	// SkipOverlap: another run of the flow was in progress or waiting. See [Overlap].
	SkipOverlap SkipReason = schedule.SkippedOverlap
	// SkipPaused: somebody, or failures in a row, had paused the flow.
	SkipPaused SkipReason = schedule.SkippedPaused
	// SkipDisabled: the flow's Runtime was disabled.
	SkipDisabled SkipReason = schedule.SkippedDisabled
	// SkipMissed: no process was there to see it, and [CatchUp] did not make up for it.
	SkipMissed SkipReason = schedule.SkippedMissed
	// SkipWindow: no process was there to see it, and it was older than
	// Schedule.CatchUpWindow.
	SkipWindow SkipReason = schedule.SkippedWindow
	// SkipZone: the rules of the time zone have changed since the tick was stored. When
	// the flow was registered, the tick was moved to another moment.
	SkipZone SkipReason = schedule.SkippedZone
)

// Valid reports whether r is one of the reasons above.
func (r SkipReason) Valid() bool {
	switch r {
	case SkipOverlap, SkipPaused, SkipDisabled, SkipMissed, SkipWindow, SkipZone:
		return true
	default:
		return false
	}
}

// text says the reason in words.
func (r SkipReason) text() string {
	switch r {
	case SkipOverlap:
		return "another run of the flow was in progress or waiting"
	case SkipPaused:
		return "the flow was paused"
	case SkipDisabled:
		return "its runtime was disabled"
	case SkipMissed:
		return "no process was there to see it, and the catch-up policy does not make up for it"
	case SkipWindow:
		return "no process was there to see it, and it is older than the catch-up window"
	case SkipZone:
		return "it was stored under other rules of its time zone, and has been moved to another moment"
	default:
		return string(r)
	}
}

// skippedOf are the parameters by which ticks of a flow are entered into the ledger.
func skippedOf(flowID int64, s schedule.Span) *TickSkipParams {
	return &TickSkipParams{FlowID: flowID, First: s.First, Last: s.Last, Count: s.Count, Reason: SkipReason(s.Reason)}
}

// TickReport is what one round of [Client.BeginTick] has found.
type TickReport struct {
	// Fired are the runs that schedules have started in this round.
	Fired []*Run
	// Skipped counts the ticks that did not become runs. See [Client.SkippedTicks].
	Skipped int64
	// Rescued counts the runs that were put back because their worker had died.
	Rescued int
	// Due are the runs that this process works, as they were when they were found.
	// Another process may be quicker with some of them.
	Due []*Run

	worked []*Run        // what became of each of Due, nil if it was not worked here
	done   chan struct{} // closed when worked is complete
}
