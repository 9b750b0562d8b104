package dataflow

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ScheduleExport are the schedules in a database, in a form to be read and kept. Its
// String is YAML; it marshals to JSON too. It holds nothing that changes by itself, so
// that two exports can be compared.
type ScheduleExport struct {
	Flows []ExportedSchedule `json:"flows"`
}

// ExportedSchedule is how one flow runs.
type ExportedSchedule struct {
	Flow string `json:"flow"`
	// State is "active" or "inactive"; StateBy and StateReason say who has made it so
	// and why.
	State       FlowState `json:"state"`
	StateBy     string    `json:"state_by,omitempty"`
	StateReason string    `json:"state_reason,omitempty"`
	// Runtime is its Runtime, with its settings, as it is stored.
	Runtime json.RawMessage `json:"runtime"`
	// Schedule is the schedule as it is stored.
	Schedule json.RawMessage `json:"schedule"`
}

// ExportSchedules returns the schedules of all flows in the database, in the order of
// their names.
func (c *Client) ExportSchedules(ctx context.Context) (*ScheduleExport, error) {
	e := &ScheduleExport{Flows: []ExportedSchedule{}}
	err := c.eachFlow(ctx, func(f *Flow) error {
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

// String writes the schedules as YAML: durations as "5m0s", other texts as JSON
// strings, which YAML reads.
func (e *ScheduleExport) String() string {
	if len(e.Flows) == 0 {
		return "flows: []\n"
	}
	var b strings.Builder
	b.WriteString("flows:\n")
	for _, f := range e.Flows {
		fmt.Fprintf(&b, "  - flow: %s\n    state: %s\n", yamlText(f.Flow), f.State)
		if f.StateBy != "" {
			fmt.Fprintf(&b, "    state_by: %s\n", yamlText(f.StateBy))
		}
		if f.StateReason != "" {
			fmt.Fprintf(&b, "    state_reason: %s\n", yamlText(f.StateReason))
		}
		writeYAML(&b, "runtime", f.Runtime)
		writeYAML(&b, "schedule", f.Schedule)
	}
	return b.String()
}

// writeYAML writes a JSON object. What this program does not know it writes as the
// JSON that it is, which is YAML too.
func writeYAML(b *strings.Builder, name string, raw json.RawMessage) {
	fields, err := exportedFields(raw)
	switch {
	case err != nil:
		fmt.Fprintf(b, "    %s: %s\n", name, raw)
		return
	case len(fields) == 0:
		fmt.Fprintf(b, "    %s: {}\n", name)
		return
	}
	fmt.Fprintf(b, "    %s:\n", name)
	for _, f := range fields {
		fmt.Fprintf(b, "      %s: %s\n", f.name, f.value)
	}
}

// exportedField is a setting as people read it.
type exportedField struct{ name, value string }

// exportedOrder is the order in which settings are shown; others follow.
var exportedOrder = []string{ //nolint:gochecknoglobals // it is constant
	"type", "queue", "priority", "enabled", "batch_size", "interval", "cron", "time_zone", "start", "end", "stagger", "overlap", "catch_up",
	"catch_up_window", "catch_up_max", "pause_after", "probe_after", "run_at_registration",
}

// exportedFields returns the settings of a JSON object that are set. The schedule that
// a Runtime holds is left out, for it stands beside it.
func exportedFields(raw json.RawMessage) ([]exportedField, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	if _, runtime := object["type"]; runtime {
		delete(object, "schedule")
		delete(object, "interval")
	}
	names := append([]string{}, exportedOrder...)
	names = append(names, sortedOthers(object, exportedOrder)...)
	fields := []exportedField{}
	for _, name := range names {
		value, ok := object[name]
		if !ok || string(value) == "null" {
			continue
		}
		fields = append(fields, exportedField{name: name, value: exportedValue(name, value)})
	}
	return fields, nil
}

// sortedOthers returns the keys that are not among those known, sorted.
func sortedOthers(object map[string]json.RawMessage, known []string) []string {
	var others []string
	for name := range object {
		if !slices.Contains(known, name) {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	return others
}

// exportedValue is a setting's value: those that are seconds as a duration.
func exportedValue(name string, raw json.RawMessage) string {
	switch name {
	case "interval", "stagger", "catch_up_window", "probe_after":
		var s seconds
		if err := json.Unmarshal(raw, &s); err == nil {
			return time.Duration(s).String()
		}
	}
	return string(raw)
}

// yamlText writes a text that may hold anything.
func yamlText(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		return strconv.Quote(s)
	}
	return string(data)
}
