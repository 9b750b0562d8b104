package dataflowui

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

// runsInChart is how many runs the strip of a flow has, and each of its charts.
const runsInChart = 30

// chart is bars of runs, oldest first.
type chart struct {
	Label, Most   string
	Width, Height int
	Base          int // where the marks of Gaps begin
	Bars          []bar
	Gaps          []int // places of runs that there have not been
}

type bar struct {
	X, Y, Height int
	ID           int64
	State, Title string
}

func bars(runs []jsonview.RunSummary, height, step int, value func(jsonview.RunSummary) int64, text func(jsonview.RunSummary) string) chart {
	most := int64(1)
	for _, r := range runs {
		most = max(most, value(r))
	}
	c := chart{Height: height, Base: height - 3, Width: runsInChart * step}
	for i := range max(0, runsInChart-len(runs)) {
		c.Gaps = append(c.Gaps, i*step)
	}
	for i, r := range slices.Backward(runs) {
		h := max(3, int(float64(value(r))/float64(most)*float64(height)))
		c.Bars = append(c.Bars, bar{X: (runsInChart - 1 - i) * step, Y: height - h, Height: h, ID: r.ID, State: r.State, Title: fmt.Sprintf("run %d: %s, %s", r.ID, stateText(r.State), text(r))})
	}
	return c
}

func read(r jsonview.RunSummary) int64 { return r.Read }

func readText(r jsonview.RunSummary) string { return number(r.Read) + " records" }

func duration(r jsonview.RunSummary) int64 {
	if r.StartedAt == nil || r.EndedAt == nil {
		return 0
	}
	return r.EndedAt.Sub(*r.StartedAt).Milliseconds()
}

// strip shows the last runs of a flow: colours by their states, heights by their records.
func strip(runs []jsonview.RunSummary) chart {
	c := bars(runs, 22, 6, read, readText)
	count := make(map[string]int)
	for _, r := range runs {
		count[r.State]++
	}
	parts := []string{strconv.Itoa(len(runs)) + " runs"}
	for _, state := range []dataflow.RunState{dataflow.RunSuccess, dataflow.RunFailed, dataflow.RunCancelled, dataflow.RunInProgress, dataflow.RunPending} {
		if n := count[string(state)]; n > 0 {
			parts = append(parts, strconv.Itoa(n)+" "+stateText(string(state)))
		}
	}
	c.Label = strings.Join(parts, ", ")
	return c
}

// summaries are runs as charts need them.
func summaries(runs []jsonview.Run) []jsonview.RunSummary {
	list := make([]jsonview.RunSummary, len(runs))
	for i, r := range runs {
		list[i] = jsonview.RunSummary{ID: r.ID, State: r.State, Trigger: r.Trigger, CreatedAt: r.CreatedAt, StartedAt: r.StartedAt, EndedAt: r.EndedAt, Read: r.Counters.Read, Written: r.Counters.Written}
	}
	return list
}

func durations(runs []jsonview.RunSummary) chart {
	c := bars(runs, 80, 16, duration, tookText)
	c.Label, c.Most = "Duration of the last runs", span(time.Duration(highest(runs, duration))*time.Millisecond)
	return c
}

func records(runs []jsonview.RunSummary) chart {
	c := bars(runs, 80, 16, read, readText)
	c.Label, c.Most = "Records read by the last runs", number(highest(runs, read))
	return c
}

func highest(runs []jsonview.RunSummary, value func(jsonview.RunSummary) int64) int64 {
	most := int64(0)
	for _, r := range runs {
		most = max(most, value(r))
	}
	return most
}
