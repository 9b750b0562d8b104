package schedule

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Text returns a stored schedule as people read it, in one line. An error is that of the JSON.
func Text(raw json.RawMessage) (string, error) {
	settings, err := settingsOf(raw)
	if err != nil {
		return "", err
	}
	if len(settings) == 0 {
		return "no schedule", nil
	}
	parts := make([]string, len(settings))
	for i, f := range settings {
		parts[i] = f.name + " " + f.value
	}
	return strings.Join(parts, ", "), nil
}

// WriteYAML writes a stored schedule or Runtime as the value of a name. What is not a JSON
// object it writes as it is: JSON is YAML too.
func WriteYAML(b *strings.Builder, name string, raw json.RawMessage) {
	settings, err := settingsOf(raw)
	switch {
	case err != nil:
		fmt.Fprintf(b, "    %s: %s\n", name, raw)
		return
	case len(settings) == 0:
		fmt.Fprintf(b, "    %s: {}\n", name)
		return
	}
	fmt.Fprintf(b, "    %s:\n", name)
	for _, f := range settings {
		fmt.Fprintf(b, "      %s: %s\n", f.name, f.value)
	}
}

// YAMLText quotes any text for YAML.
func YAMLText(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		return strconv.Quote(s)
	}
	return string(data)
}

// setting is one name and its value, as people read them.
type setting struct{ name, value string }

// settingOrder is the order in which settings are shown. The others follow, sorted.
var settingOrder = []string{ //nolint:gochecknoglobals // it is constant
	"type", "queue", "priority", "enabled", "batch_size", "interval", "cron", "time_zone", "start", "end", "stagger", "overlap", "catch_up",
	"catch_up_window", "catch_up_max", "pause_after", "probe_after", "run_at_registration",
}

// settingsOf returns the settings of a JSON object that are set. It leaves out the schedule in a
// Runtime, because a stored schedule stands beside its Runtime.
func settingsOf(raw json.RawMessage) ([]setting, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	if _, runtime := object["type"]; runtime {
		delete(object, "schedule")
		delete(object, "interval")
	}
	var others []string
	for name := range object {
		if !slices.Contains(settingOrder, name) {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	settings := []setting{}
	for _, name := range slices.Concat(settingOrder, others) {
		value, ok := object[name]
		if !ok || string(value) == "null" {
			continue
		}
		settings = append(settings, setting{name: name, value: valueText(name, value)})
	}
	return settings, nil
}

// valueText returns a setting's value. Seconds become a duration.
func valueText(name string, raw json.RawMessage) string {
	switch name {
	case "interval", "stagger", "catch_up_window", "probe_after":
		var s Seconds
		if err := json.Unmarshal(raw, &s); err == nil {
			return time.Duration(s).String()
		}
	}
	return string(raw)
}
