package dataflow

import (
	"encoding/json"
	"fmt"
	"time"
)

// scheduleJSON is a schedule as it is stored; what is not set is left out.
type scheduleJSON struct {
	Interval      seconds    `json:"interval,omitzero"`
	Cron          string     `json:"cron,omitempty"`
	TimeZone      string     `json:"time_zone,omitempty"`
	Start         *time.Time `json:"start,omitempty"`
	End           *time.Time `json:"end,omitempty"`
	Stagger       seconds    `json:"stagger,omitzero"`
	Overlap       Overlap    `json:"overlap,omitempty"`
	CatchUp       CatchUp    `json:"catch_up,omitempty"`
	CatchUpWindow seconds    `json:"catch_up_window,omitzero"`
	CatchUpMax    int        `json:"catch_up_max,omitempty"`
	PauseAfter    int        `json:"pause_after,omitempty"`
	ProbeAfter    seconds    `json:"probe_after,omitzero"`

	RunAtRegistration bool `json:"run_at_registration,omitempty"`
}

// storedSchedule is a schedule as it stands beside its flow's Runtime, with what a
// process has to know that cannot read the Runtime.
type storedSchedule struct {
	scheduleJSON
	Disabled bool `json:"disabled,omitempty"`
}

func (s Schedule) json(interval time.Duration) scheduleJSON {
	bound := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		t = t.UTC()
		return &t
	}
	probe := seconds(s.ProbeAfter)
	if s.ProbeAfter == -1 {
		probe = seconds(-time.Second)
	}
	return scheduleJSON{
		Interval: seconds(interval), Cron: s.Cron, TimeZone: s.TimeZone, Start: bound(s.Start), End: bound(s.End), Stagger: seconds(s.Stagger),
		Overlap: s.Overlap, CatchUp: s.CatchUp, CatchUpWindow: seconds(s.CatchUpWindow), CatchUpMax: s.CatchUpMax,
		PauseAfter: s.PauseAfter, ProbeAfter: probe, RunAtRegistration: s.RunAtRegistration,
	}
}

func (j scheduleJSON) schedule() Schedule {
	bound := func(t *time.Time) time.Time {
		if t == nil {
			return time.Time{}
		}
		return t.UTC()
	}
	probe := time.Duration(j.ProbeAfter)
	if probe == -time.Second {
		probe = -1
	}
	return Schedule{
		Cron: j.Cron, TimeZone: j.TimeZone, Start: bound(j.Start), End: bound(j.End), Stagger: time.Duration(j.Stagger),
		Overlap: j.Overlap, CatchUp: j.CatchUp, CatchUpWindow: time.Duration(j.CatchUpWindow), CatchUpMax: j.CatchUpMax,
		PauseAfter: j.PauseAfter, ProbeAfter: probe, RunAtRegistration: j.RunAtRegistration,
	}
}

// MarshalJSON writes what is set, durations as numbers of seconds.
func (s Schedule) MarshalJSON() ([]byte, error) { return json.Marshal(s.json(0)) }

// UnmarshalJSON reads what MarshalJSON writes. An unknown field is an error.
func (s *Schedule) UnmarshalJSON(data []byte) error {
	var j scheduleJSON
	if err := decodeStrict(data, &j); err != nil {
		return fmt.Errorf("schedule %s: %w", clip(string(data)), err)
	}
	if j.Interval != 0 {
		return fmt.Errorf("schedule %s: the interval belongs to the runtime", clip(string(data)))
	}
	*s = j.schedule()
	return nil
}

// IsZero reports whether nothing is set.
func (s Schedule) IsZero() bool { return s == Schedule{} }
