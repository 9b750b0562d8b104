package dataflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/activedataflow/dataflow/internal/stored"
)

// The Runtimes of the Ruby gem ActiveDataFlow, as it stores them: by the name of a class.

const (
	rubyHeartbeat = "ActiveDataFlow::Runtime::Heartbeat"
	rubyActiveJob = "ActiveDataFlow::Runtime::ActiveJob"
	rubyBase      = "ActiveDataFlow::Runtime::Base"
)

// rubyInterval is what the gem takes for the interval of a flow that has none
// (BaseDataFlow#interval_seconds). Its job runtime starts such a flow on demand only
// (DataFlowJob#schedule_next_if_recurring).
const rubyInterval = time.Hour

// rubyType returns the type that stands for a class of the Ruby gem. The class name is
// looked up, never instantiated.
func rubyType(class string) string {
	switch class {
	case rubyHeartbeat, rubyBase:
		return Heartbeat{}.Type()
	case rubyActiveJob:
		return JobQueue{}.Type()
	default:
		return ""
	}
}

// rubyNames are the names of settings that both sides know.
var rubyNames = []string{"class_name", "queue", "priority", "batch_size", "enabled", "interval"} //nolint:gochecknoglobals // it is constant

// fromRuby turns the JSON of the gem's Runtime into ours. What it does not know, it keeps as options.
func fromRuby(data []byte) ([]byte, error) {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(data, &given); err != nil {
		return nil, err
	}
	ours := make(map[string]any)
	options := make(map[string]json.RawMessage)
	for name, value := range given {
		switch {
		case !slices.Contains(rubyNames, name):
			options[name] = value
		case name != "class_name":
			ours[name] = value
		}
	}
	if len(options) > 0 {
		ours["options"] = options
	}
	// The gem's enabled? is true for true only.
	ours["enabled"] = string(given["enabled"]) == "true"
	var queue string
	if json.Unmarshal(given["queue"], &queue) == nil {
		ours["queue"] = riverQueue(queue)
	}
	if n, err := strconv.Atoi(string(given["priority"])); err == nil {
		ours["priority"] = min(max(n, 1), 4)
	}
	var class, seconds string
	_ = json.Unmarshal(given["class_name"], &class) // rubyType has read it
	if json.Unmarshal(given["interval"], &seconds) == nil {
		if n, err := strconv.ParseFloat(seconds, 64); err == nil {
			ours["interval"] = n
		}
	}
	if v := string(given["interval"]); class != rubyActiveJob && (v == "" || v == "null") {
		ours["interval"] = int64(rubyInterval / time.Second)
	}
	return json.Marshal(ours)
}

var notInQueue = regexp.MustCompile(`[^a-z0-9]+`)

// riverQueue returns the name of River's queue for a queue of Active Job. River takes lower-case letters,
// digits, and single underscores or hyphens between them.
func riverQueue(name string) string {
	if len(name) <= 64 && queueName.MatchString(name) {
		return name
	}
	name = strings.Trim(notInQueue.ReplaceAllString(strings.ToLower(name), "_"), "_")
	if len(name) > 64 {
		name = strings.TrimRight(name[:64], "_")
	}
	return name
}

// RubyRuntime returns the JSON of a [Heartbeat] or a [JobQueue] as the Ruby gem ActiveDataFlow reads it:
// with the name of its class, and without settings that have no value, so that the gem's defaults
// apply. It returns an error for what the gem cannot express: other Runtimes, a cron expression,
// and a [Heartbeat] without an Interval, which the gem would start each hour.
func RubyRuntime(r Runtime) (json.RawMessage, error) {
	fields := make(map[string]any)
	var options string
	switch r := r.(type) {
	case Heartbeat:
		// The gem's Heartbeat is a module. For that, Ruby would use its default: enabled, each hour.
		fields["class_name"], options = rubyBase, r.options
	case JobQueue:
		fields["class_name"], options = rubyActiveJob, r.options
		fields["queue"] = r.QueueName()
		if r.Priority != 0 {
			fields["priority"] = r.Priority
		}
	default:
		return nil, fmt.Errorf("dataflow: the Ruby gem has no class for a runtime of type %q", r.Type())
	}
	s := r.Settings()
	if s.Schedule.Cron != "" {
		return nil, errors.New("dataflow: the runtime has a cron expression, and the Ruby gem has intervals only")
	}
	fields["enabled"] = s.Enabled
	if s.BatchSize != 0 {
		fields["batch_size"] = s.BatchSize
	}
	if s.Interval%time.Second != 0 {
		return nil, fmt.Errorf("dataflow: the interval %s is not in whole seconds", s.Interval)
	}
	if fields["interval"] = int64(s.Interval / time.Second); s.Interval == 0 && fields["class_name"] == rubyBase {
		return nil, errors.New("dataflow: the heartbeat has no interval, and the Ruby gem starts such a flow each hour: set Interval, or use a JobQueue")
	}
	if options != "" {
		var kept map[string]json.RawMessage
		if err := json.Unmarshal([]byte(options), &kept); err != nil {
			return nil, fmt.Errorf("dataflow: read options %s: %w", stored.Clip(options), err)
		}
		for name, value := range kept {
			fields[name] = value
		}
	}
	return json.Marshal(fields)
}

// rawOptions returns kept options as JSON, nil if there are none.
func rawOptions(options string) json.RawMessage {
	if options == "" {
		return nil
	}
	return json.RawMessage(options)
}
