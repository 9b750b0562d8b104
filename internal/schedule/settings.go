package schedule

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"time"
)

// The catch-up policies, as they are stored. [Plan.Due] says what each means.
const (
	CatchUpLatest = "latest"
	CatchUpNone   = "none"
	CatchUpAll    = "all"
)

// The defaults of [Settings].
const (
	DefaultCatchUpMax = 100
	DefaultProbeAfter = time.Hour
)

// NoProbe is the ProbeAfter of a schedule without probes.
const NoProbe = Seconds(-time.Second)

// Settings are a schedule as it is stored. A setting that has its default is left out.
type Settings struct {
	Interval      Seconds    `json:"interval,omitzero"`
	Cron          string     `json:"cron,omitempty"`
	TimeZone      string     `json:"time_zone,omitempty"`
	Start         *time.Time `json:"start,omitempty"`
	End           *time.Time `json:"end,omitempty"`
	Stagger       Seconds    `json:"stagger,omitzero"`
	Overlap       string     `json:"overlap,omitempty"`
	CatchUp       string     `json:"catch_up,omitempty"`
	CatchUpWindow Seconds    `json:"catch_up_window,omitzero"`
	CatchUpMax    int        `json:"catch_up_max,omitempty"`
	PauseAfter    int        `json:"pause_after,omitempty"`
	ProbeAfter    Seconds    `json:"probe_after,omitzero"`

	RunAtRegistration bool `json:"run_at_registration,omitempty"`
}

// Stored is what is stored beside a flow's Runtime, for processes that cannot read that.
type Stored struct {
	Settings

	// Disabled says that the Runtime is.
	Disabled bool `json:"disabled,omitempty"`
}

// ProbeWait is how long after a failure a probe is started. 0: never.
func (s *Settings) ProbeWait() time.Duration {
	if s.PauseAfter == 0 || s.ProbeAfter == NoProbe {
		return 0
	}
	return cmp.Or(time.Duration(s.ProbeAfter), DefaultProbeAfter)
}

// ticks returns when the flow's ticks are. Nil: there are none.
func (s *Settings) ticks(flow string) (*Schedule, error) {
	if s.Interval <= 0 && s.Cron == "" {
		return nil, nil //nolint:nilnil // documented
	}
	bound := func(t *time.Time) time.Time {
		if t == nil {
			return time.Time{}
		}
		return t.UTC()
	}
	within := time.Duration(s.Stagger)
	return NewStaggered(Spec{
		Interval: time.Duration(s.Interval), Cron: s.Cron, TimeZone: s.TimeZone, Start: bound(s.Start), End: bound(s.End), Offset: Stagger(flow, within),
	}, within)
}

// NewStaggered is [New], and checks the range that the Offset was chosen from.
func NewStaggered(spec Spec, within time.Duration) (*Schedule, error) {
	if within < 0 || spec.Interval > 0 && within > spec.Interval {
		return nil, &FieldError{Field: "Stagger", Reason: fmt.Sprintf("%s is not from 0 to the Interval, %s", within, spec.Interval)}
	}
	return New(spec)
}

// Timing returns the part of a stored schedule that decides when ticks are, as a text to be
// compared, and whether the flow's Runtime is disabled.
func Timing(raw json.RawMessage) (ticks string, disabled bool, err error) {
	var s Stored
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", false, err
	}
	data, err := json.Marshal(Settings{Interval: s.Interval, Cron: s.Cron, TimeZone: s.TimeZone, Start: s.Start, End: s.End, Stagger: s.Stagger})
	return string(data), s.Disabled, err
}

// Same reports whether two stored schedules have the same settings, however they are written.
// Whether the Runtime is disabled does not count.
func Same(a, b json.RawMessage) bool {
	var x, y Settings
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	p, errX := json.Marshal(x)
	q, errY := json.Marshal(y)
	return errX == nil && errY == nil && bytes.Equal(p, q)
}
