package dataflowui

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

func TestSchedule(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		"* * * * *":           "every minute",
		"*/5 * * * *":         "every 5 min",
		"7 * * * *":           "every hour at minute 7",
		"0 */2 * * *":         "every 2 h at minute 0",
		"0 3 * * *":           "daily at 03:00",
		"30 6,18 * * *":       "daily at 06:30, 18:30",
		"0 9 * * MON-FRI":     "Mon–Fri at 09:00",
		"0 9 * * 0,6":         "Sun, Sat at 09:00",
		"15 4 1 * *":          "on day 1 of each month at 04:15",
		"*/5 8-18 * * MON":    "cron */5 8-18 * * MON",
		"0 9 1 * MON":         "cron 0 9 1 * MON",
		"0 9 * * MON#1":       "cron 0 9 * * MON#1",
		"*/5 * * * MON":       "cron */5 * * * MON",
		"0 0 1 1 *":           "cron 0 0 1 1 *",
		"@daily":              "cron @daily",
		"CRON_TZ=Asia/Tokyo ": "cron CRON_TZ=Asia/Tokyo ",
		"*/45 * * * *":        "cron */45 * * * *", // at minutes 0 and 45
		"*/10,5 * * * *":      "cron */10,5 * * * *",
		"0 */5 * * *":         "cron 0 */5 * * *", // at 20:00, and 4 hours later
		"0 3 31 * *":          "cron 0 3 31 * *",  // not in each month
		"0 3 28 * *":          "on day 28 of each month at 03:00",
	} {
		require.Equal(t, want, cronWords(expression), expression)
	}
	of := func(r dataflow.Runtime) string {
		data, err := json.Marshal(r)
		require.NoError(t, err)
		return schedule(jsonview.Flow{Runtime: data})
	}
	require.Equal(t, "daily at 03:00 Europe/Berlin", of(dataflow.Heartbeat{Schedule: dataflow.Schedule{Cron: "0 3 * * *", TimeZone: "Europe/Berlin"}}))
	require.Equal(t, "every 5 min", of(dataflow.JobQueue{Interval: 5 * time.Minute}))
	require.Equal(t, "daily at 03:00, up to 30 min later", of(dataflow.JobQueue{Schedule: dataflow.Schedule{Cron: "0 3 * * *", Stagger: 30 * time.Minute}}))
	require.Equal(t, "every 1 h, up to 10 min later", of(dataflow.Heartbeat{Interval: time.Hour, Schedule: dataflow.Schedule{Stagger: 10 * time.Minute}}))
	for d, want := range map[time.Duration]string{
		90 * time.Minute: "every 1 h 30 min", 90 * time.Second: "every 1 min 30 s", 1500 * time.Millisecond: "every 1 s 500 ms",
		24 * time.Hour: "every 24 h", 7 * 24 * time.Hour: "every 7 days", 50*time.Hour + time.Second: "every 2 days 2 h 1 s",
	} {
		require.Equal(t, want, of(dataflow.Heartbeat{Interval: d}))
	}
	require.Equal(t, "no schedule", of(dataflow.Heartbeat{}), "it may run after another flow")
}

func TestLagText(t *testing.T) {
	t.Parallel()
	seconds, bytes := 90.0, int64(1_234_567)
	zero := 0.0
	for want, lag := range map[string]*jsonview.Lag{
		"–": nil, "not known": {Error: "no"}, "1 min": {AgeSeconds: &seconds}, "none": {AgeSeconds: &zero}, "1.2 MB of log": {Bytes: &bytes},
	} {
		require.Equal(t, want, lagText(lag))
	}
	for want, n := range map[string]int64{"999 B": 999, "1.0 kB": 1000, "250 kB": 250_000, "9000 TB": 9e15} {
		require.Equal(t, want, size(n))
	}
}

