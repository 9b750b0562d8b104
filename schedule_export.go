package dataflow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/activedataflow/dataflow/internal/stored"
)

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
		var s stored.Seconds
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
