package cli

import (
	"fmt"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

// scheduleText says when a flow runs by itself.
func scheduleText(f *dataflow.Flow) string {
	switch s := f.Runtime.Settings(); {
	case s.Interval > 0:
		return "every " + shortDuration(s.Interval)
	case s.Schedule.Cron != "" && s.Schedule.TimeZone != "":
		return s.Schedule.Cron + " " + s.Schedule.TimeZone
	default:
		return orDash(s.Schedule.Cron)
	}
}

// shortDuration leaves out trailing zero units: 5m0s is 5m.
func shortDuration(d time.Duration) string {
	switch {
	case d%time.Hour == 0 && d > 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0 && d > 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	default:
		return d.String()
	}
}

// flowState is a flow's state in the words of the commands: "paused" for an inactive flow, "disabled"
// for an active one whose runtime is, and "tripped" for an active one that failures have tripped.
func flowState(f *dataflow.Flow) string {
	if f.State == dataflow.FlowInactive {
		return jsonview.Paused
	}
	if isDisabled(f) {
		return "disabled"
	}
	if f.State == dataflow.FlowActive && f.TrippedAt != nil {
		return "tripped"
	}
	return string(f.State)
}

// isDisabled reports whether the runtime of a flow is disabled. That of a type which this program does not know may not be.
func isDisabled(f *dataflow.Flow) bool {
	return !f.Runtime.Settings().Enabled && f.Runtime.Type() != "unknown"
}

func records(c dataflow.Counters) string {
	again := ""
	if c.ReadAgain > 0 {
		again = fmt.Sprintf(" (%d of them again)", c.ReadAgain)
	}
	return fmt.Sprintf("%d read%s, %d written, %d redundant, %d filtered, %d dropped, %d dead-lettered",
		c.Read, again, c.Written, c.Redundant, c.Filtered, c.Dropped, c.DeadLettered)
}
