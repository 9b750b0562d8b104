//go:build ruby

package enginetest_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// rubyProgram loads the gem's classes, and makes a Runtime of each line of JSON as the gem does
// (BaseDataFlow#rehydrate_runtime). It prints what the Runtime says of itself.
const rubyProgram = `
require "active_support/all"
module ActiveDataFlow; module Runtime; module Heartbeat; end; end; end
dir = ARGV.fetch(0)
require "#{dir}/lib/active_data_flow/runtime/base"
job = "#{dir}/lib/active_data_flow/runtime/active_job.rb"
require job if File.exist?(job)
STDIN.each_line do |line|
  data = JSON.parse(line)
  fallback = false
  begin
    runtime = data["class_name"].constantize.from_json(data)
  rescue NameError # as the gem does; NoMethodError is one
    fallback = true
    runtime = ActiveDataFlow::Runtime::Base.new
  end
  puts JSON.generate(
    fallback: fallback, class: runtime.class.name, stored: runtime.as_json, enabled: data["enabled"] == true && runtime.enabled?,
    interval: runtime.interval, batch_size: runtime.batch_size,
    queue: runtime.try(:queue)&.to_s, priority: runtime.try(:priority), limit: runtime.try(:concurrency_limit),
  )
end
`

type rubyRuntime struct {
	Fallback bool
	Class    string
	Stored   json.RawMessage
	Enabled  bool
	Interval float64
	Batch    int `json:"batch_size"`
	Queue    string
	Priority int
	Limit    int
}

// inRuby makes Runtimes of JSON by the classes of the gem in dir.
func inRuby(t *testing.T, dir string, stored ...json.RawMessage) []rubyRuntime {
	t.Helper()
	require.NotEmpty(t, dir, "run scripts/ruby.sh")
	cmd := exec.CommandContext(t.Context(), "ruby", "-e", rubyProgram, dir)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	go func() {
		defer func() { _ = in.Close() }()
		for _, s := range stored {
			_, _ = in.Write(append(s, '\n'))
		}
	}()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var got []rubyRuntime
	for dec := json.NewDecoder(out); dec.More(); {
		var r rubyRuntime
		require.NoError(t, dec.Decode(&r))
		got = append(got, r)
	}
	require.NoError(t, cmd.Wait())
	require.Len(t, got, len(stored))
	return got
}

// Ruby reads what RubyRuntime writes, means the same by it, and what Ruby then stores is read
// back as the same Runtime.
func TestRuby_ReadsOurs(t *testing.T) {
	t.Parallel()
	withOptions, err := dataflow.ParseRuntime([]byte(`{"class_name":"ActiveDataFlow::Runtime::ActiveJob","queue":"etl","enabled":true,"interval":60,"concurrency_limit":3}`), nil)
	require.NoError(t, err)
	for dir, runtimes := range map[string][]dataflow.Runtime{
		os.Getenv("DATAFLOW_GEM"): {
			dataflow.Heartbeat{Interval: time.Minute},
			dataflow.Heartbeat{Interval: time.Hour, BatchSize: 7, Disabled: true},
		},
		os.Getenv("DATAFLOW_GEM_LATER"): {
			dataflow.Heartbeat{Interval: time.Minute, Disabled: true},
			dataflow.JobQueue{Queue: "etl", Priority: 2, Interval: 30 * time.Minute, BatchSize: 50},
			dataflow.JobQueue{Disabled: true},
			dataflow.JobQueue{},
			withOptions,
		},
	} {
		var stored []json.RawMessage
		for _, r := range runtimes {
			s, err := dataflow.RubyRuntime(r)
			require.NoError(t, err)
			stored = append(stored, s)
		}
		for i, got := range inRuby(t, dir, stored...) {
			s := runtimes[i].Settings()
			require.False(t, got.Fallback, "Ruby used its default in place of %s", stored[i])
			require.Equal(t, s.Enabled, got.Enabled, "%s", stored[i])
			require.InDelta(t, s.Interval.Seconds(), got.Interval, 0, "%s", stored[i])
			if s.BatchSize != 0 {
				require.Equal(t, s.BatchSize, got.Batch)
			}
			if q, ok := runtimes[i].(dataflow.JobQueue); ok {
				require.Equal(t, q.QueueName(), got.Queue)
				require.Equal(t, q.Priority, got.Priority)
			}
			back, err := dataflow.ParseRuntime(got.Stored, nil)
			require.NoError(t, err, "%s", got.Stored)
			require.IsType(t, runtimes[i], back)
			require.Equal(t, s.Enabled, back.Settings().Enabled)
			require.Equal(t, s.Interval, back.Settings().Interval, "%s", got.Stored)
		}
		if dir == os.Getenv("DATAFLOW_GEM_LATER") {
			last := inRuby(t, dir, stored[len(stored)-1])
			require.Equal(t, 3, last[0].Limit, "an option that only Ruby knows is kept")
		}
	}
}

// What Ruby takes for its default, an hour, is an hour here too.
func TestRuby_Defaults(t *testing.T) {
	t.Parallel()
	for _, given := range []string{
		`{"class_name":"ActiveDataFlow::Runtime::Base","enabled":true}`,
		`{"class_name":"ActiveDataFlow::Runtime::Base","enabled":true,"interval":60}`,
		`{"class_name":"ActiveDataFlow::Runtime::Base"}`,
		`{"class_name":"ActiveDataFlow::Runtime::Heartbeat","enabled":true}`,
	} {
		ours, err := dataflow.ParseRuntime([]byte(given), nil)
		require.NoError(t, err)
		ruby := inRuby(t, os.Getenv("DATAFLOW_GEM"), json.RawMessage(given))[0]
		require.Equal(t, ruby.Enabled, ours.Settings().Enabled, given)
		require.InDelta(t, ruby.Interval, ours.Settings().Interval.Seconds(), 0, given)
	}
}