// The ticks of a flow are on one line, the latest first, as far back as nothing can be missing.
func TestTimeline(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	ago := func(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }
	run := func(id int64, minutes int, trigger dataflow.Trigger) jsonview.Run {
		return jsonview.Run{ID: id, Trigger: string(trigger), ScheduledFor: ago(minutes), CreatedAt: ago(minutes), State: "success"}
	}
	f := &jsonview.Flow{State: "active", Runtime: json.RawMessage(`{"schedule": {"cron": "* * * * *", "time_zone": "Europe/Berlin"}}`)}
	runs := &runList{Runs: []jsonview.Run{run(3, 1, dataflow.TriggerSchedule), run(2, 3, dataflow.TriggerManual), run(1, 5, dataflow.TriggerSchedule)}}
	skipped := &skippedList{SkippedTicks: []jsonview.SkippedTicks{
		{Last: ago(2), First: ago(2), Count: 1, Reason: "overlap"}, {Last: ago(7), First: ago(90), Count: 84, Reason: "paused"},
	}}
	next := []time.Time{now.Add(time.Minute), now.Add(2 * time.Minute)}
	minutes := func(line []tick) []int {
		var all []int
		for _, t := range line {
			all = append(all, int(t.At.Sub(now).Minutes()))
		}
		return all
	}
	line := timeline(f, runs, skipped, next)
	require.Equal(t, []int{2, 1, -1, -2, -5, -7}, minutes(line))
	require.Equal(t, "2026-11-29 13:02:00 CET", line[0].Local)
	require.Equal(t, []any{true, "", int64(3)}, []any{line[0].Next, line[0].Why, line[2].Run.ID})
	require.Equal(t, "the flow was paused", line[5].Why)

	runs.Next = 1 // older runs are not listed, and so ticks before them are left out
	require.Equal(t, []int{2, 1, -1, -2, -5}, minutes(timeline(f, runs, skipped, next)))
	runs.Next, skipped.Next = 0, 1
	require.Equal(t, []int{2, 1, -1, -2, -5, -7}, minutes(timeline(f, runs, skipped, next)))
	skipped.SkippedTicks = skipped.SkippedTicks[:1]
	f.State = "paused"
	line = timeline(f, runs, skipped, next)
	require.Equal(t, []int{2, 1, -1, -2}, minutes(line))
	require.Equal(t, "starts no run while the flow is paused", line[0].Why)
	f.State, f.TrippedAt = "active", &now
	require.Equal(t, "starts no run unless the flow is resumed, or a run that tries it succeeds", held(f))
	data, err := json.Marshal(dataflow.Heartbeat{Interval: time.Minute, Disabled: true})
	require.NoError(t, err)
	require.Equal(t, "starts no run while the flow's runtime is disabled", held(&jsonview.Flow{State: "active", Runtime: data}))
	data, err = json.Marshal(dataflow.Heartbeat{Interval: time.Minute})
	require.NoError(t, err)
	require.Empty(t, held(&jsonview.Flow{State: "active", Runtime: data}))
}

// A duration that is too long for a number of nanoseconds is not shown as a negative one.
func TestSpan_TooLong(t *testing.T) {
	t.Parallel()
	const most = "more than 292 years"
	age, left := time.Duration(math.MaxInt64).Seconds(), 1e12
	require.Equal(t, most, lagText(&jsonview.Lag{AgeSeconds: &age})) // of a record of the year 1
	require.Equal(t, most, seconds(&left))
	require.Equal(t, most+" ago", ago(time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC)))
	require.Equal(t, "in "+most, ago(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)))
	require.Equal(t, "36500 days", span(36500*24*time.Hour))
}

func TestSome(t *testing.T) {
	t.Parallel()
	names := make([]string, 10_000)
	require.Equal(t, map[string]any{"Names": names[:20], "More": int64(9980)}, some(names))
	require.Equal(t, map[string]any{"Names": names[:3], "More": int64(0)}, some(names[:3]))
}
