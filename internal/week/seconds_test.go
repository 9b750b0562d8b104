//go:build unix

package week_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

// secondsFlows are the flows of the test with real processes, and how long their runs take.
var secondsFlows = []struct {
	name     string
	schedule dataflow.Schedule
	queue    bool
	takes    time.Duration
}{
	{"skip", dataflow.Schedule{}, false, 0},
	{"slow", dataflow.Schedule{}, false, 1500 * time.Millisecond},
	{"stagger", dataflow.Schedule{Stagger: time.Second}, false, 0},
	{"one", dataflow.Schedule{Overlap: dataflow.OverlapBufferOne}, false, 2200 * time.Millisecond},
	{"all", dataflow.Schedule{Overlap: dataflow.OverlapBufferAll, CatchUp: dataflow.CatchUpAll}, false, 100 * time.Millisecond},
	{"cancel", dataflow.Schedule{Overlap: dataflow.OverlapCancelOther}, false, 1300 * time.Millisecond},
	{"allow", dataflow.Schedule{Overlap: dataflow.OverlapAllow(3)}, false, 1700 * time.Millisecond},
	{"none", dataflow.Schedule{CatchUp: dataflow.CatchUpNone}, false, 0},
	{"cron", dataflow.Schedule{Cron: "* * * * * *", TimeZone: "Europe/Berlin"}, false, 0},
	{"queue", dataflow.Schedule{}, true, 0},
	{"queueslow", dataflow.Schedule{Overlap: dataflow.OverlapBufferOne}, true, 1200 * time.Millisecond},
	{"paused", dataflow.Schedule{}, false, 0},
	{"edited", dataflow.Schedule{}, false, 0},
}

// edited is a flow with an interval of two seconds in the second version of the code. pausedFlow
// is a flow that is paused again and again.
const (
	edited     = "edited"
	pausedFlow = "paused"
)

// interval is the time between the ticks of a flow in a version of the code.
func interval(name, version string) time.Duration {
	if name == edited && version == "2" {
		return 2 * time.Second
	}
	return time.Second
}

// secondsOf declares the flows.
func secondsOf(version string) []*dataflow.Flow {
	var flows []*dataflow.Flow
	for _, f := range secondsFlows {
		every := interval(f.name, version)
		if f.schedule.Cron != "" {
			every = 0
		}
		var rt dataflow.Runtime = dataflow.Heartbeat{Interval: every, Schedule: f.schedule}
		if f.queue {
			rt = dataflow.JobQueue{Interval: every, Schedule: f.schedule}
		}
		target := dataflow.To(dataflow.SinkFunc[int](func(context.Context, dataflow.SinkBatch[int]) error { return nil }))
		flows = append(flows, dataflow.NewFlow(f.name, napping{f.takes}, dataflow.Identity[int](), target, &dataflow.FlowOptions{Runtime: rt}))
	}
	return flows
}

// seconds is the test's view of the processes and their database.
type seconds struct {
	*testing.T
	*database
	client *dataflow.Client // works nothing
	lives  []*lived
}

// Two processes work schedules of a second on the real clock. One is killed and started again,
// and for a moment both are dead; meanwhile flows are paused and edited. Every tick is accounted
// for exactly once. While a process is alive, the run of a tick exists within five seconds; the
// short form, which runs beside other tests on any machine, gives it a minute.
func TestSeconds(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d *database) {
		t.Helper()
		lasts := 8 * time.Second
		if os.Getenv(longEnv) == "long" {
			lasts = 2 * time.Minute
		}
		s := &seconds{T: t, database: d}
		var err error
		s.client, err = dataflow.NewClient(d.driver, &dataflow.Config{ID: "test", Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		require.NoError(t, s.client.Migrate(t.Context()))
		_, err = d.db.ExecContext(t.Context(), map[string]string{onPostgres: overlapPostgres, onSQLite: overlapSQLite}[d.kind])
		require.NoError(t, err)
		s.live(lasts)
		s.audit()
	})
}

// live runs two processes for so long.
func (s *seconds) live(lasts time.Duration) {
	s.Helper()
	first, second := s.start("1"), s.start("1")
	part := lasts / 8
	rounds := max(1, int(lasts/(20*time.Second)))
	for range rounds {
		step := part / time.Duration(rounds)
		pause(s.Context(), step)
		_, err := s.client.Pause(s.Context(), pausedFlow, "test", "a while")
		require.NoError(s, err)
		second.kill()
		pause(s.Context(), 2*step)
		second = s.start("2") // its code has another schedule of a flow
		_, err = s.client.Resume(s.Context(), pausedFlow, "test", "")
		require.NoError(s, err)
		_, err = s.client.Trigger(s.Context(), "all", &dataflow.TriggerOptions{At: time.Unix(1, 0), Actor: "test"})
		require.NoError(s, err)
		pause(s.Context(), 2*step)
		first.kill() // both are dead for a moment
		second.kill()
		pause(s.Context(), step)
		first, second = s.start("1"), s.start("1")
		pause(s.Context(), 2*step)
	}
	first.stop()
	second.stop()
}

// start starts a process and waits until its client has started.
func (s *seconds) start(version string) *lived {
	s.Helper()
	l := &lived{seconds: s, id: fmt.Sprintf("w%d", len(s.lives)+1)}
	l.launch(version)
	s.lives = append(s.lives, l)
	return l
}

// alive reports whether a process was certainly alive for so long from a moment on.
func (s *seconds) alive(from time.Time, d time.Duration) bool {
	return slices.ContainsFunc(s.lives, func(l *lived) bool { return l.from.Before(from) && l.to.After(from.Add(d)) })
}

// napping is a source without records that takes some time.
type napping struct{ takes time.Duration }
